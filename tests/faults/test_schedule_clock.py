"""Schedules by a clock that jumps: PostgreSQL, whose clock decides, runs under libfaketime."""

import datetime
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import psycopg
import pytest

from kit.client import checked
from kit.flows import noop
from kit.stack import SHORT_LEASES, Stack, die_with_us
from kit.waiting import holds_for, wait_until

pytestmark = pytest.mark.long

LIBRARY = pathlib.Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "faketime" / "libfaketimeMT.so.1"
BINARIES = pathlib.Path("/usr/lib/postgresql/15/bin")
UTC = datetime.timezone.utc


class Clock:
    """A PostgreSQL of our own with the clock set() to."""

    def __init__(self, folder):
        self.folder, self.server = folder, None
        self.offset = folder / "offset"
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o755)
        self.offset.write_text("+0\n")
        self.offset.chmod(0o644)
        self.url = f"postgresql://postgres@/windlass?host={str(folder).replace('/', '%2F')}"

    def run(self, program, *words, wait=True):
        fake = {"LD_PRELOAD": LIBRARY, "FAKETIME_NO_CACHE": 1, "FAKETIME_TIMESTAMP_FILE": self.offset,
                "FAKETIME_DONT_FAKE_MONOTONIC": 1, "FAKETIME_DISABLE_SHM": 1}
        argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
                "env", *(f"{name}={value}" for name, value in fake.items()), BINARIES / program, *words]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        log = open(self.folder / "log", "ab")   # pylint: disable=consider-using-with
        started = subprocess.Popen(argv, env=env, stdout=log, stderr=log, cwd="/", preexec_fn=die_with_us)
        log.close()
        assert not wait or started.wait(120) == 0, (self.folder / "log").read_text()[-2000:]
        return started

    def start(self):
        data = self.folder / "data"
        (self.folder / "log").touch()
        self.run("initdb", "--no-sync", "--auth=trust", "-U", "postgres", "-D", data)
        self.server = self.run("postgres", "-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off",
                               wait=False)
        wait_until(lambda: self.sql("SELECT 1", database="postgres"), "PostgreSQL", 60, forgive=(psycopg.OperationalError,))
        self.sql("CREATE DATABASE windlass", database="postgres")

    def stop(self):
        if self.server:
            self.server.terminate()
            self.server.wait(60)

    def sql(self, text, *values, database="windlass"):
        with psycopg.connect(self.url.replace("/windlass?", f"/{database}?"), autocommit=True) as connection:
            done = connection.execute(text, values)
            return done.fetchall() if done.description else []

    def set(self, utc):
        """Let the clock say this; it goes on from there."""
        wanted = datetime.datetime.fromisoformat(utc).replace(tzinfo=UTC)
        seconds = (wanted - datetime.datetime.now(UTC)).total_seconds()
        fresh = self.folder / "offset.new"
        fresh.write_text(f"{seconds:+.3f}\n")
        fresh.chmod(0o644)
        fresh.replace(self.offset)
        wait_until(lambda: abs((self.now() - wanted).total_seconds()) < 30, f"the clock at {utc}", 10)

    def now(self):
        return self.sql("SELECT clock_timestamp()")[0][0]

    def fires(self, schedule):
        rows = self.sql("SELECT fire_at, outcome FROM control.fire WHERE schedule_id = %s ORDER BY 1", schedule)
        return [at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") for at, outcome in rows if outcome == "started"]

    def await_fires(self, schedule, *times):
        wait_until(lambda: self.fires(schedule) == list(times), f"fires at {times}", 40)


@pytest.fixture(scope="module")
def clock():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wl-clock-"))     # where the account postgres comes, too
    ours = Clock(folder)
    try:
        ours.start()
        with Stack("clock-documents", servers_only=True) as documents:
            env = {**SHORT_LEASES, "WINDLASS_POSTGRES_URL": ours.url.replace("postgres@", "windlass_app@"),
                   "WINDLASS_POSTGRES_ADMIN_URL": ours.url,
                   "WINDLASS_MONGODB_URL": documents.urls["mongodb"]}
            with Stack("clock-stack", env=env, schedulers=2) as stack:
                ours.stack = stack
                yield ours
    finally:
        ours.stop()
        shutil.rmtree(folder)


def make(clock, at, cron, **more):
    """A schedule that was made at that time."""
    clock.set(at)
    api = clock.stack.api().register()
    body = {"flow_id": api.create(noop()), "name": "x", "cron": cron, **more}
    return checked(api.post("schedules", json=body), 201).json()["schedule"]


def test_clocks_go_forward(clock):
    schedule = make(clock, "2027-03-28 00:50:00", "30 2 * * *", timezone="Europe/Zurich")
    assert schedule["next_fires"][:2] == ["2027-03-28T01:00:00.000Z", "2027-03-29T00:30:00.000Z"]
    clock.set("2027-03-28 00:59:58")
    clock.await_fires(schedule["id"], "2027-03-28 01:00:00")
    clock.set("2027-03-28 01:29:58")        # half past three, which is no time of this schedule
    holds_for(lambda: len(clock.fires(schedule["id"])) == 1, "nothing more fires", 4)
    clock.set("2027-03-29 00:29:58")
    clock.await_fires(schedule["id"], "2027-03-28 01:00:00", "2027-03-29 00:30:00")


def test_clocks_go_back(clock):
    once = make(clock, "2027-10-31 00:20:00", "30 2 * * *", timezone="Europe/Zurich")["id"]
    twice = make(clock, "2027-10-31 00:20:00", "30 * * * *", timezone="Europe/Zurich")["id"]
    clock.set("2027-10-31 00:29:58")
    clock.await_fires(once, "2027-10-31 00:30:00")
    clock.set("2027-10-31 01:29:58")
    clock.await_fires(twice, "2027-10-31 00:30:00", "2027-10-31 01:30:00")
    assert clock.fires(once) == ["2027-10-31 00:30:00"]
    clock.set("2027-11-01 01:29:58")
    clock.await_fires(once, "2027-10-31 00:30:00", "2027-11-01 01:30:00")


def test_leap_days_with_eight_years_between(clock):
    schedule = make(clock, "2096-02-28 23:00:00", "0 0 29 2 *")["id"]
    clock.set("2096-02-28 23:59:58")
    clock.await_fires(schedule, "2096-02-29 00:00:00")
    clock.set("2100-02-28 23:59:58")
    holds_for(lambda: len(clock.fires(schedule)) == 1, "2100 has no leap day", 4)
    clock.set("2104-02-28 23:59:58")
    clock.await_fires(schedule, "2096-02-29 00:00:00", "2104-02-29 00:00:00")


def test_a_clock_that_is_set_back_fires_nothing_twice(clock):
    schedule = make(clock, "2105-06-01 11:59:00", "0 * * * *")["id"]
    clock.set("2105-06-01 11:59:58")
    clock.await_fires(schedule, "2105-06-01 12:00:00")
    clock.set("2105-06-01 10:59:58")
    holds_for(lambda: len(clock.fires(schedule)) == 1, "eleven is over", 4)
    clock.set("2105-06-01 11:59:58")
    holds_for(lambda: len(clock.fires(schedule)) == 1, "twelve was fired", 4)
    clock.set("2105-06-01 12:59:58")
    clock.await_fires(schedule, "2105-06-01 12:00:00", "2105-06-01 13:00:00")


def test_a_clock_that_jumps_ahead_misses_by_the_policy(clock):
    at = "2106-06-01 11:59:00"
    skip, latest, every = (make(clock, at, "0 * * * *", misfire=policy)["id"] for policy in ("skip", "latest", "all"))
    clock.set("2106-06-01 15:30:00")
    clock.await_fires(every, *(f"2106-06-01 {hour}:00:00" for hour in (12, 13, 14, 15)))
    clock.await_fires(latest, "2106-06-01 15:00:00")
    wait_until(lambda: clock.sql("SELECT outcome FROM control.fire WHERE schedule_id = %s", skip) == [("skipped",)],
               "the record of what was missed", 20)
