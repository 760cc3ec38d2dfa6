"""Figures of the sandboxes, one line each; needs root. Run by `make bench`, or alone: python3 tests/load/sandbox_bench.py"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sandbox"))

from sandbox_kit import BIN, Warden, root_prefix  # noqa: E402

STEP = "import json, sys\nprint(json.dumps({'ok': True}))\n"


def measure(warden, name, count, threads, pause_ms, *argv):
    """COUNT runs by THREADS threads; the first few only fill the stock and are not shown."""
    line = [str(BIN / "sandbox-bench"), warden.socket, name]
    subprocess.run([*line, "4", "1", "50", "--", "/bin/true"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*line, str(count), str(threads), str(pause_ms), "--", *argv], check=True)


def load(when):
    print(f"load_average_{when}: {os.getloadavg()[0]:.2f} processes", flush=True)


def main():
    if root_prefix() is None:
        sys.exit("sandbox_bench: sandboxes need root, or sudo without a password")
    load("before")
    with Warden(sandbox_parked=0, log_level="notice") as warden:
        measure(warden, "sandbox_cold", 100, 1, 0, "/bin/echo", "x")
    with Warden(log_level="notice") as warden:
        # twenty a second: what a parked sandbox gives when there is one
        measure(warden, "sandbox_warm", 200, 1, 50, "/bin/echo", "x")
    with Warden(sandbox_parked=8, log_level="notice") as warden:
        # as fast as they can be made
        measure(warden, "sandbox_busy", 600, 8, 0, "/bin/echo", "x")
    with Warden(log_level="notice") as warden:
        measure(warden, "python_steps_40", 40, 1, 0, "/usr/bin/python3", "-B", "-E", "-s", "-X", "utf8", "-c", STEP)
    load("after")


if __name__ == "__main__":
    main()
