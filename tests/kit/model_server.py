"""A scripted server of language models, in the formats of OpenAI (chat, responses, embeddings), Anthropic and Ollama.

    with ModelServer() as models:
        models.say("Hello")                                     # the next answer
        models.say(tools=[("lookup", {"key": "a"})])            # the one after it
        models.say(status=429, headers={"Retry-After": "1"})    # a refusal; see FAULTS for more
        models.answers(lambda asked: Turn("echo " + asked.last))    # or: decided by what was asked
        ... models.base("openai") as a provider's base_url ...
        models.asked[0].json, models.asked[0].headers, models.asked[0].path

Turns are played in their order, one a request, whatever format asks; when none is left, `otherwise` is. Listing models
and making vectors need no turns.
"""

import dataclasses
import hashlib
import itertools
import json
import threading
import time

from kit.http_server import HttpServer

MODEL = "scripted-1"
TEXT_PIECE = 7          # characters of one piece of a stream


@dataclasses.dataclass
class Turn:
    """One answer and how it is sent."""
    text: str | None = None
    tools: list = dataclasses.field(default_factory=list)      # (name, arguments) or (name, arguments, id)
    usage: dict | None = dataclasses.field(default_factory=dict)   # prompt, completion, cached, cache_write, reasoning; None: not told
    end: str | None = None          # "length" or "filter"; else what follows from the rest
    model: str = MODEL
    status: int = 200
    body: object = None             # sent as it is: bytes, or a value as JSON
    headers: dict = dataclasses.field(default_factory=dict)
    split: int = 0                  # bytes of each write of a stream; 0: a frame a write
    pause_s: float = 0              # between two writes
    wait_s: float = 0               # before the first byte
    cut: int | None = None          # the connection breaks after so many bytes of the body
    endless: bool = False           # a stream whose text never ends
    pieces: list | None = None      # the text's pieces, instead of TEXT_PIECE characters each
    gate: threading.Event | None = None     # awaited before the first byte


def refusal(status, message, kind="invalid_request_error", code=None, **headers):
    return Turn(status=status, headers=headers, body={"error": {"message": message, "type": kind, "code": code, "param": None}})


# What real servers say, by name; each makes a turn.
FAULTS = {
    "rate": lambda: Turn(status=429, headers={"Retry-After": "1"}, body={"error": {
        "message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"}}),
    "broken": lambda: Turn(status=500, body={"error": {"message": "The server had an error", "type": "server_error"}}),
    "html": lambda: Turn(body=b"<!doctype html><html><body>Welcome</body></html>", headers={"Content-Type": "text/html"}),
    "garbage": lambda: Turn(body=b"\x00\xff{]garbage\n\n", headers={"Content-Type": "application/json"}),
    "wrong_type": lambda: Turn("typed wrongly", headers={"Content-Type": "text/plain"}),
    "empty": lambda: Turn(body=b""),
    "endless": lambda: Turn("more ", endless=True),
    "key": lambda: refusal(401, "Incorrect API key provided", code="invalid_api_key"),
    "model": lambda: refusal(404, "The model `nope` does not exist or you do not have access to it.", code="model_not_found"),
    "no_tools": lambda: refusal(400, "registry.ollama.ai/library/tiny does not support tools"),
    "no_auto_tools": lambda: refusal(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    "too_long": lambda: refusal(400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
                                "tokens.", code="context_length_exceeded"),
    "filter": lambda: refusal(400, "The response was filtered due to the prompt triggering our content management policy.",
                              code="content_filter"),
    "filtered_answer": lambda: Turn("Half an ans", end="filter"),
    "responses_only": lambda: refusal(404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
                                      "This model is only supported in v1/responses."),
    "overloaded": lambda: Turn(status=529, body={"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
}


class Asked:
    """One request as it came."""

    def __init__(self, request):
        self.path, self.headers, self.body = request.path, request.fields, request.body
        try:
            self.json = json.loads(request.body) if request.body else {}
        except ValueError:
            self.json = None

    @property
    def stream(self):
        return self.json.get("stream", self.path == "/api/chat")

    @property
    def messages(self):
        return self.json.get("messages") or self.json.get("input") or []

    @property
    def last(self):
        """The text of the last message."""
        content = (self.messages[-1].get("content") or self.messages[-1].get("output") or "") if self.messages else ""
        if isinstance(content, list):
            content = "".join(part.get("text") or part.get("content") or "" for part in content)
        return content


class ModelServer(HttpServer):
    methods = ("GET", "POST")

    def __init__(self, host="127.0.0.1"):
        super().__init__(host)
        self.turns, self.asked, self.models = [], [], [MODEL, "scripted-2"]
        self.otherwise = lambda asked: Turn("ok")
        self.vectors = []  # statuses of the next calls for vectors; None: there are none
        self.numbers = itertools.count(1)
        self.closing = threading.Event()

    def __exit__(self, *_):
        self.closing.set()
        super().__exit__()

    # ---- the script ------------------------------------------------------------------------
    def say(self, text=None, **more):
        """Append a turn."""
        self.turns.append(Turn(text, **more))

    def fail(self, name, **changes):
        """Append one of FAULTS."""
        self.turns.append(dataclasses.replace(FAULTS[name](), **changes))

    def answers(self, function):
        """Once no turn is left: function(asked) gives one."""
        self.otherwise = function

    def base(self, provider_type):
        """The base URL of a provider of that type."""
        return self.url + ("/v1" if provider_type in ("openai", "vllm") else "")

    # ---- answering -------------------------------------------------------------------------
    def answer(self, request):
        asked = Asked(request)
        formats = {"/v1/chat/completions": Chat, "/v1/responses": Responses, "/v1/messages": Messages, "/api/chat": Lines}
        with self.lock:
            self.asked.append(asked)
        if asked.path in ("/v1/models", "/api/tags"):
            return 200, {}, listing(asked.path, self.models)
        if asked.path in ("/v1/embeddings", "/api/embed"):
            return self.embed(asked)
        if asked.path not in formats or asked.json is None:
            return 404 if asked.json is not None else 400, {}, {"error": {"message": "no such path, or no JSON"}}
        with self.lock:
            turn = self.turns.pop(0) if self.turns else None
        turn = turn or self.otherwise(asked)
        if turn.gate:
            turn.gate.wait(60)
        if turn.wait_s:
            self.closing.wait(turn.wait_s)
        form = formats[asked.path](turn, asked, next(self.numbers))
        return self.play(request, turn, form, asked)

    def embed(self, asked):
        with self.lock:
            status = 404 if self.vectors is None else self.vectors.pop(0) if self.vectors else 200
        return (status, {}, embeddings(asked)) if status == 200 else (status, {}, {"error": {"message": "no vectors here"}})

    def play(self, request, turn, form, asked):
        if turn.body is not None or turn.status != 200:
            body = turn.body if turn.body is not None else {}
            return turn.status, turn.headers, body
        if not asked.stream:
            whole = json.dumps(form.whole()).encode()
            return 200, {"Content-Type": "application/json", "Content-Length": len(whole), **turn.headers}, \
                self.cut(request, turn, [whole]) if turn.cut is not None else whole
        frames = form.endless() if turn.endless else form.frames()
        return 200, {"Content-Type": form.content_type, **turn.headers}, self.cut(request, turn, frames)

    def cut(self, request, turn, frames):
        """The bytes as the turn wants them written; an iterator ends the connection with its end."""
        left = turn.cut if turn.cut is not None else float("inf")
        request.close_connection = True
        for frame in frames:
            for at in range(0, len(frame), turn.split or len(frame) or 1):
                piece = frame[at:at + (turn.split or len(frame))]
                if self.closing.is_set() or left <= 0:
                    return
                yield piece[:int(min(left, len(piece)))]
                left -= len(piece)
                if turn.pause_s:
                    time.sleep(turn.pause_s)


def listing(path, models):
    if path == "/api/tags":
        return {"models": [{"name": name} for name in models]}
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in models]}


def vector(text, dimensions=8):
    """A vector that depends on the text alone."""
    return [byte / 255 - 0.5 for byte in hashlib.sha256(text.encode()).digest()[:dimensions]]


def embeddings(asked):
    texts = asked.json["input"] if isinstance(asked.json["input"], list) else [asked.json["input"]]
    vectors, tokens = [vector(text) for text in texts], sum(len(text.split()) for text in texts)
    if asked.path == "/api/embed":
        return {"model": asked.json["model"], "embeddings": vectors, "prompt_eval_count": tokens}
    return {"object": "list", "model": asked.json["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "data": [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(vectors)]}


# ---- the formats -----------------------------------------------------------------------------------
class Format:
    content_type = "text/event-stream"

    def __init__(self, turn, asked, number):
        self.turn, self.asked, self.number = turn, asked, number
        self.tools = [(tool[0], tool[1], tool[2] if len(tool) > 2 else f"call_{number}_{n}")
                      for n, tool in enumerate(turn.tools)]
        words = len((turn.text or "").split()) + sum(len(json.dumps(arguments)) // 4 for _, arguments, _ in self.tools)
        told = {"prompt": max(1, len(json.dumps(asked.messages)) // 4), "completion": max(1, words)}
        self.usage = {"cached": 0, "cache_write": 0, "reasoning": 0, **told, **(turn.usage or {})}

    def pieces(self):
        text = self.turn.text or ""
        return self.turn.pieces or [text[at:at + TEXT_PIECE] for at in range(0, len(text), TEXT_PIECE)]

    @staticmethod
    def arguments(value):
        return value if isinstance(value, str) else json.dumps(value)

    @staticmethod
    def halves(text):
        middle = len(text) // 2
        return [piece for piece in (text[:middle], text[middle:]) if piece]

    def event(self, value, name=None):
        """A value as one server-sent event."""
        head = f"event: {name}\n".encode() if name else b""
        return head + b"data: " + json.dumps(value).encode() + b"\n\n"


class Chat(Format):
    def reason(self):
        return {"length": "length", "filter": "content_filter"}.get(self.turn.end, "tool_calls" if self.tools else "stop")

    def told(self):
        use = self.usage
        return {"prompt_tokens": use["prompt"], "completion_tokens": use["completion"],
                "total_tokens": use["prompt"] + use["completion"], "prompt_tokens_details": {"cached_tokens": use["cached"]},
                "completion_tokens_details": {"reasoning_tokens": use["reasoning"]}}

    def head(self, kind):
        return {"id": f"chatcmpl-{self.number}", "object": kind, "created": 1700000000, "model": self.turn.model}

    def call(self, tool):
        name, arguments, call_id = tool
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": self.arguments(arguments)}}

    def whole(self):
        message = {"role": "assistant", "content": self.turn.text, "refusal": None}
        if self.tools:
            message["tool_calls"] = [self.call(tool) for tool in self.tools]
        return {**self.head("chat.completion"), "choices": [{"index": 0, "message": message, "logprobs": None,
                "finish_reason": self.reason()}], **({} if self.turn.usage is None else {"usage": self.told()})}

    def chunk(self, delta, reason=None):
        return self.event({**self.head("chat.completion.chunk"),
                           "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    def endless(self):
        while True:
            yield self.chunk({"content": self.turn.text})

    def frames(self):
        yield self.chunk({"role": "assistant", "content": ""})
        for piece in self.pieces():
            yield self.chunk({"content": piece})
        for index, tool in enumerate(self.tools):
            call = self.call(tool)
            whole = call["function"].pop("arguments")
            yield self.chunk({"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]})
            for half in self.halves(whole):
                yield self.chunk({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
        yield self.chunk({}, self.reason())
        if (self.asked.json.get("stream_options") or {}).get("include_usage") and self.turn.usage is not None:
            yield self.event({**self.head("chat.completion.chunk"), "choices": [], "usage": self.told()})
        yield b"data: [DONE]\n\n"


class Responses(Format):
    def told(self):
        use = self.usage
        return {"input_tokens": use["prompt"], "input_tokens_details": {"cached_tokens": use["cached"]},
                "output_tokens": use["completion"], "output_tokens_details": {"reasoning_tokens": use["reasoning"]},
                "total_tokens": use["prompt"] + use["completion"]}

    def items(self):
        if self.turn.text is not None:
            yield {"type": "message", "id": f"msg_{self.number}", "role": "assistant", "status": "completed",
                   "content": [{"type": "output_text", "text": self.turn.text, "annotations": []}]}
        for name, arguments, call_id in self.tools:
            yield {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "status": "completed",
                   "arguments": self.arguments(arguments)}

    def whole(self):
        reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(self.turn.end)
        return {"id": f"resp_{self.number}", "object": "response", "created_at": 1700000000, "model": self.turn.model,
                "status": "incomplete" if reason else "completed", "error": None,
                "incomplete_details": {"reason": reason} if reason else None, "output": list(self.items()),
                "usage": None if self.turn.usage is None else self.told()}

    def typed(self, kind, **more):
        return self.event({"type": kind, **more}, kind)

    def endless(self):
        while True:
            yield self.typed("response.output_text.delta", output_index=0, content_index=0, delta=self.turn.text)

    def frames(self):
        yield self.typed("response.created", response={**self.whole(), "status": "in_progress", "output": [], "usage": None})
        for index, item in enumerate(self.items()):
            blank = {**item, "status": "in_progress", **({"content": []} if item["type"] == "message" else {"arguments": ""})}
            yield self.typed("response.output_item.added", output_index=index, item=blank)
            pieces = self.pieces() if item["type"] == "message" else self.halves(item["arguments"])
            kind = "response.output_text.delta" if item["type"] == "message" else "response.function_call_arguments.delta"
            for piece in pieces:
                yield self.typed(kind, output_index=index, item_id=item["id"], content_index=0, delta=piece)
            yield self.typed("response.output_item.done", output_index=index, item=item)
        whole = self.whole()
        yield self.typed("response." + whole["status"], response=whole)


class Messages(Format):
    def told(self):
        use = self.usage
        return {"input_tokens": use["prompt"] - use["cached"] - use["cache_write"], "cache_read_input_tokens": use["cached"],
                "cache_creation_input_tokens": use["cache_write"], "output_tokens": use["completion"]}

    def reason(self):
        return {"length": "max_tokens", "filter": "refusal"}.get(self.turn.end, "tool_use" if self.tools else "end_turn")

    def blocks(self):
        if self.turn.text is not None:
            yield {"type": "text", "text": self.turn.text}
        for name, arguments, call_id in self.tools:
            yield {"type": "tool_use", "id": call_id, "name": name, "input": arguments}

    def whole(self):
        return {"id": f"msg_{self.number}", "type": "message", "role": "assistant", "model": self.turn.model,
                "content": list(self.blocks()), "stop_reason": self.reason(), "stop_sequence": None,
                **({} if self.turn.usage is None else {"usage": self.told()})}

    def typed(self, kind, **more):
        return self.event({"type": kind, **more}, kind)

    def endless(self):
        yield self.typed("content_block_start", index=0, content_block={"type": "text", "text": ""})
        while True:
            yield self.typed("content_block_delta", index=0, delta={"type": "text_delta", "text": self.turn.text})

    def frames(self):
        start = {**self.whole(), "content": [], "stop_reason": None}
        if "usage" in start:
            start["usage"] = {**start["usage"], "output_tokens": 1}
        yield self.typed("message_start", message=start)
        yield self.typed("ping")
        for index, block in enumerate(self.blocks()):
            text = block["type"] == "text"
            yield self.typed("content_block_start", index=index,
                             content_block={**block, "text": ""} if text else {**block, "input": {}})
            for piece in self.pieces() if text else self.halves(self.arguments(block["input"])):
                yield self.typed("content_block_delta", index=index, delta={"type": "text_delta", "text": piece} if text else
                                 {"type": "input_json_delta", "partial_json": piece})
            yield self.typed("content_block_stop", index=index)
        more = {} if self.turn.usage is None else {"usage": {"output_tokens": self.usage["completion"]}}
        yield self.typed("message_delta", delta={"stop_reason": self.reason(), "stop_sequence": None}, **more)
        yield self.typed("message_stop")


class Lines(Format):
    content_type = "application/x-ndjson"

    def line(self, message, **more):
        return json.dumps({"model": self.turn.model, "created_at": "2025-01-01T00:00:00Z", "message": message,
                           "done": False, **more}).encode() + b"\n"

    def calls(self):
        return [{"function": {"name": name, "arguments": arguments}} for name, arguments, _ in self.tools]

    def last(self):
        told = {} if self.turn.usage is None else {"prompt_eval_count": self.usage["prompt"], "eval_count": self.usage["completion"]}
        return {"done": True, "done_reason": "length" if self.turn.end == "length" else "stop", **told}

    def whole(self):
        message = {"role": "assistant", "content": self.turn.text or "", **({"tool_calls": self.calls()} if self.tools else {})}
        return json.loads(self.line(message, **self.last()))

    def endless(self):
        while True:
            yield self.line({"role": "assistant", "content": self.turn.text})

    def frames(self):
        for piece in self.pieces():
            yield self.line({"role": "assistant", "content": piece})
        for call in self.calls():
            yield self.line({"role": "assistant", "content": "", "tool_calls": [call]})
        yield self.line({"role": "assistant", "content": ""}, **self.last())
