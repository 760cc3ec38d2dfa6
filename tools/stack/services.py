"""The private servers of a stack: PostgreSQL, Redis and the embedded document server."""

import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
from urllib.parse import quote

from place import SERVICE_ID, StackError, write_for
from process import Program

POSTGRES_BIN = "/usr/lib/postgresql/15/bin"
DATABASE, DOCUMENTS = "windlass", "documents"
LANGUAGE = {"LANG": "C.UTF-8", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
POSTGRES_SETTINGS = {
    "listen_addresses": "", "unix_socket_permissions": "0777", "max_connections": "100",
    "shared_buffers": "256MB", "effective_cache_size": "1GB", "work_mem": "8MB", "jit": "off",
    "fsync": "on", "synchronous_commit": "on", "wal_compression": "on", "max_wal_size": "2GB",
    "checkpoint_timeout": "15min", "random_page_cost": "1.1", "password_encryption": "scram-sha-256",
    "autovacuum_naptime": "30s", "log_min_messages": "warning", "log_line_prefix": "%m [%p] ",
}


def secret(place, name, size=32):
    """A secret of this state folder: made once, readable by who starts the stack alone."""
    path = place.home / "keys" / name
    if not path.exists():
        new = path.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(size))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    return path.read_text().strip()


def ask_socket(path, question=None, kind=socket.SOCK_STREAM):
    """Connect to a unix socket; with a question, the first bytes of the answer. None: nobody serves it."""
    try:
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(2)
            client.connect(os.fspath(path))
            if question is None:
                return b""
            client.sendall(question)
            return client.recv(65536)
    except OSError:
        return None


def remove_socket(path):
    """A socket's file outlives a killed server; the folder's lock proves that nobody uses it."""
    def remove():
        path.unlink(missing_ok=True)
    return remove


# ---- PostgreSQL --------------------------------------------------------------------------------
class PrivatePostgres:
    """One cluster in the state folder, reached by a unix socket only.

    The superuser may come from the accounts that started the stack alone (peer); programs log in with a
    password that is made once.
    """

    def __init__(self, place):
        self.place = place
        self.folder = place.home / "postgres"
        self.sockets = place.home / "run" / "postgres"

    def url(self, user, database, home=None, **query):
        host = quote(f"{home or self.place.home}/run/postgres", safe="")
        password = "" if user == "postgres" else ":" + secret(self.place, f"{user}.password")
        extra = "".join(f"&{name}={quote(value, safe='')}" for name, value in query.items())
        return f"postgresql://{user}{password}@/{database}?host={host}{extra}"

    def write_access(self):
        """Who may log in, and how; rewritten at each start."""
        accounts = {"root", "postgres"} if self.place.is_root else {subprocess.check_output(["id", "-un"], text=True).strip()}
        files = {"hba.conf": "local all postgres peer map=admin\nlocal all all scram-sha-256\n",
                 "ident.conf": "".join(f"admin {name} postgres\n" for name in sorted(accounts))}
        for name, text in files.items():
            write_for(self.folder / name, text, self.place.postgres if self.place.is_root else None)

    def initialise(self):
        """Make the cluster on the first start; a half-made one of an interrupted start is thrown away."""
        if not os.path.exists(f"{POSTGRES_BIN}/postgres"):
            raise StackError("PostgreSQL 15 is not installed: run 'make setup-build', or set WINDLASS_POSTGRES_URL")
        if not (self.folder / "data").exists():
            fresh = self.folder / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            argv = [f"{POSTGRES_BIN}/initdb", "-D", str(fresh), "-U", "postgres", "--locale=C.UTF-8", "--encoding=UTF8",
                    "--auth-local=peer", "--auth-host=reject"]
            ids = {"user": self.place.postgres[0], "group": self.place.postgres[1], "extra_groups": []} \
                if self.place.is_root else {}
            done = subprocess.run(argv, env=LANGUAGE, cwd="/", capture_output=True, text=True, check=False, **ids)
            if done.returncode != 0:
                raise StackError(f"PostgreSQL could not make its cluster: {done.stderr.strip()}")
            fresh.rename(self.folder / "data")
        self.write_access()

    def ready(self):
        argv = [f"{POSTGRES_BIN}/pg_isready", "-q", "-h", str(self.sockets), "-U", "postgres"]
        return subprocess.run(argv, check=False).returncode == 0

    def program(self):
        settings = dict(POSTGRES_SETTINGS, hba_file=self.folder / "hba.conf", ident_file=self.folder / "ident.conf",
                        unix_socket_directories=f'"{self.sockets}"')
        argv = [f"{POSTGRES_BIN}/postgres", "-D", self.folder / "data"]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        # SIGINT is PostgreSQL's fast shut-down, SIGQUIT its immediate one: safe, but recovery follows
        return Program("postgres", argv, LANGUAGE, ready=self.ready, stop=signal.SIGINT, stop_s=30, death=signal.SIGQUIT,
                       ids=self.place.postgres if self.place.is_root else None, groups=(SERVICE_ID,), keeps_lock=True)


# ---- Redis -------------------------------------------------------------------------------------
def redis_program(place):
    """Redis without persistence: an empty one is rebuilt from PostgreSQL."""
    path = place.home / "run" / "ours" / "redis.sock"
    argv = ["/usr/bin/redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--save", "",
            "--appendonly", "no", "--maxmemory-policy", "noeviction", "--daemonize", "no",
            "--dir", place.home / "redis", "--logfile", "", "--loglevel", "warning"]
    if not os.path.exists(argv[0]):
        raise StackError("Redis is not installed: run 'make setup-build', or set WINDLASS_REDIS_URL")
    return Program("redis", argv, LANGUAGE, ready=lambda: (ask_socket(path, b"PING\r\n") or b"").startswith(b"+PONG"),
                   prepare=remove_socket(path), ids=place.service if place.is_root else None, keeps_lock=True)


def redis_url(home):
    return "unix://" + quote(f"{home}/run/ours/redis.sock")


def redis_members(path, key):
    """The members of a sorted set of the private Redis; none when it cannot be asked."""
    answer = ask_socket(path, f"ZRANGE {key} 0 -1\r\n".encode()) or b""
    return {line for line in answer.split(b"\r\n") if line and line[:1] not in b"*$-"}


# ---- the local model ---------------------------------------------------------------------------
class LocalModel:
    """A small model's server on loopback. Its port stays the same, since tenants' providers have it."""

    def __init__(self, place):
        self.place = place
        self.python = place.root / "build" / "localmodel" / "bin" / "python"
        self.port = self.choose_port()

    def choose_port(self):
        path = self.place.real_home / "local-model.port"
        wanted = int(path.read_text()) if path.exists() else 0
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                raise StackError(f"port {wanted} is taken, at which the tenants' providers look for the local model: "
                                 "free it, or start without LOCAL_MODEL=1") from None
            port = probe.getsockname()[1]
        path.write_text(f"{port}\n")
        return port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def answers(self):
        """Whether the weights are loaded."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.request("GET", "/health")
            return client.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def program(self):
        if not os.path.lexists(self.python):
            raise StackError("the local model is not installed: run 'make setup-model'")
        argv = [self.python, self.place.root / "tools" / "localmodel" / "serve.py", self.port]
        return Program("local-model", argv, dict(LANGUAGE, PYTHONDONTWRITEBYTECODE="1"), ready=self.answers,
                       ids=self.place.service if self.place.is_root else None)


# ---- document server ---------------------------------------------------------------------------
class DocumentServer:
    """The embedded document server over the private PostgreSQL."""

    def __init__(self, place, postgres):
        self.place, self.postgres = place, postgres
        self.binary = place.root / "build" / "bin" / "windlass-docserver"
        self.socket = place.home / "run" / "ours" / "mongodb.sock"

    def url(self, home=None):
        return f"mongodb://{quote(f'{home or self.place.home}/run/ours/mongodb.sock', safe='')}/{DATABASE}"

    def program(self):
        if not self.binary.exists():
            raise StackError("the document server is not built: run 'make docserver', or set WINDLASS_MONGODB_URL")
        url = self.postgres.url("windlass_documents", DOCUMENTS, pool_max_conns="24")
        return Program("docserver", [self.binary, "serve", "--unix", self.socket],
                       dict(LANGUAGE, WINDLASS_DOCUMENTS_URL=url, GOMAXPROCS=str(max(2, os.cpu_count() or 2))),
                       ready=lambda: ask_socket(self.socket) is not None, prepare=remove_socket(self.socket),
                       ids=self.place.service if self.place.is_root else None, keeps_lock=True)

    def create_collections(self, checkout):
        """Make the collections and the indexes that their filters need."""
        lines = (checkout / "tools" / "docserver" / "collections.txt").read_text().splitlines()
        wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        argv = [self.binary, "prepare", "--mongodb", self.url(), *wanted]
        env = dict(LANGUAGE, WINDLASS_DOCUMENTS_URL=self.postgres.url("windlass_documents", DOCUMENTS))
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"the document server's collections could not be made: {done.stderr.strip()}")
