"""The stack of a test: tools/stack run as a process of its own, with handles on its servers."""

import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading

import psycopg
import pymongo
import redis

from kit.client import PASSWORD, Api
from kit.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "test"
SHORT_LEASES = {"WINDLASS_LEASE_MS": "3000", "WINDLASS_RENEW_MS": "500", "WINDLASS_OFFER_MS": "1000",
                "WINDLASS_SWEEP_MS": "300", "WINDLASS_REAP_MS": "200"}
COMMON = {"WINDLASS_EGRESS_ALLOW": "127.0.0.0/8"}


def load_runner():
    """The module tools/stack/stack.py; tools is no package."""
    spec = importlib.util.spec_from_file_location("windlass_stack", ROOT / "tools" / "stack" / "stack.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load_runner()


class Stack(runner.Stack):
    """A stack under build/test/<name>-<our pid>. Afterwards its logs stay, and with `keep` all of its state."""

    def __init__(self, name, env=None, schedulers=1, supervisors=1, keep=False, **more):
        self.keep = keep
        more.setdefault("bin_dir", os.environ.get("TEST_BIN_DIR", "build/bin"))
        super().__init__(state_folder(name), env={**COMMON, **(env or {})}, schedulers=schedulers, supervisors=supervisors, **more)
        self.order_lock = threading.Lock()
        self.apis, self.wardens = [], set()

    def order(self, what, **details):
        with self.order_lock:
            if details.get("name") == "warden":
                self.wardens.add(super().order("pids").get("warden"))
            return super().order(what, **details)

    # ---- servers -------------------------------------------------------------------------------
    @contextlib.contextmanager
    def postgres(self):
        """A superuser's connection of one's own."""
        with psycopg.connect(self.urls["postgres_admin"], autocommit=True, connect_timeout=5) as connection:
            yield connection

    def sql(self, text, *values):
        """The rows of one statement, as superuser."""
        with self.postgres() as connection:
            done = connection.execute(text, values)
            return done.fetchall() if done.description else []

    def redis(self):
        return redis.Redis.from_url(self.urls["redis"], decode_responses=True)

    @contextlib.contextmanager
    def documents(self, collection):
        """A collection of the document server."""
        with pymongo.MongoClient(self.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
            yield client.get_default_database("windlass")[collection]

    def results(self):
        return self.documents("node_results")

    def quota(self, tenant, **limits):
        """Set columns of a tenant's quota row, and wait until the queue knows a new cap."""
        columns = ", ".join(f"{name} = %s" for name in limits)
        self.sql(f"UPDATE control.quota SET {columns} WHERE tenant = %s", *limits.values(), tenant)
        if limits.keys() & {"weight", "max_concurrent", "max_queued"}:
            self.await_shares(tenant)

    def await_shares(self, tenant):
        """Until the queue schedules by what the tenant's quota row says."""
        row = self.sql("SELECT weight, max_concurrent, max_queued FROM control.quota WHERE tenant = %s", tenant)[0]
        wanted = " ".join(map(str, row))
        wait_until(lambda: self.redis().hget(f"{{{tenant % 16:02}}}:cfg", tenant) == wanted,
                   f"the shares '{wanted}' of tenant {tenant} in the queue", 15)

    # ---- people --------------------------------------------------------------------------------
    def api(self):
        api = Api(self.urls["web"])
        self.apis.append(api)
        return api

    def tenant(self, roomy=True):
        """An admin of a new tenant, with room for as many executions as a test may want."""
        api = self.api().register()
        if roomy:
            self.quota(api.tenant, max_executions_per_day=1000000, max_flows=10000)
        return api

    def user(self, admin, role, name=None):
        """A user of `admin`'s tenant with that role (there is no API for people yet)."""
        email = f"{name or role}@{admin.slug}.test"
        self.sql("""INSERT INTO control.app_user (id, tenant, email, password_hash, role)
                    SELECT gen_random_uuid(), tenant, %s, password_hash, %s FROM control.app_user WHERE id = %s""",
                 email, role, admin.user_id)
        return self.api().login(email, admin.slug, PASSWORD)

    # ---- what runs -----------------------------------------------------------------------------
    def names(self, prefix):
        return sorted(name for name in self.pids() if name.startswith(prefix))

    def await_dead(self, pid):
        """Until that process is gone: a signal takes a moment."""
        wait_until(lambda: not alive(pid), f"the end of process {pid}", 10)

    def stop(self, timeout=90):
        for api in self.apis:
            api.close()
        self.apis.clear()
        code = super().stop(timeout)
        if not self.keep:
            throw_away(self.home)
        return code


def state_folder(name):
    """Where a stack of that name lives: two test runs at once do not meet."""
    return OUTPUT / f"{name}-{os.getpid()}"


def throw_away(home):
    """Remove the state of a stack that is down, all but its logs."""
    for path in home.iterdir() if home.exists() else ():
        if path.name != "log":
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def alive(pid):
    """Whether a process runs; a zombie does not."""
    return (stat_fields(pid) or "Z")[0] not in "ZX"


class Family:
    """The processes below one, and whoever shares its mount namespace when it has one of its own.

    Take it while they live; `left` then tells which of them outlived their end.
    """

    def __init__(self, root):
        self.members = {pid: started(pid) for pid in descendants(root)}
        self.namespace = namespace_of(root)

    def left(self):
        found = [pid for pid, start in self.members.items() if alive(pid) and started(pid) == start]
        if self.namespace and self.namespace != namespace_of(os.getpid()):
            found += [pid for pid in all_pids() if namespace_of(pid) == self.namespace and alive(pid)]
        return sorted(set(found))


def traces(wardens):
    """What stacks left on the host: control groups of those wardens, by pid, that are gone; and mounts.

    Only of wardens that the caller knows as its own: tests run side by side, and others' stacks come and go.
    """
    groups = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            owner = re.match(r"warden-(\d+)-", name)
            if owner and int(owner[1]) in wardens and not alive(int(owner[1])):
                groups.add(os.path.join(folder, name))
    return groups | mounts()


def mounts():
    """Mounts of a stack that the whole host sees; there must be none, each stack has a namespace for them."""
    return {line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if "windlass" in line}


def all_pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def stat_fields(pid):
    """/proc/<pid>/stat from the state on; [] when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def started(pid):
    """When it started, in clock ticks since boot: tells a process from a later one with its number."""
    return next(iter(stat_fields(pid)[19:20]), None)


def namespace_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


def descendants(root):
    """root and every process below it."""
    parents = {pid: int(fields[1]) for pid in all_pids() if (fields := stat_fields(pid))}
    found, new = set(), {root}
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in found} - found
    return found


def run_in_foreground(home, env=None, arguments=("run",), port=0):
    """`make run`'s own program as a child with its output captured, for tests of its manners."""
    merged = {**os.environ, "WINDLASS_HOME": str(home), "WINDLASS_PORT": str(port), **COMMON, **(env or {})}
    return subprocess.Popen(["/usr/bin/python3", str(ROOT / "tools" / "stack" / "stack.py"), *arguments], env=merged,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True, preexec_fn=die_with_us)


def die_with_us():
    """Our child gets SIGTERM when the test process dies."""
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
