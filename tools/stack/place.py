"""Where a stack lives and as whom its programs run.

Started by root, only the warden keeps root: PostgreSQL runs as the account its package made, everything
else under a numeric uid of our own that owns nothing else on the host. Such programs cannot walk through
a checkout under, say, /root, and a unix socket's path may hold about a hundred bytes; so the runner then
enters a mount namespace of its own and binds what the programs need onto a short path that anybody can
walk. Nothing of that is seen outside the namespace.

Started by anybody else, all programs run as that user, the warden through sudo. A state folder whose
path is too long for sockets is then named through /proc/<runner>/fd.
"""

import ctypes
import os
import pathlib
import pwd
import stat

SERVICE_ID = 64000          # uid and gid of our unprivileged programs; no account is made for it
SOCKET_ROOM = 90            # longest path of the state folder with a socket's name behind it
LONGEST_SOCKET = len("/run/postgres/.s.PGSQL.5432")
NAMESPACE_ROOTS = ("/mnt", "/srv", "/opt")
SHARED_FOLDERS = ("build/bin", "build/runtime", "build/gen", "build/editor", "build/localmodel", "policies", "quotas", "specs",
                  "tools/localmodel")

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 4096, 16384, 1 << 19

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


class StackError(Exception):
    """A sentence for the user: what is wrong and what to do about it."""


def check_libc(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise StackError(f"{what}: {os.strerror(number)}; the stack needs root with CAP_SYS_ADMIN here, "
                         "or a checkout that all users can walk into")


def mount(source, target, kind, flags, options=None):
    encode = lambda text: None if text is None else os.fsencode(text)
    check_libc(libc.mount(encode(source), encode(target), encode(kind), flags, encode(options)),
               f"mount {target} in the stack's own namespace")


def walkable(path):
    """Whether everybody may walk down to `path`."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def open_to_all(path):
    """Let everybody read a folder of build output; a umask of 077 would have closed it."""
    for folder, _, names in os.walk(path):
        os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) | 0o755)
        for name in names:
            file = os.path.join(folder, name)
            mode = stat.S_IMODE(os.lstat(file).st_mode)
            if not os.path.islink(file) and mode & 0o555 != (0o555 if mode & 0o100 else 0o444):
                os.chmod(file, mode | (0o555 if mode & 0o100 else 0o444))


def write_for(path, text, ids):
    """Write a file, mode 0600, in a folder of another account, whose it becomes (ids None: stays ours).

    That account may have put a link in its place, so the file is always a new one and reached by its
    descriptor: root must not give away what the link points to.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        if ids:
            os.fchown(file.fileno(), *ids)
        file.write(text)


def folder_for(path, ids):
    """Make a folder, mode 0700, in a folder of another account, with the same care."""
    path.mkdir(exist_ok=True, mode=0o700)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StackError(f"{path} is not a folder: {error.strerror}; move it away") from None
    try:
        if ids and os.fstat(fd).st_uid not in (0, ids[0]):
            raise StackError(f"{path} belongs to somebody else; move it away")
        if ids and os.fstat(fd).st_uid == 0:
            os.fchown(fd, *ids)
    finally:
        os.close(fd)


class Place:
    """Paths and ids of one stack.

    root, home    the checkout and the state folder as the programs see them
    outer_home    the state folder as this host's other processes reach its sockets
    """

    def __init__(self, checkout, home, bin_dir):
        self.checkout = pathlib.Path(checkout).resolve()
        self.real_home = pathlib.Path(home).resolve()
        self.is_root = os.geteuid() == 0
        self.root, self.home, self.outer_home = self.checkout, self.real_home, str(self.real_home)
        self.home_fd = None
        self.shared = [name for name in dict.fromkeys((*SHARED_FOLDERS, bin_dir)) if (self.checkout / name).is_dir()]
        if self.is_root:
            account = postgres_account()
            self.service, self.postgres = (SERVICE_ID, SERVICE_ID), (account.pw_uid, account.pw_gid)
        else:
            own = (os.geteuid(), os.getegid())
            self.service = self.postgres = own

    def prepare(self):
        """Make the state folder and settle the paths; call once, before any program is started."""
        self.make_folders()
        long_home = len(os.fsencode(self.real_home)) + LONGEST_SOCKET > SOCKET_ROOM
        if self.is_root:
            for name in self.shared:
                if name.startswith("build/"):
                    open_to_all(self.checkout / name)
            if long_home or not all(walkable(path) for path in [self.real_home, *map(self.checkout.joinpath, self.shared)]):
                self.enter_namespace()
                if long_home:
                    self.outer_home = f"/proc/{os.getpid()}/root{self.home}"
        elif long_home:
            self.home_fd = os.open(self.real_home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.home = pathlib.Path(f"/proc/{os.getpid()}/fd/{self.home_fd}")
            self.outer_home = str(self.home)

    def make_folders(self):
        """The state folder: each part belongs to who writes it, and the sockets only our programs reach."""
        self.real_home.mkdir(parents=True, exist_ok=True)
        self.own_folder("", None, 0o711)
        for name, owner, mode in (("log", None, 0o700), ("keys", None, 0o700), ("run", "group", 0o710),
                                  ("run/postgres", "postgres", 0o711), ("run/ours", "service", 0o711),
                                  ("postgres", "postgres", 0o700), ("redis", "service", 0o700),
                                  ("spool", "service", 0o700), ("objects", "service", 0o700),
                                  ("warden", None, 0o711)):
            self.own_folder(name, owner, mode)

    def own_folder(self, name, owner, mode):
        path = self.real_home / name
        path.mkdir(exist_ok=True)
        if self.is_root:
            ids = {"postgres": self.postgres, "service": self.service, "group": (0, SERVICE_ID), None: (0, 0)}
            os.chown(path, *ids[owner])
        path.chmod(mode)

    def enter_namespace(self):
        """Bind the folders that programs need, and the state folder, under a path of this namespace only."""
        base = next((path for path in NAMESPACE_ROOTS if os.path.isdir(path)), None)
        if not base:
            raise StackError(f"none of {', '.join(NAMESPACE_ROOTS)} exists to build the stack's view on")
        check_libc(libc.unshare(CLONE_NEWNS), "make a mount namespace")
        mount(None, "/", None, MS_REC | MS_SLAVE)
        # opened before the tmpfs covers `base`, in case the checkout lies there
        shared = [(name, os.open(self.checkout / name, os.O_PATH | os.O_DIRECTORY)) for name in self.shared]
        home = os.open(self.real_home, os.O_PATH | os.O_DIRECTORY)
        mount("windlass", base, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
        self.root, self.home = pathlib.Path(base) / "windlass", pathlib.Path(base) / "state"
        for name, fd in [*((self.root / name, fd) for name, fd in shared), (self.home, home)]:
            name.mkdir(parents=True, mode=0o755)
            mount(f"/proc/self/fd/{fd}", str(name), None, MS_BIND | MS_REC)
            os.close(fd)


def postgres_account():
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise StackError("there is no account 'postgres': run 'make setup-build'") from None
