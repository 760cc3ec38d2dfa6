"""Runs inside a sandbox and tries what must not work; prints one JSON object of what happened."""

import ctypes
import json
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)

# system calls of x86-64 by number (asm/unistd_64.h): the C library has no wrapper for some of them
CALLS = {
    "ptrace": (101, 16, 1, 0, 0),
    "mount": (165, b"none", b"/work", b"tmpfs", 0, 0),
    "umount2": (166, b"/work", 0),
    "pivot_root": (155, b"/work", b"/work"),
    "chroot": (161, b"/work"),
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, b"user", b"a", b"b", 1, -3),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 0),
    "io_uring_setup": (425, 1, 0),
    "seccomp": (317, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "sethostname": (170, b"x", 1),
    "settimeofday": (164, 0, 0),
    "syslog": (103, 3, 0, 0),
    "name_to_handle_at": (303, -100, b"/", 0, 0, 0),
    "open_by_handle_at": (304, -100, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "mount_setattr": (442, -100, b"/", 0, 0, 0),
    "fsopen": (430, b"tmpfs", 0),
    "clone3": (435, 0, 0),
    "clone_newuser": (56, 0x10000000 | 17, 0, 0, 0, 0),
    "mknod_device": (133, b"/work/disk", 0o60600, 0x0801),
    "sync": (162,),
    "vmsplice": (278, 1, 0, 0, 0),
    "modify_ldt": (154, 0, 0, 0),
}
FAMILIES = {"unix": 1, "inet": 2, "ax25": 3, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40}

def call(arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments])
    return 0 if result >= 0 else ctypes.get_errno()

def attempt(action):
    try:
        action()
        return 0
    except OSError as error:
        return error.errno

def family(number):
    def open_it():
        kind = socket.SOCK_RAW if number in (16, 17) else socket.SOCK_STREAM
        socket.socket(number, kind, 0).close()

    return attempt(open_it)

def status():
    with open("/proc/self/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

def reads(path):
    """How many bytes of a file can be read; -1 when it cannot be opened."""
    try:
        with open(path, "rb") as file:
            return len(file.read(64))
    except OSError:
        return -1

def writes(path):
    return attempt(lambda: os.close(os.open(path, os.O_WRONLY)))

def connect(address):
    def go():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(1)
            sock.connect(address)

    return attempt(go)

report = {
    "calls": {name: call(arguments) for name, arguments in CALLS.items()},
    "families": {name: family(number) for name, number in FAMILIES.items()},
    "status": {k: v for k, v in status().items() if k.startswith("Cap") or k in ("NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups")},
    "fds": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "fd_kinds": [os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in range(3)],
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "environment": dict(os.environ),

    "net_dev": [line.split(":")[0].strip() for line in open("/proc/net/dev", encoding="ascii") if ":" in line],
    "chmod_null": attempt(lambda: os.chmod("/dev/null", 0o600)),
    "chown_null": attempt(lambda: os.chown("/dev/null", 1000, 1000)),
    "null_owner": os.stat("/dev/null").st_uid,
    "init_fds": attempt(lambda: os.listdir("/proc/1/fd")),
    "init_memory": attempt(lambda: os.close(os.open("/proc/1/mem", os.O_RDWR))),
    "init_root": attempt(lambda: os.listdir("/proc/1/root")),
    "kill_init": attempt(lambda: os.kill(1, 9)),
    "write": {p: writes(p) for p in ("/usr/bin/env", "/windlass-init", "/etc/passwd", "/proc/sys/kernel/hostname",
                                    "/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/proc/1/oom_score_adj")},
    "make": {d: attempt(lambda d=d: os.close(os.open(d + "/probe", os.O_CREAT | os.O_WRONLY))) for d in
             ("/", "/usr", "/etc", "/dev", "/proc", "/opt", "/work", "/tmp", "/dev/shm")},
    "read": {p: reads(p) for p in ("/proc/kcore", "/proc/kallsyms", "/proc/cmdline", "/proc/modules", "/proc/keys",
                                  "/proc/interrupts", "/etc/shadow", "/root", "/proc/iomem")},
    "list": {p: attempt(lambda p=p: os.listdir(p)) for p in ("/root", "/home", "/var", "/run", "/sys", "/boot")},
    "usr_local": os.listdir("/usr/local"),
    "devices": sorted(os.listdir("/dev")),
    "host_loopback": connect(("127.0.0.1", 22)),
    "outside": connect(("192.0.2.1", 80)),
    "cgroup": open("/proc/self/cgroup", encoding="ascii").read(),
    "mounts": [line.split()[1:4] for line in open("/proc/self/mounts", encoding="ascii")],
    "cwd": os.getcwd(),
    "umask": os.umask(0),
    "work": sorted(os.listdir("/work")),
    "fifo": attempt(lambda: os.mkfifo("/work/fifo")),
}
print(json.dumps(report))
