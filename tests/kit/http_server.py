"""Servers of a test's own on a free loopback port: what each does is in its class, how it runs is here."""

import collections.abc
import http.server
import json
import socketserver
import sys
import threading


class LoopbackServer:
    """Runs a handler's connections, each in a thread, for as long as the context lasts."""

    def __init__(self, handler, host="127.0.0.1"):
        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                """A peer that goes away in the middle is what some tests are about; mistakes of the test are shown."""
                if not isinstance(sys.exc_info()[1], OSError):
                    super().handle_error(request, client_address)

        self.server = Server((host, 0), handler)
        self.port = self.server.server_address[1]
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class HttpServer(LoopbackServer):
    """Each request is answered by answer(), which a test's server overrides.

    request.body holds the body's bytes, request.fields the headers by their names in small letters. The answer is
    (status, headers, body): bytes go as they are, an iterator of bytes piece by piece with the connection's end as its
    end, and any other value as JSON. Headers given replace those made here. None says that answer() has done it all.
    """

    protocol = "HTTP/1.1"       # with HTTP/1.0 each request has a connection of its own
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

    def __init__(self, host="127.0.0.1"):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = outer.protocol

            def serve(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.fields = {name.lower(): text for name, text in self.headers.items()}
                answer = outer.answer(self)
                if answer is not None:
                    outer.send(self, *answer)

            def log_message(self, *_):
                pass

        for method in self.methods:
            setattr(Handler, f"do_{method}", Handler.serve)
        super().__init__(Handler, host)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request):
        raise NotImplementedError

    @staticmethod
    def send(request, status, headers, body):
        made, pieces = {}, body
        if isinstance(body, collections.abc.Iterator):
            request.close_connection = True
        else:
            if not isinstance(body, bytes):
                body, made["Content-Type"] = json.dumps(body).encode(), "application/json"
            if status != 204:
                made["Content-Length"] = len(body)
            pieces = [body]
        request.send_response(status)
        for name, text in {**made, **headers}.items():
            request.send_header(name, str(text))
        request.end_headers()
        for piece in pieces if request.command != "HEAD" else ():
            request.wfile.write(piece)
            request.wfile.flush()
