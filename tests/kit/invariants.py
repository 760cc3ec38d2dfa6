"""The invariants that hold after every fault (docs/architecture/execution-model.md), as queries on the real stores."""

import collections
import threading
import time

import psycopg

from kit.client import FINAL
from kit.waiting import wait_until

QUIESCE_S = 60


class CapWatch:
    """I3: samples how many executions of each tenant run, as long as the block lasts."""

    def __init__(self, stack, every=0.05):
        self.stack, self.every = stack, every
        self.samples, self.broken = 0, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def watch(self):
        while not self.ended.is_set():
            try:
                with self.stack.postgres() as connection:
                    while not self.ended.wait(self.every):
                        self.sample(connection)
            except psycopg.OperationalError:
                self.ended.wait(0.2)    # PostgreSQL is what a test may have stopped

    def sample(self, connection):
        rows = connection.execute("""SELECT d.tenant, count(*), q.max_concurrent FROM control.dispatch d
            JOIN control.quota q USING (tenant) WHERE d.state = 'R' GROUP BY 1, 3""").fetchall()
        self.samples += 1
        self.broken += [row for row in rows if row[1] > row[2]]

    def check(self):
        assert self.samples > 5, "the watch on running executions saw next to nothing"
        assert not self.broken, f"more executions ran than the cap (tenant, running, cap): {self.broken[:5]}"


def quiesce(stack, seconds=QUIESCE_S):
    """I6: until the ledger is empty. Returns how long it took."""
    begun = time.monotonic()

    def empty():
        rows = stack.sql("SELECT state::text, count(*), min(eid::text) FROM control.dispatch GROUP BY 1")
        return True if not rows else None

    wait_until(empty, "an empty ledger: every accepted execution final", seconds, forgive=(psycopg.OperationalError,))
    return time.monotonic() - begun


def tenants(stack):
    return [row[0] for row in stack.sql("SELECT id FROM control.tenant ORDER BY id")]


def executions(stack, tenant):
    """{id: status} of a tenant."""
    return dict(stack.sql(f"SELECT id::text, status FROM t_{tenant}.executions"))


def check_terminal(stack, accepted):
    """I1: each accepted id has its one row, and every row that exists is final."""
    every = {}
    for tenant in tenants(stack):
        every.update(executions(stack, tenant))
    lost = [eid for eid in accepted if eid not in every]
    assert not lost, f"{len(lost)} accepted executions have no row: {lost[:5]}"
    open_ones = {eid: status for eid, status in every.items() if status not in FINAL}
    assert not open_ones, f"{len(open_ones)} executions are not final: {list(open_ones.items())[:5]}"
    return collections.Counter(every[eid] for eid in accepted)


def check_keys(stack):
    """I1: each idempotency key names an execution that exists."""
    for tenant in tenants(stack):
        strays = stack.sql(f"""SELECT key FROM control.idem i WHERE tenant = %s
                               AND NOT EXISTS (SELECT FROM t_{tenant}.executions e WHERE e.id = i.eid)""", tenant)
        assert not strays, f"idempotency keys without an execution: {strays[:5]}"


def check_results(stack, accepted, nodes):
    """I2: each succeeded execution has one committed result of each of `nodes`."""
    done = set()
    for tenant in tenants(stack):
        done |= {eid for eid, status in executions(stack, tenant).items() if status == "succeeded"}
    done &= set(accepted)
    with stack.results() as results:
        ids = sorted(done)
        found = collections.defaultdict(list)
        for begin in range(0, len(ids), 200):
            for document in results.find({"e": {"$in": ids[begin:begin + 200]}}, {"e": 1, "n": 1, "c": 1, "s": 1}):
                found[document["e"]].append(document)
    for eid in ids:
        names = [document["n"] for document in found[eid]]
        assert len(names) == len(set(names)), f"execution {eid} has a node twice: {names}"
        missing = set(nodes) - set(names)
        assert not missing, f"succeeded execution {eid} has no result of {sorted(missing)}"
        bad = [document for document in found[eid] if not document["c"] or document["s"] not in ("succeeded", "skipped")]
        assert not bad, f"succeeded execution {eid} has results that are not committed successes: {bad[:3]}"


def check_counts(stack):
    """I4: the day's count of a tenant is the number of its executions."""
    for tenant in tenants(stack):
        counted = stack.sql("SELECT coalesce(sum(executions), 0) FROM control.tenant_day WHERE tenant = %s", tenant)[0][0]
        real = stack.sql(f"SELECT count(*) FROM t_{tenant}.executions")[0][0]
        assert counted == real, f"tenant {tenant}: the quota counted {counted} executions, there are {real}"


def left_in_redis(stack):
    """Keys that only live executions may have."""
    server = stack.redis()
    left = [key for pattern in ("x:*", "q:*", "run:*", "own:*") for key in server.scan_iter(f"{{??}}:{pattern}", 1000)]
    left += [f"{{{shard:02}}}:lease" for shard in range(16) if server.zcard(f"{{{shard:02}}}:lease")]
    return left


def left_in_spool(stack):
    """Bytes of node results that were put aside and not yet given to the document server."""
    return [str(path) for path in (stack.home / "spool").rglob("*") if path.is_file() and path.stat().st_size > 0]


def check_nothing_left(stack, seconds=15):
    """I7: the queue and the spool hold nothing of ended executions."""
    def nothing():
        left = left_in_redis(stack) + left_in_spool(stack)
        assert not left, f"{len(left)} keys and files, among them {left[:5]}"
        return True

    wait_until(nothing, "an empty queue and spool after the last execution ended", seconds, every=0.1,
               forgive=(AssertionError,))


def check_all(stack, accepted, nodes=(), effects=None, seconds=QUIESCE_S):
    """All of them, once nothing runs any more. Returns the count of each final status among `accepted`."""
    quiesce(stack, seconds)
    outcome = check_terminal(stack, accepted)
    check_keys(stack)
    check_results(stack, accepted, nodes)
    check_counts(stack)
    check_nothing_left(stack)
    if effects:
        again = effects.going_back(accepted)
        assert not again, f"finished nodes ran again (execution, order of visits): {again[:3]}"
    return outcome
