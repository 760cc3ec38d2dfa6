"""Figures of the sandboxes, one line each; needs root. Run by `make bench`, or alone: python3 tests/load/sandbox_bench.py"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sandbox"))

from sandbox_kit import BIN, Warden, root_prefix  # noqa: E402

STEP = "import json, sys\nprint(json.dumps({'ok': True}))\n"


def measure(warden, name, count, threads, pause_ms, *argv):
    subprocess.run(
        [str(BIN / "sandbox-bench"), warden.socket, name, str(count), str(threads), str(pause_ms), "--", *argv],
        check=True,
    )


def main():
    if root_prefix() is None:
        sys.exit("sandbox_bench: sandboxes need root, or sudo without a password")
    print(f"load_average: {os.getloadavg()[0]:.2f} processes", flush=True)
    with Warden(sandbox_parked=0, log_level="notice") as warden:
        measure(warden, "sandbox_cold", 100, 1, 0, "/bin/echo", "x")
    with Warden(log_level="notice") as warden:
        measure(warden, "sandbox_first", 4, 1, 50, "/bin/true")
        measure(warden, "sandbox_warm", 200, 1, 50, "/bin/echo", "x")
    with Warden(sandbox_parked=16, log_level="notice") as warden:
        measure(warden, "sandbox_busy", 600, 4, 0, "/bin/echo", "x")
    with Warden(log_level="notice") as warden:
        measure(warden, "sandbox_first", 1, 1, 100, "/bin/true")
        measure(warden, "python_steps_40", 40, 1, 0, "/usr/bin/python3", "-c", STEP)


if __name__ == "__main__":
    main()
