"""Servers of the Model Context Protocol for tests: one with the official SDK, and one whose manners a test writes."""

import asyncio
import contextlib
import json
import socket
import threading

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from kit.http_server import HttpServer


def sdk_server():
    """Tools of several kinds on a server of the official SDK."""
    server = MCPServer("kit", version="1.2")

    @server.tool(description="Add two numbers.")
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool(description="Say hello.", structured_output=False)
    def greet(name: str) -> str:
        return f"Hello {name}"

    @server.tool()
    def fail(why: str) -> str:
        raise ToolError(why)

    @server.tool(structured_output=False)
    async def slow(seconds: float, ctx: Context) -> str:
        await ctx.report_progress(1, 2, "half of it")
        await asyncio.sleep(seconds)
        return "done"

    return server


class Served:
    """An ASGI application on a free loopback port for as long as the context lasts."""

    def __init__(self, app):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)      # who connects before the server runs waits for it
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


class Guarded:
    """Lets nobody through to an application who does not bring the token; keeps what was asked."""

    def __init__(self, app, token=None):
        self.app, self.token, self.seen = app, token, []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
            self.seen.append((scope["method"], headers))
            if self.token and headers.get("authorization") != f"Bearer {self.token}":
                await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
                await send({"type": "http.response.body", "body": b"who are you?"})
                return
        await self.app(scope, receive, send)


@contextlib.contextmanager
def serve_sdk(token=None, **options):
    """The SDK's server over streamable HTTP; gives its address and the guard that saw the requests."""
    guard = Guarded(sdk_server().streamable_http_app(**options), token)
    with Served(guard) as served:
        yield served.url + "/mcp", guard


def sse(*messages):
    """Messages as server-sent events."""
    return "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in messages).encode()


class HandMade(HttpServer):
    """A server by hand. The first part of a path names the method call_<name> that answers tools/call, and maybe one
    begin_<name> for initialize and one list_<name> for tools/list; each takes the message and gives what answer() of
    an HttpServer gives, or the message's result alone.
    """

    def __init__(self):
        super().__init__()
        self.seen = []          # (method of HTTP, path, headers, message)

    def of(self, name):
        """The messages that came for a path, each as its method, or what of it is an answer."""
        return [message.get("method") or message for method, path, _, message in list(self.seen)
                if path.strip("/") == name and message]

    def parted(self, name):
        return [headers.get("mcp-session-id") for method, path, headers, _ in list(self.seen)
                if path.strip("/") == name and method == "DELETE"]

    def answer(self, request):
        message = json.loads(request.body) if request.body else None
        name = request.path.strip("/")
        self.seen.append((request.command, request.path, request.fields, message))
        if message is None or "method" not in message or "id" not in message:
            return 202, {}, b""
        step = {"initialize": "begin", "tools/list": "list", "tools/call": "call"}[message["method"]]
        given = getattr(self, f"{step}_{name}", getattr(self, f"{step}_"))(message, request)
        if isinstance(given, tuple):
            return given
        headers = {"Mcp-Session-Id": f"s-{name}"} if step == "begin" else {}
        return 200, headers, {"jsonrpc": "2.0", "id": message["id"], "result": given}

    def begin_(self, message, _):
        return {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "hand made", "version": "0"}}

    def list_(self, *_):
        return {"tools": [{"name": "t", "description": "A tool.", "inputSchema": {"type": "object"}}]}

    def call_(self, message, _):
        return {"content": [{"type": "text", "text": json.dumps(message["params"]["arguments"])}]}
