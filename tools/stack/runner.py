"""The runner: starts the programs of a stack in order, keeps them running, takes them down.

One thread, one loop. It wakes for a child's end, for a signal, for an order on the control socket (tests
and `make bench` steer a stack through it) and for the time of a restart. A program that died is started
again after 0.2 s, then twice as long each time up to 5 s; after half a minute of life the count starts
anew. Programs that share a stage are stopped at once, the stages in the reverse of their start.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import unquote

from guard import Guard
from migrate import Database, close_rights, migrate, split_password
from place import Place, StackError
from plans import put_plans
from prices import put_prices
from process import Process
from programs import Programs, port_is_free
from services import DATABASE, DOCUMENTS, DocumentServer, LocalModel, PrivatePostgres, redis_program, redis_url, secret

START_S = 120
BACKOFF_S = (0.2, 5.0)
CALM_S = 30
KEPT_LOGS = 5
POLL_S = 0.02


class Slot:
    """A program and its present process, if any."""

    def __init__(self, program):
        self.program, self.process = program, None
        self.failures, self.started, self.due, self.held = 0, 0.0, None, False


class Runner:
    def __init__(self, checkout, settings, say, warn, control=None):
        self.settings, self.say, self.warn, self.control = settings, say, warn, control
        self.place = Place(checkout, settings["home"], settings["bin_dir"])
        self.slots, self.stopping, self.lock_fd = {}, False, None
        self.guard = None
        self.tails = {}
        self.postgres = self.documents = None
        self.urls, self.outer = {}, {}

    # ---- start -----------------------------------------------------------------------------
    def take_lock(self):
        """One stack a state folder. The servers hold the lock too, so that a new runner waits for those of a
        killed one to be gone."""
        path = self.place.real_home / "lock"
        self.lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline, told = time.monotonic() + 30, False
        while True:
            try:
                fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = os.pread(self.lock_fd, 32, 0).decode().strip()
                if owner and os.path.exists(f"/proc/{owner}"):
                    raise StackError(f"another Windlass (process {owner}) is running in {self.place.real_home}; "
                                     "stop it, or set WINDLASS_HOME to another folder") from None
                if time.monotonic() > deadline:
                    raise StackError(f"servers of an earlier run still hold {self.place.real_home}") from None
                if not told:
                    self.say("waiting for the servers of an earlier run to end")
                    told = True
                time.sleep(POLL_S)
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, f"{os.getpid()}\n".encode(), 0)

    def open_log(self, name):
        """The program's log file, the earlier ones kept as .1 to .5."""
        path = self.place.home / "log" / f"{name}.log"
        if name not in self.tails:
            for number in range(KEPT_LOGS - 1, 0, -1):
                old = path.with_name(f"{path.name}.{number}")
                if old.exists():
                    old.replace(path.with_name(f"{path.name}.{number + 1}"))
            if path.exists():
                path.replace(path.with_name(f"{path.name}.1"))
            self.tails[name] = 0
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def launch(self, slot):
        if slot.program.prepare:
            slot.program.prepare()
        log = self.open_log(slot.program.name)
        try:
            slot.process = Process(slot.program, log, self.lock_fd)
        finally:
            os.close(log)
        self.guard.watch(slot.process.pid)
        slot.started, slot.due = time.monotonic(), None

    def last_words(self, name):
        path = self.place.home / "log" / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "".join(f"\n    {line}" for line in lines[-5:])

    def await_ready(self, slot):
        """Until the program serves; its death or a minute without it is an error."""
        deadline = time.monotonic() + START_S
        program = slot.program
        while True:
            if self.stopping:
                raise StackError("stopped while starting")
            gone = slot.process.gone()
            if gone:
                raise StackError(f"{program.name} {gone} while starting; the end of its log:{self.last_words(program.name)}")
            if not program.ready or program.ready():
                return
            if time.monotonic() > deadline:
                raise StackError(f"{program.name} did not get ready within {START_S} s; the end of its log:"
                                 f"{self.last_words(program.name)}")
            time.sleep(POLL_S)

    def start(self, program):
        slot = self.slots[program.name] = Slot(program)
        self.launch(slot)
        self.await_ready(slot)

    def start_postgres(self):
        """PostgreSQL, ours or the user's, brought up to the newest migration."""
        given = self.settings["postgres_url"]
        if given:
            admin = Database(self.settings["postgres_admin_url"] or given)
            self.urls["postgres"] = self.outer["postgres"] = given
            self.urls["postgres_web"] = self.outer["postgres_web"] = self.settings["postgres_web_url"] or given
            reach(admin, "PostgreSQL", "WINDLASS_POSTGRES_URL", given)
        else:
            self.postgres = PrivatePostgres(self.place)
            self.postgres.initialise()
            program = self.postgres.program()
            program.stage = 1
            self.start(program)
            self.make_databases()
            admin = Database(self.postgres.url("postgres", DATABASE))
            self.outer["postgres_admin"] = self.postgres.url("postgres", DATABASE, self.place.outer_home)
        migrate(admin, self.place.checkout / "specs" / "sql", self.say)
        put_plans(admin, self.place.checkout / "quotas", self.say)
        put_prices(admin, self.place.checkout / "policies" / "prices", self.say)
        close_rights(admin, self.place.checkout / "specs" / "rights.sql", self.warn)
        if self.postgres:
            for role in ("windlass_app", "windlass_web", "windlass_engine"):
                set_password(admin, role, secret(self.place, f"{role}.password"))
            self.urls["postgres"] = self.postgres.url("windlass_engine", DATABASE)
            self.urls["postgres_web"] = self.postgres.url("windlass_web", DATABASE)
            self.outer["postgres"] = self.postgres.url("windlass_app", DATABASE, self.place.outer_home)
            self.outer["postgres_web"] = self.postgres.url("windlass_web", DATABASE, self.place.outer_home)

    def make_databases(self):
        """The databases of the private cluster, and the document server's own account."""
        database = Database(self.postgres.url("postgres", "postgres"))
        if database.run("SELECT 1 FROM pg_roles WHERE rolname = 'windlass_documents';") != "1":
            database.run("CREATE ROLE windlass_documents LOGIN;")
        set_password(database, "windlass_documents", secret(self.place, "windlass_documents.password"))
        for name, owner in ((DATABASE, "postgres"), (DOCUMENTS, "windlass_documents")):
            if database.run(f"SELECT 1 FROM pg_database WHERE datname = '{name}';") != "1":
                database.run(f"CREATE DATABASE {name} OWNER {owner};")
                database.run(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;")

    def start_redis(self):
        given = self.settings["redis_url"]
        if given:
            self.urls["redis"] = self.outer["redis"] = given
            reach_address(given, "Redis", "WINDLASS_REDIS_URL", 6379)
            return
        program = redis_program(self.place)
        program.stage = 2
        self.start(program)
        self.urls["redis"], self.outer["redis"] = redis_url(self.place.home), redis_url(self.place.outer_home)

    def start_documents(self):
        given = self.settings["mongodb_url"]
        if given:
            self.urls["mongodb"] = self.outer["mongodb"] = given
            reach_address(given, "the document server", "WINDLASS_MONGODB_URL", 27017)
            return
        if not self.postgres:
            raise StackError("with WINDLASS_POSTGRES_URL set there is no private PostgreSQL for the embedded document "
                             "server to keep its documents in: set WINDLASS_MONGODB_URL, too")
        self.documents = DocumentServer(self.place, self.postgres)
        program = self.documents.program()
        program.stage = 3
        self.start(program)
        self.documents.create_collections(self.place.checkout)
        self.urls["mongodb"], self.outer["mongodb"] = self.documents.url(), self.documents.url(self.place.outer_home)

    def start_local_model(self):
        if not self.settings["local_model"]:
            return
        model = LocalModel(self.place)
        program = model.program()
        program.stage = 3
        self.start(program)
        self.urls["local_model"] = self.outer["local_model"] = model.url

    def pick_port(self):
        wanted = self.settings["port"]
        port = port_is_free(self.settings["bind"], wanted)
        if not port:
            raise StackError(f"port {wanted} is taken: set WINDLASS_PORT to a free one (0 picks one)")
        return port

    def start_all(self):
        self.place.real_home.mkdir(parents=True, exist_ok=True)
        self.take_lock()
        self.guard = Guard(self.lock_fd)
        self.place.prepare()
        port = self.pick_port()
        self.start_postgres()
        self.start_redis()
        self.start_documents()
        self.start_local_model()
        programs = Programs(self.place, self.settings, self.urls, port, self.settings["env"])
        self.outer["web"] = f"{programs.scheme}://127.0.0.1:{port}"
        if self.settings["servers_only"]:
            return
        for program in programs.all():
            self.start(program)
        for slot in self.slots.values():        # also those that have no readiness of their own
            self.await_ready(slot)

    # ---- running ---------------------------------------------------------------------------
    def look_after(self):
        """Notice programs that died, start those whose time has come; seconds until the next look."""
        now = time.monotonic()
        for slot in self.slots.values():
            gone = slot.process.gone() if slot.process else None
            if gone:
                self.bury(slot)
                if now - slot.started > CALM_S:
                    slot.failures = 0
                self.plan_restart(slot, gone)
            if slot.due and now >= slot.due:
                try:
                    self.launch(slot)
                except (OSError, subprocess.SubprocessError) as error:      # being rebuilt at this moment, say
                    self.plan_restart(slot, f"cannot be started: {error}")
        times = [slot.due - now for slot in self.slots.values() if slot.due]
        return max(0.0, min(times)) if times else None

    def plan_restart(self, slot, why):
        delay = min(BACKOFF_S[0] * 2 ** min(slot.failures, 10), BACKOFF_S[1])
        slot.failures += 1
        slot.due = None if slot.held else time.monotonic() + delay
        self.warn(f"{slot.program.name} {why}" + ("" if slot.held else f"; starting it again in {delay:.1f} s"))

    def bury(self, slot):
        """A program has ended: so do its workers."""
        slot.process.sweep()
        self.guard.forget(slot.process.pid)
        slot.process = None

    # ---- orders from tests -----------------------------------------------------------------
    def obey(self, order):
        """Carry out one order of the control socket; the answer is a JSON value."""
        name = order.get("name")
        if order["do"] == "pids":
            return {key: slot.process.pid for key, slot in self.slots.items() if slot.process}
        if name not in self.slots:
            raise StackError(f"there is no program '{name}'; there are {', '.join(self.slots)}")
        slot = self.slots[name]
        if order["do"] == "kill":
            self.kill(slot, order["signal"], bool(order.get("hold")))
        elif order["do"] == "start":
            slot.held = False
            if not slot.process or slot.process.gone():
                self.launch(slot)
            self.await_ready(slot)
        elif order["do"] == "restart":
            self.end([slot])
            self.launch(slot)
            self.await_ready(slot)
        else:
            raise StackError(f"unknown order '{order['do']}'")
        return slot.process.pid if slot.process and not slot.process.gone() else None

    def kill(self, slot, number, hold):
        """Signal a program. When that ends it for certain, its end is awaited; a restart then follows by itself."""
        slot.held = hold
        if slot.process and not slot.process.gone():
            os.kill(slot.process.pid, number)
            deadline = time.monotonic() + slot.program.stop_s
            while (number == signal.SIGKILL or hold) and not slot.process.gone():
                if time.monotonic() > deadline:
                    raise StackError(f"{slot.program.name} did not end within {slot.program.stop_s} s")
                time.sleep(POLL_S)
        self.look_after()

    def serve_control(self):
        """One order a line; end of file means that who started us is gone."""
        line = self.control.readline()
        if not line:
            self.stopping = True
            return
        try:
            answer = {"ok": self.obey(json.loads(line))}
        except (StackError, OSError, subprocess.SubprocessError) as error:
            answer = {"error": str(error)}
        self.tell(answer)

    def tell(self, value):
        if self.control:
            try:
                self.control.write(json.dumps(value).encode() + b"\n")
                self.control.flush()
            except OSError:
                self.stopping = True

    # ---- end -------------------------------------------------------------------------------
    def await_end(self, slots):
        """Until these processes are gone; SIGKILL when their time is over."""
        deadlines = {slot.program.name: time.monotonic() + slot.program.stop_s for slot in slots}
        waiting = [slot for slot in slots if slot.process]
        while waiting:
            for slot in list(waiting):
                if slot.process.gone():
                    self.bury(slot)
                    slot.due = None
                    waiting.remove(slot)
                elif time.monotonic() > deadlines[slot.program.name]:
                    self.warn(f"{slot.program.name} did not end within {slot.program.stop_s} s: killed")
                    slot.process.sweep()
                    deadlines[slot.program.name] = float("inf")
            if waiting:
                time.sleep(POLL_S)

    def end(self, slots):
        for slot in slots:
            if slot.process:
                slot.process.send(signal.SIGCONT)
                slot.process.send(slot.program.stop)
        self.await_end(slots)

    def stop_all(self):
        for stage in sorted({slot.program.stage for slot in self.slots.values()}, reverse=True):
            self.end([slot for slot in self.slots.values() if slot.program.stage == stage])

    # ---- the loop --------------------------------------------------------------------------
    def run(self):
        """Start, announce, look after the programs until told to stop; returns the exit code."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        code = 0
        try:
            self.start_all()
            self.announce()
            self.loop(wake)
        except (StackError, OSError, subprocess.SubprocessError) as error:
            code = 0 if self.stopping else 1
            self.tell({"failed": str(error)})
            self.warn(str(error))
        finally:
            self.stopping = True
            self.stop_all()
            if self.guard:
                self.guard.close()
        return code

    def announce(self):
        if self.settings["servers_only"]:
            self.say("the servers are ready")
        elif not self.control:
            print(f"Windlass is ready at {self.outer['web']}", flush=True)
            if "local_model" in self.outer:
                print(f"The local model answers at {self.outer['local_model']}; each new tenant has it as a provider",
                      flush=True)
        for name in self.tails:         # what a start-up says is shown only if it fails
            path = self.place.home / "log" / f"{name}.log"
            self.tails[name] = path.stat().st_size if path.exists() else 0
        self.tell({"ready": self.outer, "home": str(self.place.real_home)})

    def loop(self, wake):
        chooser = selectors.DefaultSelector()
        chooser.register(wake, selectors.EVENT_READ)
        if self.control:
            chooser.register(self.control, selectors.EVENT_READ)
        while not self.stopping:
            wait = self.look_after()
            for key, _ in chooser.select(min(wait, 1.0) if wait is not None else 1.0):
                if key.fileobj is wake:
                    wake.recv(4096)
                else:
                    self.serve_control()
            self.show_warnings()

    def show_warnings(self):
        """Warnings and errors of the programs' logs, on the console."""
        if self.control:
            return
        for name, seen in self.tails.items():
            path = self.place.home / "log" / f"{name}.log"
            if not path.exists() or path.stat().st_size <= seen:
                continue
            with open(path, "rb") as file:
                file.seek(seen)
                new = file.read(256 * 1024)
            whole = new.rfind(b"\n") + 1
            self.tails[name] = seen + whole
            for line in new[:whole].decode(errors="replace").splitlines():
                if is_warning(line):
                    print(f"{name}: {plain(line)}", file=sys.stderr, flush=True)


def is_warning(line):
    return '"level":"error"' in line or '"level":"warning"' in line or " FATAL: " in line or " PANIC: " in line


def plain(line):
    """The text of a JSON log line, or the line itself."""
    try:
        entry = json.loads(line)
        where = f" [{entry['execution']}]" if "execution" in entry else ""
        return f"{entry['level']}: {entry['text']}{where}"
    except (ValueError, KeyError, TypeError):
        return line


def set_password(database, role, password):
    """Passwords made by us are hexadecimal, so that they need no quoting."""
    if not all(sign in "0123456789abcdef" for sign in password):
        raise StackError(f"the stored password of {role} is damaged")
    database.run(f"ALTER ROLE {role} PASSWORD '{password}';")


def reach(database, what, variable, url):
    try:
        database.run("SELECT 1;")
    except StackError as error:
        raise StackError(f"{what} cannot be reached at {split_password(url)[0]}: {error}; check {variable}, or unset "
                         "it to use a private server") from None


def reach_address(url, what, variable, standard_port):
    """Whether something listens where a redis:// or mongodb:// URL points; several hosts: any of them."""
    rest = url.split("://", 1)[-1]
    if url.startswith("unix:"):
        targets = [rest.split("?", 1)[0]]
    else:
        targets = rest.split("/", 1)[0].rsplit("@", 1)[-1].split(",")
    if url.startswith("mongodb+srv:") or any(try_target(target, standard_port) for target in targets):
        return
    raise StackError(f"{what} cannot be reached at {', '.join(targets)}: check {variable}, or unset it to use a private "
                     "server")


def try_target(target, standard_port):
    path = unquote(target)
    try:
        if path.startswith("/"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(path)
        else:
            host, _, port = target.rpartition(":") if ":" in target.rsplit("]", 1)[-1] else (target, "", "")
            socket.create_connection((host.strip("[]"), int(port or standard_port)), timeout=5).close()
        return True
    except (OSError, ValueError):
        return False
