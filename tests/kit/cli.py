"""The command line as a test runs it, and a scripted server for what no real one would say."""

import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import threading
import time
import types

from kit.http_server import HttpServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("WINDLASS_TEST_CLI", str(ROOT / "build" / "bin" / "windlass"))
OURS = ("WINDLASS_", "XDG_", "NO_COLOR")


class Cli:
    """`windlass` with a home of its own: what the user of this machine has set does not count."""

    def __init__(self, folder, url=None, **env):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.env = {**kept, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config"),
                    **({"WINDLASS_URL": url} if url else {}), **env}

    @property
    def credentials(self):
        return self.folder / "config" / "windlass" / "credentials.json"

    def __call__(self, *words, code=0, text=None, timeout=60, **env):
        """Run to the end; the exit code has to be `code`."""
        done = subprocess.run([PROGRAM, *map(str, words)], input=text, capture_output=True, text=True, timeout=timeout,
                              env={**self.env, **env}, cwd=self.folder)
        assert done.returncode == code, (words, done.returncode, done.stdout[-2000:], done.stderr[-4000:])
        return done

    def json(self, *words, **more):
        """The one JSON value that `--json` prints."""
        lines = self(*words, "--json", **more).stdout.splitlines()
        assert len(lines) == 1, lines
        return json.loads(lines[0])

    def start(self, *words, **env):
        """A process in a group of its own, for signals."""
        return subprocess.Popen([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env={**self.env, **env}, cwd=self.folder,
                                start_new_session=True)

    def on_terminal(self, *words, answers=(), send_at=None, timeout=30, **env):
        """Run on a terminal of its own: (exit code, everything shown). Each of `answers` is (what is awaited, typed)."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(PROGRAM, [PROGRAM, *map(str, words)], {**self.env, "TERM": "xterm", **env})
        shown, waiting, deadline = b"", list(answers), time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                if waiting and re.search(waiting[0][0].encode(), shown[send_at or 0:]):
                    send_at = len(shown)
                    os.write(terminal, waiting.pop(0)[1].encode())
                if select.select([terminal], [], [], 0.05)[0]:
                    try:
                        piece = os.read(terminal, 65536)
                    except OSError:     # Linux' way to say that the other end is closed
                        piece = b""
                    if not piece:
                        break
                    shown += piece
            else:
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        finally:
            os.close(terminal)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


class Peer(HttpServer):
    """An HTTP server that says what a test tells it to. Each route is a function of the request that returns
    (status, JSON value or bytes, headers) or a generator of bytes, which is sent piece by piece until it ends; then the
    connection is cut."""

    methods = ("GET", "POST", "PUT", "DELETE")

    def __init__(self):
        super().__init__()
        self.routes, self.seen, self.closing = {}, [], threading.Event()

    def __exit__(self, *_):
        self.closing.set()
        super().__exit__()

    def on(self, method, path, answer):
        """Answer requests for a path (without /api/v1 and query) by a function or by a value with status 200."""
        self.routes[method, path] = answer if callable(answer) else lambda request: (200, answer, {})
        return self

    def calls(self, method, path):
        with self.lock:
            return [request for request in self.seen if (request.command, request.route) == (method, path)]

    def answer(self, request):
        request.route = request.path.removeprefix("/api/v1").partition("?")[0]
        request.json = json.loads(request.body) if request.body else None
        with self.lock:     # a copy: the handler serves further requests of its connection
            self.seen.append(types.SimpleNamespace(command=request.command, route=request.route, path=request.path,
                                                   headers=request.headers, json=request.json))
        answer = self.routes.get((request.command, request.route))
        answer = answer(request) if answer else problem(404, f"no route {request.route}")
        if not isinstance(answer, tuple):
            return 200, {"Content-Type": "text/event-stream", "Connection": "close"}, iter(answer)
        status, value, headers = answer
        return status, {"Content-Type": "application/json", **headers}, value


def problem(status, detail, errors=(), **headers):
    body = {"type": "about:blank", "title": "t", "status": status, "detail": detail, "request_id": "r", "errors": list(errors)}
    return status, body, {"Content-Type": "application/problem+json", **headers}


def event(event_id, kind, **data):
    """One server-sent event."""
    return f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
