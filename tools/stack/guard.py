"""What is left to do when the runner is killed: see that no process of the stack stays.

The kernel signals the runner's children when it dies, but not their children; a worker whose parent went
down without a word would stay. So the runner forks a guard that holds one end of a pipe and knows the
process groups of the stack. When the pipe closes, the guard waits for each group to end, kills what
outlives its leader at once and everything after a while. It shares the lock of the state folder until then.
"""

import ctypes
import os
import signal
import time

PR_SET_NAME = 15
GRACE_S = 25
POLL_S = 0.05


class Guard:
    """The runner's handle on its guard."""

    def __init__(self, lock_fd):
        reader, self.pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                watch(reader, lock_fd)
            finally:
                os._exit(0)
        os.close(reader)

    def watch(self, group):
        self.tell(f"+{group}\n")

    def forget(self, group):
        self.tell(f"-{group}\n")

    def tell(self, line):
        try:
            os.write(self.pipe, line.encode())
        except BrokenPipeError:
            pass                        # somebody killed the guard; the stack itself is well

    def close(self):
        """End the guard; what it still knows of is ended first."""
        os.close(self.pipe)
        os.waitpid(self.pid, 0)


def watch(reader, lock_fd):
    """The guard's life: read the names of groups until the runner is gone, then end them."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"windlass-guard", 0, 0, 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd not in (reader, lock_fd):
            try:
                os.close(fd)
            except OSError:
                pass                    # the folder's own descriptor
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = set()
    with os.fdopen(reader, encoding="ascii") as orders:
        for line in orders:
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end(groups)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False                    # the warden under sudo: its keeper sees to it
    return True


def end(groups):
    deadline = time.monotonic() + GRACE_S
    while groups and time.monotonic() < deadline + 5:        # a zombie that nobody reaps stays in its group
        groups = {group for group in groups if alive(group)}
        for group in groups:
            if not os.path.exists(f"/proc/{group}") or time.monotonic() > deadline:
                os.killpg(group, signal.SIGKILL)
        time.sleep(POLL_S)
