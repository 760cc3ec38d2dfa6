"""What a stack costs its database while nobody wants anything of it."""

import time

from kit.stack import Stack
from kit.waiting import wait_until

SECONDS = 6
COMMITS = 25  # a second: ten looks for chores, two for the shards, and what the servers do themselves


def commits(stack):
    return stack.sql("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[0][0]


def test_an_idle_stack_leaves_its_database_alone():
    with Stack("idle") as stack:
        admin = stack.tenant()
        wait_until(lambda: stack.sql("SELECT count(*) FROM control.audit_outbox")[0][0] == 0, "the log to be shipped", 60)
        assert admin.get("auth/me").status_code == 200
        before, begun = commits(stack), time.monotonic()
        wait_until(lambda: time.monotonic() > begun + SECONDS, "the time that is measured", 2 * SECONDS, every=0.5)
        assert (commits(stack) - before) / (time.monotonic() - begun) < COMMITS
