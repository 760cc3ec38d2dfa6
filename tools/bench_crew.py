"""A crew of two agents, two tasks and one tool call: Windlass and the package crewai, side by side.

A section of bench.py. Both ask the same model server, which answers at once, and the same HTTP tool, in the same run.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time

from kit.flows import Flow
from kit.models import agent, crew, provider
from kit.tools import make_tool

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "build" / "environments" / "crewai" / "lib"
MODEL = "tool-t16-p0"       # one tool call when a tool is offered, then 16 tokens; see tests/load/instant_model.c
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
QUIET = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_DISABLE_VERSION_CHECK": "true",
         "OTEL_SDK_DISABLED": "true"}
NAME = "crew (2 agents, 2 tasks, 1 tool call)"
AT_ONCE = 64
FRESH_RUNS, WARM_RUNS = 4, 40


class InstantModels:
    """The model server, a C program that takes as good as no time; it is the HTTP tool, too."""

    def __enter__(self):
        source, binary = ROOT / "tests" / "load" / "instant_model.c", ROOT / "build" / "bench" / "instant_model"
        if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
            binary.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(binary), str(source)], check=True)
        self.process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)

    def base(self, _):
        return f"{self.url}/v1"

    def cpu_s(self, bench):
        return bench.process_table()[self.process.pid][1]


# ---- Windlass ----------------------------------------------------------------------------------
def make_flow(api, models):
    """A flow of one crew node."""
    asks = provider(api, models, default_model=MODEL)
    tool = make_tool(api, {"kind": "http", "url": f"{models.url}/population",
                           "parameters": [{"name": "city", "in": "query", "required": True}]},
                     input_schema=CITY, name="population", description="How many people live in a city")
    one = agent(api, asks, "Researcher", goal="Find facts about {topic}", backstory="Reads registers.", tools=[tool])
    two = agent(api, asks, "Writer", goal="Write about {topic}", backstory="Writes short.")
    made = crew(api, [one, two], [
        {"name": "facts", "description": "Find out how many people live in {topic}", "expected_output": "A number", "agent_id": one},
        {"name": "text", "description": "Write a sentence about {topic}", "expected_output": "A sentence", "agent_id": two,
         "context": ["facts"]}])
    return Flow().add("work", "crew", crew_id=made).output(1)


def drain(stack):
    """Until nothing runs; asked seldom and on one connection, for PostgreSQL's time is measured."""
    with stack.postgres() as connection:
        while connection.execute("SELECT count(*) FROM control.dispatch").fetchone()[0]:
            time.sleep(0.2)


def windlass(stack, bench, models):
    """(CPU ms of our programs, CPU ms of all) per run."""
    api, body = bench.roomy(stack), '{"inputs": {"topic": "Vienna"}}'
    flow = make_flow(api, models)
    usage = api.run(flow, {"topic": "Vienna"})["node"]["work"]["outputs"]["usage"]
    if (usage["model_calls"], usage["tool_calls"]) != (3, 1):
        raise SystemExit(f"bench: the crew did not do what it should: {usage}")
    path = f"/api/v1/flows/{api.create(flow)}/execute"

    def drive(**how):
        bench.load(api, path=path, method="POST", body=body, **how)
        drain(stack)
        rows = stack.sql(f"""SELECT status, extract(epoch FROM created_at), extract(epoch FROM end_time)
            FROM t_{api.tenant}.executions ORDER BY created_at DESC LIMIT {how['count']}""")
        if any(status != "succeeded" for status, _, _ in rows):
            raise SystemExit("bench: runs of crews failed, so there is no figure")
        return [(float(begun), float(ended)) for _, begun, ended in rows]

    drive(connections=8, count=100)
    walls = [(ended - begun) * 1000 for _ in range(int(3 * bench.SECONDS)) for begun, ended in drive(connections=1, count=1)]
    bench.say(f"{NAME}, Windlass, wall of a run by itself, p50", bench.percentile(walls, 0.5), "ms")
    bench.say(f"{NAME}, Windlass, wall of a run by itself, p99", bench.percentile(walls, 0.99), "ms")
    idle = sum(bench.memory_mb(stack, name)[0] for name in bench.OURS)
    before, own, count = bench.cpu_seconds(stack), models.cpu_s(bench), int(40 * bench.SECONDS)
    spans = drive(connections=AT_ONCE, count=count)
    after, own = bench.cpu_seconds(stack), models.cpu_s(bench) - own
    rate = count / (max(ended for _, ended in spans) - min(begun for begun, _ in spans))
    bench.say(f"{NAME}, Windlass, runs", rate, "runs/s")
    bench.spent(before, after, count, f"{NAME}, Windlass")
    bench.say(f"{NAME}, Windlass, CPU of the model server per run, not counted above", own * 1000 / count, "ms")
    busy = sum(bench.memory_mb(stack, name)[0] for name in bench.OURS)
    bench.say(f"{NAME}, Windlass, RSS of our programs together", busy, "MB")
    bench.say(f"{NAME}, Windlass, RSS that {count} runs, up to {AT_ONCE} at once, added for each of those",
              max(0.0, busy - idle) / AT_ONCE, "MB")
    ours = sum(after[name] - before[name] for name in bench.OURS)
    return ours * 1000 / count, (ours + sum(after[name] - before[name] for name in bench.SERVERS)) * 1000 / count


# ---- crewai ------------------------------------------------------------------------------------
def start(models, home, runs, how="kept"):
    packages = next(PACKAGES.glob("python3.*/dist-packages"))
    env = {"PATH": "/usr/bin:/bin", "HOME": home, "LC_CTYPE": "C.UTF-8", "PYTHONPATH": str(packages), **QUIET,
           "OPENAI_BASE_URL": f"{models.url}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL_NAME": MODEL}
    return subprocess.Popen(["/usr/bin/python3", "-B", str(ROOT / "tests" / "load" / "crewai_crew.py"), str(runs),
                             f"{models.url}/population", how], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def finish(process):
    """(CPU seconds, RSS in MB, what it printed)."""
    printed = process.stdout.read()
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"bench: the crew of crewai ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, json.loads(printed)


def fresh(bench, models, home):
    """A process a run, as its users start it. CPU ms per run."""
    finish(start(models, home, 1))      # its files are in memory from now on
    walls, cpus, sizes = [], [], []
    for _ in range(FRESH_RUNS):
        begun = time.monotonic()
        cpu, rss, _ = finish(start(models, home, 1))
        walls.append((time.monotonic() - begun) * 1000)
        cpus.append(cpu * 1000)
        sizes.append(rss)
    bench.say(f"{NAME}, crewai in a process of its own, wall, p50", bench.percentile(walls, 0.5), "ms")
    bench.say(f"{NAME}, crewai in a process of its own, CPU per run", sum(cpus) / len(cpus), "ms")
    bench.say(f"{NAME}, crewai in a process of its own, RSS", max(sizes), "MB")
    cores, begun = os.cpu_count() or 1, time.monotonic()
    for _ in range(2):
        for process in [start(models, home, 1) for _ in range(cores)]:
            finish(process)
    bench.say(f"{NAME}, crewai in processes of their own, {cores} at once, runs", 2 * cores / (time.monotonic() - begun), "runs/s")
    return sum(cpus) / len(cpus)


def warm(bench, models, home):
    """Runs one after the other, of a crew that is kept, in a process that has loaded everything. CPU ms per run."""
    own = models.cpu_s(bench)
    _, rss, told = finish(start(models, home, WARM_RUNS + 1))
    cpu = told["cpu_s"] * 1000 / WARM_RUNS
    bench.say(f"{NAME}, crewai in one warm process, wall", told["wall_s"] * 1000 / WARM_RUNS, "ms")
    bench.say(f"{NAME}, crewai in one warm process, CPU per run", cpu, "ms")
    bench.say(f"{NAME}, crewai in one warm process, RSS", rss, "MB")
    bench.say(f"{NAME}, crewai in one warm process, runs", WARM_RUNS / told["wall_s"], "runs/s")
    bench.say(f"{NAME}, crewai, CPU of the model server per run, not counted above",
              (models.cpu_s(bench) - own) * 1000 / (WARM_RUNS + 1), "ms")
    _, rss, told = finish(start(models, home, WARM_RUNS + 1, "anew"))
    bench.say(f"{NAME}, crewai in one warm process with a new crew for each run, CPU per run",
              told["cpu_s"] * 1000 / WARM_RUNS, "ms")
    bench.say(f"{NAME}, crewai in one warm process with a new crew for each run, RSS", rss, "MB")
    return cpu


def measure(stack, bench):
    """The section. `bench` is the module of that name, whose helpers it uses."""
    if not (PACKAGES.parent / "made-from").exists():
        raise SystemExit("bench: the package crewai is not there: run 'make crewai-profile'")
    with InstantModels() as models, tempfile.TemporaryDirectory(prefix="windlass-bench-") as home:
        ours, whole = windlass(stack, bench, models)
        for how, cpu in (("in a process of its own", fresh(bench, models, home)), ("in one warm process", warm(bench, models, home))):
            bench.say(f"{NAME}, CPU of crewai {how} to that of our programs", cpu / ours, "times")
            bench.say(f"{NAME}, CPU of crewai {how} to that of our programs and their servers", cpu / whole, "times")
