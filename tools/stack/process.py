"""One program of a stack: how it is started, seen to be ready, and ended."""

import ctypes
import os
import resource
import signal
import subprocess

from place import libc

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


class Program:
    """What to start and how to treat it.

    ready     function without arguments that says whether the program serves; None: alive is ready
    prepare   function run before each start (removes a stale socket, for example); may be None
    stop      signal that asks it to end; stop_s: seconds it gets for that
    death     signal the kernel sends it when the runner dies
    ids       (uid, gid), None to stay as we are; groups: further group ids
    keeps_lock  it may still write to the state folder after the runner died, so it holds the folder's lock
    """

    def __init__(self, name, argv, env, **how):
        self.name, self.argv, self.env = name, [str(part) for part in argv], env
        self.ready = how.get("ready")
        self.prepare = how.get("prepare")
        self.stop = how.get("stop", signal.SIGTERM)
        self.stop_s = how.get("stop_s", 10)
        self.death = how.get("death", signal.SIGTERM)
        self.ids, self.groups = how.get("ids"), how.get("groups", ())
        self.cwd = how.get("cwd", "/")
        self.keeps_lock = how.get("keeps_lock", False)
        self.privileged = how.get("privileged", False)
        self.open_files = how.get("open_files", 16384)
        self.lifeline = how.get("lifeline")
        self.stage = how.get("stage", 0)


class Process:
    """A running program. Its pid is also the id of its process group, and of its session; with a lifeline it stays in
    our session, since sudo remembers a password for a terminal."""

    def __init__(self, program, log_fd, lock_fd):
        self.program = program
        runner = os.getpid()

        def in_child():
            # After the change of uid, which would clear it; the check closes the gap before the call.
            libc.prctl(PR_SET_PDEATHSIG, int(program.death), 0, 0, 0)
            if not program.privileged:
                libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if os.getppid() != runner:
                os._exit(1)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            soft = program.open_files if hard == resource.RLIM_INFINITY else min(program.open_files, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.umask(0o022 if program.privileged else 0o077)     # sandboxes walk through what the warden makes

        options = {"user": program.ids[0], "group": program.ids[1], "extra_groups": list(program.groups)} \
            if program.ids else {}
        self.popen = subprocess.Popen(
            program.argv, env=program.env, cwd=program.cwd, stdout=log_fd, stderr=log_fd,
            stdin=subprocess.PIPE if program.lifeline else subprocess.DEVNULL,
            start_new_session=not program.lifeline, process_group=0 if program.lifeline else None,
            pass_fds=[lock_fd] if program.keeps_lock else [], preexec_fn=in_child, **options)
        if program.lifeline:
            self.popen.stdin.write(program.lifeline)
            self.popen.stdin.flush()
        self.pid = self.popen.pid

    def gone(self):
        """None while it runs, else a few words on how it ended."""
        code = self.popen.poll()
        if code is None:
            return None
        return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def send(self, number):
        """Signal the program itself; with a lifeline (it is root, we are not) closing that asks it to end."""
        if self.popen.poll() is not None:
            return
        if self.program.lifeline:
            self.popen.stdin.close()
        else:
            self.popen.send_signal(number)

    def sweep(self):
        """Kill what is left of its process group, so that no worker outlives its program."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
