#!/usr/bin/python3
"""Runs one program as root for a stack that is not root: `sudo keeper.py`, first line of stdin is JSON
{"argv": [...], "env": {...}, "cwd": "..."}.

The runner cannot signal a process of root, so its end of our stdin is the lifeline: when that closes, by
intent or because the runner died, the program gets SIGTERM, and SIGKILL ten seconds later. Our exit code
is the program's.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
GRACE_S = 10


def read_order():
    """The first line of stdin, read byte by byte: what follows it must stay for select()."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("keeper: no order on standard input")
        line += byte
    return json.loads(line)


def main():
    os.umask(0o022)                     # sandboxes walk through the folders that the warden makes
    order = read_order()
    libc = ctypes.CDLL(None)
    child = subprocess.Popen(order["argv"], env=order["env"], cwd=order["cwd"], stdin=subprocess.DEVNULL,
                             start_new_session=True,
                             preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0))
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    pidfd = os.pidfd_open(child.pid)
    while True:
        ready, _, _ = select.select([0, pidfd], [], [])
        if pidfd in ready:
            break
        if not os.read(0, 4096):
            child.terminate()
            if not select.select([pidfd], [], [], GRACE_S)[0]:
                child.kill()
            break
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
