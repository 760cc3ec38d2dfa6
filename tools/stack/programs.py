"""The programs of Windlass itself: what each is given, and how it is seen to be ready."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

from place import StackError, folder_for
from process import Program
from services import LANGUAGE, ask_socket, redis_members, remove_socket, secret

# the settings that only some programs may see
NEEDS = {
    "windlass-eval": ("EVAL_SOCKET",),
    "windlass-warden": ("WARDEN_SOCKET", "RUNTIME_DIR", "ENVIRONMENTS_DIR"),
    "windlass-scheduler": ("POSTGRES_URL", "REDIS_URL", "MONGODB_URL", "MASTER_KEY", "OBJECTS_DIR", "S3_URL", "SMTP_URL"),
    "windlass-supervisor": ("POSTGRES_URL", "REDIS_URL", "MONGODB_URL", "WARDEN_SOCKET", "EVAL_SOCKET",
                            "MASTER_KEY", "OBJECTS_DIR", "S3_URL"),
    "windlass-web": ("POSTGRES_URL", "REDIS_URL", "MONGODB_URL", "EVAL_SOCKET", "TOKEN_KEY", "MASTER_KEY", "OBJECTS_DIR", "S3_URL",
                     "LOCAL_MODEL_URL"),
}
READY_PATH = "/readyz"
STAGES = {"windlass-eval": 10, "windlass-warden": 11, "windlass-scheduler": 12, "windlass-supervisor": 13,
          "windlass-web": 14}


def web_answers(scheme, port):
    """Whether the web server says that it and all it needs are ready."""
    try:
        if scheme == "https":   # whose the certificate is does not matter: this asks our own child
            trusting = ssl._create_unverified_context()
            client = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=trusting)
        else:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        client.request("GET", READY_PATH)
        status = client.getresponse().status
        client.close()
        return status == 200
    except OSError:
        return False
    except http.client.HTTPException:
        return False


def port_is_free(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return 0
        return probe.getsockname()[1]


def ask_for_sudo():
    """Make sure that sudo will start the warden without asking: now is the time to ask."""
    if not shutil.which("sudo"):
        raise StackError("the sandbox warden needs root: install sudo, or start Windlass as root")
    if subprocess.run(["sudo", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
        return
    if not sys.stdin.isatty():
        raise StackError("the sandbox warden needs root, and sudo would ask for a password: run 'sudo -v' first")
    print("windlass: sudo is used to start the sandbox warden, and for nothing else", file=sys.stderr, flush=True)
    if subprocess.run(["sudo", "-v"], check=False).returncode != 0:
        raise StackError("the sandbox warden needs root, and sudo was refused")


class Registration:
    """Ready is a program that has put a new name on its list in Redis; seen only in the private one."""

    def __init__(self, redis_socket, key):
        self.socket, self.key, self.before = redis_socket, key, set()

    def prepare(self):
        self.before = redis_members(self.socket, self.key)

    def ready(self):
        return bool(redis_members(self.socket, self.key) - self.before)


class Programs:
    """Builds the program list of one stack from its settings."""

    def __init__(self, place, settings, urls, port, outer_env):
        self.place, self.settings, self.urls, self.port = place, settings, urls, port
        self.sockets = place.home / "run" / "ours"
        self.bin = place.root / settings["bin_dir"]
        self.passed_on = {name: value for name, value in outer_env.items()
                          if name.startswith(("WINDLASS_", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"))}

    def values(self):
        return {
            "POSTGRES_URL": self.urls["postgres"], "REDIS_URL": self.urls["redis"], "MONGODB_URL": self.urls["mongodb"],
            "EVAL_SOCKET": str(self.sockets / "eval.sock"), "WARDEN_SOCKET": str(self.sockets / "warden.sock"),
            "RUNTIME_DIR": str(self.place.root / "build" / "runtime"),
            # read by the warden alone, which is root and may walk anywhere
            "ENVIRONMENTS_DIR": self.passed_on.get("WINDLASS_ENVIRONMENTS_DIR") or
                                str(self.place.checkout / "build" / "environments"),
            "OBJECTS_DIR": self.passed_on.get("WINDLASS_OBJECTS_DIR") or str(self.place.home / "objects"),
            "S3_URL": self.passed_on.get("WINDLASS_S3_URL"),
            "LOCAL_MODEL_URL": self.urls.get("local_model") or self.passed_on.get("WINDLASS_LOCAL_MODEL_URL"),
            "SMTP_URL": self.passed_on.get("WINDLASS_SMTP_URL", ""),
            "TOKEN_KEY": self.passed_on.get("WINDLASS_TOKEN_KEY") or secret(self.place, "token.key", 64),
            "MASTER_KEY": self.passed_on.get("WINDLASS_MASTER_KEY") or secret(self.place, "master.key", 32),
        }

    def env(self, program, **more):
        """The environment of one program: what the user set, and of our values only those it needs."""
        ours = self.values()
        if program == "windlass-web":
            ours["POSTGRES_URL"] = self.urls["postgres_web"]
        hidden = {f"WINDLASS_{name}" for name in (*ours, "POSTGRES_ADMIN_URL", "POSTGRES_WEB_URL", "PASSWORD")}
        env = dict(LANGUAGE, **{name: value for name, value in self.passed_on.items() if name not in hidden})
        env.update({f"WINDLASS_{name}": ours[name] for name in NEEDS[program] if ours[name]})
        if "local_model" in self.urls:      # the one address of this host that tenants may reach
            allowed = self.passed_on.get("WINDLASS_EGRESS_ALLOW")
            address = urlsplit(self.urls["local_model"])
            env["WINDLASS_EGRESS_ALLOW"] = ",".join(filter(None, (allowed, f"{address.hostname}/32:{address.port}")))
        env.update(more)
        env["WINDLASS_HOME"] = str(self.place.home)
        return env

    def program(self, binary, name=None, env=None, **how):
        path = self.bin / binary
        if not path.exists():
            raise StackError(f"{binary} is not built: run 'make build' ({path} is missing)")
        return Program(name or binary.removeprefix("windlass-"), [path], env or self.env(binary),
                       cwd=self.place.root, ids=self.place.service if self.place.is_root else None,
                       stage=STAGES[binary], **how)

    def eval(self):
        path = self.sockets / "eval.sock"
        return self.program("windlass-eval", ready=lambda: ask_socket(path) is not None, prepare=remove_socket(path))

    def warden(self):
        """The one program with root. It gives its socket to the owner of the socket's folder."""
        path = self.sockets / "warden.sock"
        program = self.program("windlass-warden", prepare=remove_socket(path), privileged=True, stop_s=15,
                               ready=lambda: ask_socket(path, kind=socket.SOCK_SEQPACKET) is not None)
        program.ids = None
        if not self.place.is_root:
            ask_for_sudo()
            order = {"argv": program.argv, "env": program.env, "cwd": str(program.cwd)}
            program.lifeline = json.dumps(order).encode() + b"\n"
            keeper = self.place.checkout / "tools" / "stack" / "keeper.py"
            program.argv = ["sudo", "-n", sys.executable, str(keeper)]
        return program

    def scheduler(self, number):
        return self.program("windlass-scheduler", name=f"scheduler-{number}", **self.registers("wl:stat:schedulers"))

    def registers(self, key):
        """How a program that registers in Redis is seen to be ready; alive is ready with a Redis of the user's."""
        if self.settings["redis_url"]:
            return {}
        listed = Registration(self.sockets / "redis.sock", key)
        return {"prepare": listed.prepare, "ready": listed.ready}

    def supervisor(self, number):
        spool = self.place.home / "spool" / f"supervisor-{number}"
        folder_for(spool, self.place.service if self.place.is_root else None)
        env = self.env("windlass-supervisor", WINDLASS_SPOOL_DIR=str(spool))
        return self.program("windlass-supervisor", name=f"supervisor-{number}", env=env, stop_s=20,
                            **self.registers("wl:sups"))

    @property
    def scheme(self):
        return "https" if self.passed_on.get("WINDLASS_TLS_KEY") else "http"

    def web(self):
        env = self.env("windlass-web", WINDLASS_PORT=str(self.port))
        return self.program("windlass-web", env=env, ready=lambda: web_answers(self.scheme, self.port), stop_s=20)

    def all(self):
        return [self.eval(), self.warden(),
                *(self.scheduler(n + 1) for n in range(self.settings["schedulers"])),
                *(self.supervisor(n + 1) for n in range(self.settings["supervisors"])), self.web()]
