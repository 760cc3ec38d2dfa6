#!/usr/bin/env python3
"""Measures a whole Windlass and prints one line a figure: `name: value unit`.

    bench.py [section ...]     sections: memory throughput start latency steps crud tenants crew gateway sandbox; none: all

Starts a stack of its own under build/test/bench, with durable settings (fsync on), one scheduler and one
supervisor; every server and the load generator share this machine. BENCH_SECONDS (default 8) is the length
of one measurement. What a figure means stands in docs/guides/testing.md.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import bench_crew  # noqa: E402
import bench_gateway  # noqa: E402
from kit.client import PASSWORD, Api, checked  # noqa: E402
from kit.flows import Flow, chain, ex, five_nodes, noop, of  # noqa: E402
from kit.invariants import quiesce  # noqa: E402
from kit.stack import Stack  # noqa: E402

SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
OURS = ("web", "scheduler-1", "supervisor-1", "warden", "eval")
SERVERS = ("postgres", "redis", "docserver")
TICK = os.sysconf("SC_CLK_TCK")
CONCURRENCY = 64
TENANTS = int(os.environ.get("BENCH_TENANTS", "1000"))


def say(name, value, unit):
    """One figure."""
    text = f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.1f}"
    print(f"{name}: {text} {unit}", flush=True)


def environment(when):
    say(f"load average (1 min) at the {when}", os.getloadavg()[0], "processes")


# ---- processes ---------------------------------------------------------------------------------
def process_table():
    """{pid: (parent, CPU seconds of it and of its reaped children)} of every process."""
    table = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        table[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICK)
    return table


def descendants(table, root):
    """root and every process below it."""
    found, new = {root}, True
    while new:
        new = {pid for pid, (parent, _) in table.items() if parent in found and pid not in found}
        found |= new
    return found & table.keys()


def cpu_seconds(stack):
    """{program: CPU seconds so far}, children included (PostgreSQL's backends, the web server's workers)."""
    table = process_table()
    return {name: sum(table[pid][1] for pid in descendants(table, root)) for name, root in stack.pids().items()}


def memory_mb(stack, name):
    """(RSS, PSS) of a program with its children; pages that several of them share count once in PSS."""
    resident = proportional = 0
    for pid in descendants(process_table(), stack.pid(name)):
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        resident += int(re.search(r"^Rss: +(\d+)", text, re.M)[1])
        proportional += int(re.search(r"^Pss: +(\d+)", text, re.M)[1])
    return resident / 1024, proportional / 1024


# ---- load --------------------------------------------------------------------------------------
def driver():
    """The load generator, compiled when it is older than its source."""
    source, binary = ROOT / "tests" / "load" / "http_load.c", ROOT / "build" / "bench" / "http_load"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(binary), str(source)], check=True)
    return str(binary)


def load_argv(api, **options):
    argv = [driver(), "--port", api.url.rsplit(":", 1)[1]]
    if "mix" not in options:   # whose lines have their own
        argv += ["--header", f"Authorization: Bearer {api.access}"]
    for name, value in options.items():
        argv += [f"--{name.replace('_', '-')}", str(value)]
    return argv


def load(api, **options):
    """Run the generator; its result. Errors in what it measured make the figure worthless, so they end the run."""
    done = subprocess.run(load_argv(api, **options), capture_output=True, text=True, check=True)
    return sound(json.loads(done.stdout))


def sound(result):
    bad = {status: count for status, count in result["status"].items() if not status.startswith("2")}
    if bad or result["broken"] or not result["ok"]:
        raise SystemExit(f"bench: requests failed, so there is no figure: {result}")
    return result


def percentile(values, part):
    ordered = sorted(values)
    return ordered[int((len(ordered) - 1) * part)]


def roomy(stack):
    """An admin whose quotas are no bound."""
    admin = stack.tenant()
    stack.sql("""UPDATE control.quota SET max_executions_per_day = 2000000000, max_flows = 1000000, max_queued = 100000000,
                 max_concurrent = 100000 WHERE tenant = %s""", admin.tenant)
    stack.await_shares(admin.tenant)
    return admin


# ---- sections ----------------------------------------------------------------------------------
def memory(stack):
    """Before any work: what our programs hold when idle."""
    total = [0.0, 0.0]
    for name in OURS:
        pair = memory_mb(stack, name)
        total = [total[0] + pair[0], total[1] + pair[1]]
        say(f"idle RSS of {name.removesuffix('-1')}", pair[0], "MB")
        say(f"idle PSS of {name.removesuffix('-1')}", pair[1], "MB")
    say("idle RSS of our programs together", total[0], "MB")
    say("idle PSS of our programs together", total[1], "MB")
    for name in SERVERS:
        say(f"idle PSS of {name}", memory_mb(stack, name)[1], "MB")
    say("commits of an idle stack per second", idle_commits(stack), "commits/s")


def idle_commits(stack, seconds=6):
    """What programs that nobody wants anything of ask of PostgreSQL."""
    def commits():
        return stack.sql("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[0][0]

    before, begun = commits(), time.monotonic()
    time.sleep(seconds)
    return (commits() - before) / (time.monotonic() - begun)


def spent(before, after, executions, label):
    for name in (*OURS, *SERVERS):
        say(f"{label}, CPU of {name.removesuffix('-1')} per execution", (after[name] - before[name]) * 1000 / executions, "ms")
    ours = sum(after[name] - before[name] for name in OURS)
    every = ours + sum(after[name] - before[name] for name in SERVERS)
    say(f"{label}, CPU of our programs per execution", ours * 1000 / executions, "ms")
    say(f"{label}, CPU of all per execution", every * 1000 / executions, "ms")


def executions_per_second(stack, label, flow, tenants):
    """From the first accept to the last final state, as PostgreSQL's clock saw both."""
    admins = [roomy(stack) for _ in range(tenants)]
    flows = [admin.create(flow) for admin in admins]
    share = CONCURRENCY // tenants

    def drive(count):
        running = [subprocess.Popen(load_argv(
            admin, path=f"/api/v1/flows/{flow_id}/execute", method="POST", body='{"inputs": {"n": %n}}',
            connections=share, count=max(share, count // tenants)), stdout=subprocess.PIPE, text=True)
            for admin, flow_id in zip(admins, flows)]
        results = [sound(json.loads(one.communicate()[0])) for one in running]
        quiesce(stack, 300)
        return sum(result["ok"] for result in results), max(result["p99"] for result in results)

    def span(accepted):
        """Seconds from first accept to last end, over the newest `accepted` executions."""
        parts = " UNION ALL ".join(f"SELECT created_at, end_time, status FROM t_{admin.tenant}.executions" for admin in admins)
        rows = stack.sql(f"""SELECT count(*) FILTER (WHERE status <> 'succeeded'), extract(epoch FROM max(end_time) - min(created_at))
            FROM (SELECT * FROM ({parts}) a ORDER BY created_at DESC LIMIT {accepted}) b""")
        if rows[0][0]:
            raise SystemExit(f"bench: {rows[0][0]} executions did not succeed")
        return float(rows[0][1])

    warm, _ = drive(CONCURRENCY * 10)
    rate = warm / span(warm)
    before = cpu_seconds(stack)
    accepted, slowest = drive(int(rate * SECONDS))
    after = cpu_seconds(stack)
    seconds = span(accepted)
    say(f"{label}, durable executions", accepted / seconds, "executions/s")
    say(f"{label}, accept p99", slowest / 1000, "ms")
    spent(before, after, accepted, label)


def throughput(stack):
    executions_per_second(stack, f"one-node no-op flow, concurrency {CONCURRENCY}, 1 tenant", noop(), 1)
    executions_per_second(stack, f"one-node no-op flow, concurrency {CONCURRENCY}, 8 tenants", noop(), 8)
    executions_per_second(stack, f"five-node flow, concurrency {CONCURRENCY}, 8 tenants", five_nodes(), 8)


def start(stack):
    """How long an accepted execution waits for its start, at a steady 100 a second."""
    admin = roomy(stack)
    flow_id = admin.create(noop())
    result = load(admin, path=f"/api/v1/flows/{flow_id}/execute", method="POST", body='{"inputs": {"n": %n}}', connections=8,
                  rate=100, seconds=SECONDS)
    quiesce(stack, 60)
    waits = [float(row[0]) for row in stack.sql(
        f"SELECT extract(epoch FROM start_time - created_at) * 1000 FROM t_{admin.tenant}.executions")]
    say("accept to started at 100/s, p50", percentile(waits, 0.50), "ms")
    say("accept to started at 100/s, p99", percentile(waits, 0.99), "ms")
    say("accept answered at 100/s, p50", result["p50"] / 1000, "ms")
    say("accept answered at 100/s, p99", result["p99"] / 1000, "ms")


def latency(stack):
    """One execution at a time on an idle system: a flow of three transforms."""
    admin = roomy(stack)
    flow = Flow().transform("a", ex(".inputs.n + 1")).transform("b", ex(of("a") + " * 2")).transform("c", {"x": ex(of("b"))})
    flow_id = admin.create(flow)
    result = load(admin, path=f"/api/v1/flows/{flow_id}/execute", method="POST", body='{"inputs": {"n": %n}}',
                  id_key="execution_id", follow="/api/v1/executions/%i/stream", seconds=SECONDS)
    say("three transforms, request to end event, p50", result["p50"] / 1000, "ms")
    say("three transforms, request to end event, p99", result["p99"] / 1000, "ms")
    quiesce(stack, 60)
    spans = [float(row[0]) for row in stack.sql(
        f"SELECT extract(epoch FROM end_time - created_at) * 1000 FROM t_{admin.tenant}.executions")]
    say("three transforms, accept to final state, p50", percentile(spans, 0.50), "ms")
    say("three transforms, accept to final state, p99", percentile(spans, 0.99), "ms")


def steps(stack):
    """Forty trivial python nodes, one after the other."""
    admin = roomy(stack)
    flow_id = admin.create(chain(40, lambda flow, name, number: flow.code(name, f"print({number})")))
    took = []
    for _ in range(4):
        eid = admin.start(flow_id)
        execution = admin.wait(eid, 120)["execution"]
        if execution["status"] != "succeeded":
            raise SystemExit(f"bench: the steps failed: {execution['error']}")
        took.append(float(stack.sql(
            f"SELECT extract(epoch FROM end_time - created_at) FROM t_{admin.tenant}.executions WHERE id = %s", eid)[0][0]))
    say("40 sequential trivial python steps, first run", took[0], "s")
    say("40 sequential trivial python steps, median of the next", statistics.median(took[1:]), "s")
    receipts = [node["receipt"] for node in admin.execution(eid)["nodes"] if node["receipt"]]
    walls = [receipt["wall_us"] / 1000 for receipt in receipts if "wall_us" in receipt]
    if walls:
        say("of those, inside the sandbox, p50 of a step", percentile(walls, 0.5), "ms")


def wrk(admin, path):
    """Requests a second by wrk on 32 connections."""
    argv = ["wrk", "-t1", "-c32", f"-d{max(2, int(SECONDS / 2))}s", "-H", f"Authorization: Bearer {admin.access}",
            admin.url + path]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"bench: wrk saw errors: {text}")
    return float(re.search(r"Requests/sec: +([\d.]+)", text)[1])


def crud(stack):
    """Flows as resources, with a token, in the tenant's own schema."""
    admin = roomy(stack)
    flow_id = admin.create(five_nodes())
    for number in range(50):
        checked(admin.post("flows", json={"name": f"flow {number}", **noop().document()}), 201)
    before = cpu_seconds(stack)
    begun = time.monotonic()
    got = wrk(admin, f"/api/v1/flows/{flow_id}")
    after, took = cpu_seconds(stack), time.monotonic() - begun
    say("get one flow, 32 connections", got, "req/s")
    for name in ("web", "postgres"):
        say(f"get one flow, CPU of {name} per request", (after[name] - before[name]) * 1000 / (got * took), "ms")
    say("list 20 flows, 32 connections", wrk(admin, "/api/v1/flows"), "req/s")
    result = load(admin, path=f"/api/v1/flows/{flow_id}", connections=16, rate=200, seconds=SECONDS / 2)
    say("get one flow at 200 req/s, p50", result["p50"] / 1000, "ms")
    say("get one flow at 200 req/s, p95", result["p95"] / 1000, "ms")
    body = json.dumps({"name": "made %n", **noop().document()})
    result = load(admin, path="/api/v1/flows", method="POST", body=body, connections=16, seconds=SECONDS / 2)
    say("create a flow, 16 connections", result["rate"], "req/s")
    say("create a flow, 16 connections, p95", result["p95"] / 1000, "ms")
    body = json.dumps({"description": "changed %n"})
    result = load(admin, path=f"/api/v1/flows/{flow_id}", method="PUT", body=body, connections=1, seconds=SECONDS / 4)
    say("change a flow, 1 connection", result["rate"], "req/s")


FLOWS_EACH = 100
MIX = (["list"] * 4) + (["get"] * 4) + ["create", "update"]


def with_flows(stack, admins):
    """Give each tenant its flows, all of one document; {tenant: ids}."""
    found = {}
    for admin in admins:
        first = admin.create(noop())
        stack.sql(f"""INSERT INTO t_{admin.tenant}.flows (id, name, description, draft_hash, created_by)
            SELECT gen_random_uuid(), 'flow ' || n, 'one of many', f.draft_hash, f.created_by
            FROM t_{admin.tenant}.flows f, generate_series(2, {FLOWS_EACH}) n WHERE f.id = %s""", first)
        found[admin.tenant] = [str(row[0]) for row in stack.sql(f"SELECT id FROM t_{admin.tenant}.flows")]
    return found


def mix_file(stack, admins, flows):
    """Requests of all tenants in turn: 40 % list, 40 % get, 10 % create, 10 % update."""
    made = json.dumps({"name": "made %n", **noop().document()})
    lines, rounds = [], max(1, 20000 // len(admins) // len(MIX))
    for number in range(rounds):
        for what in MIX:
            for admin in admins:
                flow_id = flows[admin.tenant][(number * 7) % len(flows[admin.tenant])]
                lines.append("\t".join({
                    "list": ("GET", "/api/v1/flows", admin.access, ""),
                    "get": ("GET", f"/api/v1/flows/{flow_id}", admin.access, ""),
                    "create": ("POST", "/api/v1/flows", admin.access, made),
                    "update": ("PUT", f"/api/v1/flows/{flow_id}", admin.access, '{"description": "changed %n"}')}[what]))
    path = stack.home / "mix"
    path.write_text("\n".join(lines) + "\n")
    return path


def mixed_load(stack, label, admins, flows):
    """The CRUD mix flat out, then at 200 requests a second; CPU per request of those it goes through."""
    path = mix_file(stack, admins, flows)
    argv = {"mix": path, "connections": 16}
    load(admins[0], **argv, seconds=SECONDS / 2)
    before = cpu_seconds(stack)
    result = load(admins[0], **argv, seconds=SECONDS)
    after = cpu_seconds(stack)
    say(f"CRUD mix, {label}, 16 connections", result["rate"], "req/s")
    for name in ("web", "postgres"):
        say(f"CRUD mix, {label}, CPU of {name} per request", (after[name] - before[name]) * 1000 / result["ok"], "ms")
    slow = load(admins[0], **argv, rate=200, seconds=SECONDS)
    say(f"CRUD mix, {label}, at 200 req/s, p95", slow["p95"] / 1000, "ms")
    say(f"CRUD mix, {label}, at 200 req/s, p99", slow["p99"] / 1000, "ms")
    say(f"CRUD mix, {label}, RSS of web", memory_mb(stack, "web")[0], "MB")


def accept_rate(stack, label, admins):
    """How many executions are accepted a second, with the rest of the stack at work behind."""
    lines = [f"POST\t/api/v1/flows/{admin.create(noop())}/execute\t{admin.access}\t{{\"inputs\": {{\"n\": %n}}}}" for admin in admins]
    path = stack.home / "accepts"
    path.write_text("\n".join(lines) + "\n")
    result = load(admins[0], mix=path, connections=16, seconds=SECONDS)
    say(f"accepts, {label}, 16 connections", result["rate"], "req/s")
    say(f"accepts, {label}, 16 connections, p95", result["p95"] / 1000, "ms")
    quiesce(stack, 300)


def registered(stack, lender):
    """A new tenant that shares its connections with another: a thousand pools would be a thousand sockets."""
    api = Api(stack.urls["web"])
    api.close()
    api.http = lender.http
    return api.register()


def tenants(stack):
    """What a thousand tenants cost against one."""
    alone = roomy(stack)
    body = json.dumps({"email": alone.email, "password": PASSWORD, "tenant_slug": alone.slug})
    result = load(alone, path="/api/v1/auth/login", method="POST", body=body, connections=4, seconds=SECONDS / 2)
    say("logins, 4 connections", result["rate"], "req/s")
    say("logins, 4 connections, p95", result["p95"] / 1000, "ms")
    mixed_load(stack, "1 tenant", [alone], with_flows(stack, [alone]))
    accept_rate(stack, "1 tenant", [alone])
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        many = list(pool.map(lambda _: registered(stack, alone), range(TENANTS - 1)))
    say("registrations, 4 at once", len(many) / (time.monotonic() - begun), "req/s")
    stack.sql("""UPDATE control.quota SET max_executions_per_day = 2000000000, max_flows = 1000000, max_queued = 100000000,
                 max_concurrent = 100000""")
    everybody = [alone, *many]
    flows = with_flows(stack, many)
    flows[alone.tenant] = [str(row[0]) for row in stack.sql(f"SELECT id FROM t_{alone.tenant}.flows LIMIT {FLOWS_EACH}")]
    for admin in everybody:
        admin.refresh()
    mixed_load(stack, f"{TENANTS} tenants", everybody, flows)
    accept_rate(stack, "100 tenants", everybody[:100])


def crew(stack):
    """Crews, beside those of the package crewai."""
    bench_crew.measure(stack, sys.modules[__name__])


def gateway(stack):
    """Calls of models by the gateway, beside the same calls without it."""
    bench_gateway.measure(stack, sys.modules[__name__])


def sandbox():
    """The warden alone, by its own driver, without a stack beside it."""
    subprocess.run(["make", "--no-print-directory", "-s", "-C", str(ROOT), "bench-sandbox"], check=True)


SECTIONS = {"memory": memory, "throughput": throughput, "start": start, "latency": latency, "steps": steps, "crud": crud,
            "tenants": tenants, "crew": crew, "gateway": gateway}


def main(names):
    known = [*SECTIONS, "sandbox"]
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"bench: no such section: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = names or known
    if not shutil.which("wrk"):
        sys.exit("bench: wrk is missing: run 'make setup-test'")
    say("processors", os.cpu_count() or 0, "cores")
    environment("start")
    with_stack = [name for name in names if name in SECTIONS]
    if with_stack:
        with Stack("bench", env={"WINDLASS_LOGINS_PER_MINUTE": "0", "WINDLASS_ADDRESS_LOGINS_PER_MINUTE": "0"}) as stack:
            for name in with_stack:
                SECTIONS[name](stack)
    if "sandbox" in names:
        sandbox()
    environment("end")


if __name__ == "__main__":
    main(sys.argv[1:])
