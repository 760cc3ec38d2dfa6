"""An HTTP server that remembers who called it when: the outside world of a flow, with its effects counted."""

import collections
import http.server
import json
import threading
import time
import urllib.parse


class EffectServer:
    """Serves on a free loopback port in a thread of its own. Use as a context manager.

    /effect/<execution>/<node>/<number>?delay=S   counts a visit, answers {"visit": n}
    /status/<code>       that status with a JSON body; 3xx with Location: /echo
    /flaky/<key>/<n>     503 for the first n calls of that key, then 200
    /slow/<seconds>      answers late
    /echo                method, path, headers and body of the request
    /text /empty /reset  plain text, no body, a connection that is cut
    /bytes/<n>           a body of n bytes
    """

    def __init__(self, host="127.0.0.1"):
        self.lock = threading.Lock()
        self.visits = collections.defaultdict(list)
        self.calls = collections.Counter()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                outer.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                """A peer that died in the middle is what the tests are about."""

        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def effect_url(self, node_id, number=0, delay_s=0.0):
        """A URL for an http node; the execution's id is filled in by an expression."""
        return f"{self.url}/effect/{{{{ .execution.id }}}}/{node_id}/{number}?delay={delay_s}"

    def handle(self, request):
        path = urllib.parse.urlsplit(request.path)
        parts = path.path.strip("/").split("/")
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self.lock:
            self.calls[parts[0]] += 1
        answer = getattr(self, f"answer_{parts[0]}", None)
        if not answer:
            return self.reply(request, 404, {"error": "no such path"})
        return answer(request, parts[1:], dict(urllib.parse.parse_qsl(path.query)), body)

    def reply(self, request, status, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        request.send_response(status)
        if not isinstance(value, bytes):
            request.send_header("Content-Type", "application/json")
        for name, text in headers:
            request.send_header(name, text)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def answer_effect(self, request, parts, query, _):
        execution, node, number = parts[0], parts[1], int(parts[2])
        with self.lock:
            self.visits[execution].append((time.monotonic(), node, number,
                                           request.headers.get("Idempotency-Key")))
            count = sum(1 for visit in self.visits[execution] if visit[1] == node)
        time.sleep(float(query.get("delay", 0)))
        self.reply(request, 200, {"visit": count})

    def answer_status(self, request, parts, _, __):
        status = int(parts[0])
        headers = [("Location", "/echo")] if 300 <= status < 400 else []
        self.reply(request, status, {"status": status}, headers)

    def answer_flaky(self, request, parts, _, __):
        with self.lock:
            self.calls["flaky/" + parts[0]] += 1
            number = self.calls["flaky/" + parts[0]]
        self.reply(request, 503 if number <= int(parts[1]) else 200, {"call": number})

    def answer_slow(self, request, parts, _, __):
        time.sleep(float(parts[0]))
        self.reply(request, 200, {"slept": float(parts[0])})

    def answer_echo(self, request, _, query, body):
        self.reply(request, 200, {"method": request.command, "path": request.path, "query": query,
                                  "headers": {name.lower(): text for name, text in request.headers.items()},
                                  "body": body.decode("utf-8", "replace")})

    def answer_text(self, request, _, __, ___):
        self.reply(request, 200, b"plain text", [("Content-Type", "text/plain")])

    def answer_empty(self, request, _, __, ___):
        self.reply(request, 204, b"")

    def answer_bytes(self, request, parts, _, __):
        self.reply(request, 200, b"x" * int(parts[0]), [("Content-Type", "application/octet-stream")])

    def answer_reset(self, request, _, __, ___):
        request.close_connection = True
        request.connection.shutdown(2)

    def visited(self, execution, node=None):
        """The visits of one execution, in order of arrival: (time, node, number, key)."""
        with self.lock:
            return [visit for visit in self.visits[execution] if node is None or visit[1] == node]

    def going_back(self):
        """Chains (see flows.effects) in which a node was called again after a later one: a finished node re-ran."""
        with self.lock:
            found = []
            for execution, visits in self.visits.items():
                numbers = [number for _, _, number, _ in sorted(visits)]
                if any(later < earlier for earlier, later in zip(numbers, numbers[1:])):
                    found.append((execution, numbers))
            return found
