"""A real warden for the tests: started as root (or through sudo), stopped by its pid, nothing left behind."""

import json
import os
import pathlib
import selectors
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / os.environ.get("WINDLASS_TEST_BIN", "build/bin")
READY_S = 20
STOP_S = 20


def root_prefix():
    """How to become root: nothing, sudo, or None when there is no way."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def cgroup_folders(pid):
    """The control group folders of the warden with that pid, one in each hierarchy. Others may live on this host."""
    found = []
    for base in ("/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir())):
        if os.path.isdir(f"{base}/windlass"):
            found += [entry.path for entry in os.scandir(f"{base}/windlass") if entry.name.startswith(f"warden-{pid}-")]
    return found


def alive(processes):
    """Those of the (pid, start time) pairs that still run."""
    return {(pid, start) for pid, start in processes if start_time(pid) == start}


def start_time(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Warden:
    """One warden process and a way to run programs through it."""

    def __init__(self, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="windlass-warden-test-")
        self.settings = {
            "warden_socket": f"{self.folder.name}/warden.sock",
            "policies_dir": str(ROOT / "policies"),
            "log_level": "info",
            **settings,
        }
        self.process = None
        self.log = []

    @property
    def socket(self):
        return self.settings["warden_socket"]

    def start(self):
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]
        self.process = subprocess.Popen(
            [*root_prefix(), str(BIN / "windlass-warden"), *arguments],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o077,  # as strict as its caller may be
        )
        self.wait_for_log("ready:")
        return self

    def wait_for_log(self, text):
        """Read log lines until one holds `text`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stderr, selectors.EVENT_READ)
            while selector.select(READY_S):
                line = self.process.stderr.readline()
                if not line:
                    break
                self.log.append(line)
                if text in line:
                    return line
        raise AssertionError(f"the warden never said '{text}':\n" + "".join(self.log))

    @property
    def pid(self):
        """The warden's own: what was started may be sudo, whose child it is."""
        if not root_prefix():
            return self.process.pid
        return int(pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def sandboxes(self):
        """Names of its sandboxes, parked and running."""
        return {entry.name for folder in cgroup_folders(self.pid) for entry in os.scandir(folder) if entry.is_dir()}

    def processes(self):
        """All processes in its sandboxes, as (pid, start time)."""
        found = set()
        for folder in cgroup_folders(self.pid):
            for base, _, _ in os.walk(folder):
                try:
                    pids = pathlib.Path(base, "cgroup.procs").read_text().split()
                except OSError:
                    continue  # it was removed meanwhile
                found |= {(int(pid), start_time(int(pid))) for pid in pids}
        return {(pid, start) for pid, start in found if start}

    def send_signal(self, number):
        if root_prefix():
            subprocess.run([*root_prefix(), "kill", f"-{int(number)}", str(self.pid)], check=True)
        else:
            self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.send_signal(number)
            self.process.wait(STOP_S)
        return self.process.returncode if self.process else None

    def close(self):
        self.stop()
        if self.process:
            self.log += self.process.stderr.readlines()
            self.process.stdin.close()
            self.process.stderr.close()
        self.folder.cleanup()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # ---- running programs ----------------------------------------------------------------------

    def command(self, argv, files=None, stdin=None, env=None, flags=(), listen=(), **options):
        line = [str(BIN / "sandbox-run"), self.socket]
        line += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        line += [f"--{flag}" for flag in flags]
        line += [f"--listen={port}" for port in listen]
        line += [f"--env={name}={value}" for name, value in (env or {}).items()]
        for index, (inside, content) in enumerate({**(files or {}), **({"": stdin} if stdin is not None else {})}.items()):
            with tempfile.NamedTemporaryFile(dir=self.folder.name, prefix=f"file{index}-", delete=False) as file:
                file.write(content if isinstance(content, bytes) else content.encode())
            line.append(f"--file={inside}={file.name}" if inside else f"--stdin={file.name}")
        return [*line, "--", *argv]

    def popen(self, argv, **options):
        return subprocess.Popen(self.command(argv, **options), stdout=subprocess.PIPE)

    def run(self, argv, **options):
        done = subprocess.run(self.command(argv, **options), capture_output=True, timeout=120)
        assert done.stdout, done.stderr
        return json.loads(done.stdout.decode("utf-8", "replace"))

    def python(self, source, **options):
        return self.run(["/usr/bin/python3", "/work/in/main.py"], files={"in/main.py": source}, **options)

    def bash(self, source, **options):
        return self.run(["/bin/bash", "/work/in/main.sh"], files={"in/main.sh": source}, **options)


def wait_until(condition, limit_s=10):
    """Look at the state until it is there; the pause between two looks is only politeness."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "the state never came"
        signal.sigtimedwait([], 0.01)
