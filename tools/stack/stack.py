#!/usr/bin/python3
"""A whole Windlass on one host.

    stack.py run [--schedulers N] [--supervisors N] [--local-model]    what `make run` does, until Ctrl-C or SIGTERM
    stack.py servers                                   PostgreSQL, Redis and the document server alone
    stack.py migrate                                   bring the database of WINDLASS_POSTGRES_URL up to date

Settings come from the environment: WINDLASS_HOME (state folder, default .windlass), WINDLASS_PORT (8080; 0
picks a free one), WINDLASS_POSTGRES_URL, WINDLASS_POSTGRES_WEB_URL (another account for the web server),
WINDLASS_POSTGRES_ADMIN_URL (for the migrations, when the first may not change the schema), WINDLASS_REDIS_URL,
WINDLASS_MONGODB_URL (use these servers instead of private ones), and every setting of the programs.

As a library, for tests and the benchmark:

    with Stack(home=folder, port=0, env={"WINDLASS_LEASE_MS": "2000"}, schedulers=2, supervisors=2) as stack:
        stack.urls["web"], stack.pid("web"), stack.kill("scheduler-1", signal.SIGKILL)

The stack then runs as a process of its own, the same as under `make run`; when the one who made it dies,
it takes everything down.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class StackFailed(Exception):
    """The stack did not start, or refused an order; the text says why."""


class Stack:
    """One stack, run by a process of its own and steered through a socket pair."""

    def __init__(self, home, port=0, env=None, schedulers=2, supervisors=2, servers_only=False, bin_dir="build/bin",
                 local_model=False):
        self.home = pathlib.Path(home)
        self.argv = ["servers" if servers_only else "run", "--schedulers", str(schedulers),
                     "--supervisors", str(supervisors), "--bin-dir", bin_dir,
                     *(["--local-model"] if local_model else [])]
        self.env = dict(os.environ, **(env or {}), WINDLASS_HOME=str(self.home), WINDLASS_PORT=str(port))
        self.runner, self.control, self.urls = None, None, {}

    def start(self):
        """Start everything; returns once all of it is ready. Raises StackFailed with the reason."""
        ours, theirs = socket.socketpair()
        argv = ["/usr/bin/python3", str(HERE / "stack.py"), *self.argv, "--control-fd", str(theirs.fileno())]
        self.runner = subprocess.Popen(argv, env=self.env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                       start_new_session=True)
        theirs.close()
        self.control = ours.makefile("rwb")
        ours.close()
        answer = self.hear()
        if "ready" not in answer:
            self.stop()
            raise StackFailed(answer.get("failed", "the stack ended while starting"))
        self.urls = answer["ready"]
        return self

    def hear(self):
        line = self.control.readline()
        return json.loads(line) if line else {}

    def order(self, what, **details):
        self.control.write(json.dumps({"do": what, **details}).encode() + b"\n")
        self.control.flush()
        answer = self.hear()
        if "ok" not in answer:
            raise StackFailed(answer.get("error", "the stack is gone"))
        return answer["ok"]

    def pids(self):
        """{name: pid} of what runs now."""
        return self.order("pids")

    def pid(self, name):
        return self.pids().get(name)

    def kill(self, name, number=signal.SIGKILL, hold=False):
        """Signal a program. It is started again when it dies, unless hold is set: then start() it by name."""
        return self.order("kill", name=name, signal=int(number), hold=hold)

    def resume(self, name):
        """Start a program that was killed with hold, and await its readiness; returns its pid."""
        return self.order("start", name=name)

    def restart(self, name):
        """Stop a program cleanly, start it, await its readiness; returns its pid."""
        return self.order("restart", name=name)

    def log(self, name):
        """The text of a program's log since this stack started."""
        path = self.home / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, timeout=90):
        """Take everything down; returns the runner's exit code."""
        if not self.runner:
            return None
        if self.runner.poll() is None:
            self.runner.send_signal(signal.SIGTERM)
        code = self.runner.wait(timeout)
        self.control.close()
        self.runner = None
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


# ---- command line ------------------------------------------------------------------------------
def whole(env, name, standard, least, most):
    text = env.get(f"WINDLASS_{name}") or str(standard)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"WINDLASS_{name} must be a whole number from {least} to {most}, not '{text}'")
    return int(text)


def read_settings(arguments, env):
    """The runner's settings from the command line and the environment."""
    home = env.get("WINDLASS_HOME") or str(ROOT / ".windlass")
    return {
        "home": home, "port": whole(env, "PORT", 8080, 0, 65535), "bind": env.get("WINDLASS_BIND") or "127.0.0.1",
        "postgres_url": env.get("WINDLASS_POSTGRES_URL", ""), "redis_url": env.get("WINDLASS_REDIS_URL", ""),
        "postgres_web_url": env.get("WINDLASS_POSTGRES_WEB_URL", ""),
        "postgres_admin_url": env.get("WINDLASS_POSTGRES_ADMIN_URL", ""),
        "mongodb_url": env.get("WINDLASS_MONGODB_URL", ""),
        "schedulers": arguments.schedulers, "supervisors": arguments.supervisors, "bin_dir": arguments.bin_dir,
        "servers_only": arguments.command == "servers", "local_model": arguments.local_model, "env": dict(env),
    }


def parse(argv):
    parser = argparse.ArgumentParser(prog="stack.py", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("command", choices=["run", "servers", "migrate"])
    parser.add_argument("--schedulers", type=int, choices=range(1, 33), default=1, metavar="N")
    parser.add_argument("--supervisors", type=int, choices=range(1, 33), default=1, metavar="N")
    parser.add_argument("--bin-dir", default="build/bin", help="folder of the programs, below the checkout")
    parser.add_argument("--local-model", action="store_true", help="run a small model beside it, for all tenants")
    parser.add_argument("--control-fd", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def warn(text):
    print(f"windlass: {text}", file=sys.stderr, flush=True)


def migrate_only(settings):
    from migrate import Database, close_rights, migrate
    from place import StackError
    from plans import put_plans
    from prices import put_prices
    url = settings["postgres_admin_url"] or settings["postgres_url"]
    if not url:
        warn("set WINDLASS_POSTGRES_URL to the database to migrate; `make run` migrates its own by itself")
        return 1
    try:
        count = migrate(Database(url), ROOT / "specs" / "sql", warn)
        put_plans(Database(url), ROOT / "quotas", warn)
        put_prices(Database(url), ROOT / "policies" / "prices", warn)
        close_rights(Database(url), ROOT / "specs" / "rights.sql", warn)
    except StackError as error:
        warn(str(error))
        return 1
    warn(f"{count} migrations applied" if count else "the database is up to date")
    return 0


def main(argv):
    arguments = parse(argv)
    try:
        settings = read_settings(arguments, os.environ)
    except ValueError as error:
        warn(str(error))
        return 1
    if arguments.command == "migrate":
        return migrate_only(settings)
    from runner import Runner
    control = None
    if arguments.control_fd is not None:
        control = socket.socket(fileno=arguments.control_fd).makefile("rwb", buffering=0)
        os.set_inheritable(arguments.control_fd, False)
    say = (lambda text: None) if control else warn
    return Runner(ROOT, settings, say, warn, control).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
