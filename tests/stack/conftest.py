"""Doubles for the programs of Windlass: small servers that let the runner's own duties be tested alone."""

import json
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools" / "stack"))

DOUBLE = '''#!/usr/bin/python3
import http.server, json, os, pathlib, signal, socket, sys, urllib.parse
name = pathlib.Path(sys.argv[0]).name
place = pathlib.Path(os.environ["WINDLASS_HOME"]) / "spool" / "seen"
if name in ("windlass-eval", "windlass-warden"):
    variable = {"windlass-eval": "WINDLASS_EVAL_SOCKET", "windlass-warden": "WINDLASS_WARDEN_SOCKET"}[name]
    kind = socket.SOCK_STREAM if name == "windlass-eval" else socket.SOCK_SEQPACKET
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(os.environ[variable])
    if os.getuid() == 0:
        os.chown(os.environ[variable], os.stat(os.path.dirname(os.environ[variable])).st_uid, -1)
    server.listen()
    while True:
        server.accept()[0].close()
if name in ("windlass-scheduler", "windlass-supervisor"):
    key = {"windlass-scheduler": "wl:stat:schedulers", "windlass-supervisor": "wl:sups"}[name]
    client = socket.socket(socket.AF_UNIX)
    client.connect(urllib.parse.unquote(os.environ["WINDLASS_REDIS_URL"].removeprefix("unix://")))
    client.sendall(f"ZADD {key} 1 {name}-{os.getpid()}\\r\\n".encode())
if name == "windlass-web":
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"uid": os.getuid(), "groups": os.getgroups(), "cwd": os.getcwd(),
                               "variables": sorted(os.environ), "no_new_privs": "NoNewPrivs:\\t1" in open("/proc/self/status").read()})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())
        def log_message(self, *parts):
            pass
    if os.fork() == 0:                  # a worker, as kore has them
        signal.pause()
    http.server.HTTPServer(("127.0.0.1", int(os.environ["WINDLASS_PORT"])), Answer).serve_forever()
signal.pause()
'''
NAMES = ("windlass-eval", "windlass-warden", "windlass-scheduler", "windlass-supervisor", "windlass-web")


@pytest.fixture
def doubles():
    """Folder below the checkout with one double a program; its name as the stack wants it."""
    folder = ROOT / "build" / "test" / f"doubles-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / name).write_text(DOUBLE)
        (folder / name).chmod(0o755)
    yield str(folder.relative_to(ROOT))
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def first_home():
    """A state folder that the tests use one after the other, so that not each has to make a cluster."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wl-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(first_home):
    """The common state folder; one of the test's own when a failed test has left something running there."""
    if not members(first_home):
        yield first_home
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wl-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def members(folder):
    """Processes that name this state folder in their arguments or environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if os.fsencode(folder) in text and alive(entry.name):
                    found.append(int(entry.name))
        except OSError:
            continue
    return found
