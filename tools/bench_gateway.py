"""The gateway for clients from outside, beside its model server asked directly: the same client, the same server.

A section of bench.py. The server (tests/load/instant_model.c) takes as good as no time, and its tokens are the times at which
they were sent, so that the client (tests/load/model_load.c) knows how long each was on its way.
"""

import json
import pathlib
import statistics
import subprocess
import time

from bench_crew import InstantModels
from kit.client import checked
from kit.models import provider

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS, CALLS = 8, 150          # direct and by the gateway in turns: both see the same neighbours on the machine
STREAMS = 200


def client():
    """The load generator, compiled when it is older than its source."""
    source, binary = ROOT / "tests" / "load" / "model_load.c", ROOT / "build" / "bench" / "model_load"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(binary), str(source)], check=True)
    return str(binary)


class Sides:
    """Who is asked: the server itself ("direct"), or the gateway in front of it."""

    def __init__(self, stack, bench, models):
        api = bench.roomy(stack)
        stack.quota(api.tenant, max_llm_tokens_per_day=2000000000)
        provider(api, models, "vllm", default_model="t16-p0")
        self.key = checked(api.post("api-keys", json={"name": "bench", "role": "executor"}), 201).json()["key"]
        self.ports = {"direct": models.url.rsplit(":", 1)[1], "gateway": stack.urls["web"].rsplit(":", 1)[1]}

    def begin(self, side, model, calls, *options):
        argv = [client(), "--port", self.ports[side], "--model", model, "--calls", str(calls), *map(str, options)]
        return subprocess.Popen([*argv, *(["--key", self.key] if side == "gateway" else [])], stdout=subprocess.PIPE, text=True)

    @staticmethod
    def end(process):
        text = process.communicate()[0]
        if process.returncode:
            raise SystemExit("bench: calls of the gateway's section failed, so there is no figure")
        return json.loads(text)

    def both(self, *call):
        """{side: [results]} in turns, after a first round that does not count."""
        results = {side: [] for side in self.ports}
        for number in range(ROUNDS + 1):
            for side, kept in results.items():
                result = self.end(self.begin(side, *call))
                if number:
                    kept.append(result)
        return results


def middle(results, name, part):
    """The median of the rounds, in ms."""
    return statistics.median(result[name][part] for result in results) / 1000


def compare(bench, label, results, name):
    for part in ("p50", "p99"):
        direct, through = (middle(results[side], name, part) for side in ("direct", "gateway"))
        bench.say(f"{label}, direct, {part}", direct, "ms")
        bench.say(f"{label}, by the gateway, {part}", through, "ms")
        bench.say(f"{label}, added by the gateway, {part}", through - direct, "ms")


def calls(stack, bench, sides):
    before = bench.cpu_seconds(stack)
    compare(bench, "a model's call, one at a time", sides.both("t16-p0", CALLS), "whole")
    after = bench.cpu_seconds(stack)
    for name in ("web", "postgres"):
        bench.say(f"a model's call by the gateway, CPU of {name}", (after[name] - before[name]) * 1000 / (CALLS * (ROUNDS + 1)), "ms")
    compare(bench, "a model's call, each 10 ms after the last", sides.both("t16-p0", CALLS // 3, "--pause-ms", 10), "whole")


def tokens(bench, sides):
    """8 streams at a time of 50 tokens, one every 5 ms."""
    results = sides.both("t50-p5", 16, "--stream", "--connections", 8)
    compare(bench, "a token of a stream on its way", results, "way")
    for part in ("p50", "p99"):
        bench.say(f"the first token passed on by the gateway after, {part}", middle(results["gateway"], "first_way", part), "ms")


def streams(stack, bench, sides):
    """200 at once: with 50 tokens a second each, as a model would say them, and as fast as they go."""
    idle, _ = bench.memory_mb(stack, "web")
    for side in sides.ports:
        name = "direct" if side == "direct" else "by the gateway"
        before, running = bench.cpu_seconds(stack), sides.begin(side, "t150-p20", STREAMS, "--stream", "--connections", STREAMS)
        time.sleep(2)       # all of them are under way
        resident, _ = bench.memory_mb(stack, "web")
        result = sides.end(running)
        after = bench.cpu_seconds(stack)
        bench.say(f"{STREAMS} streams of 50 tokens/s at once, {name}", result["tokens_per_s"], "tokens/s")
        bench.say(f"{STREAMS} streams of 50 tokens/s at once, {name}, a token on its way, p50", result["way"]["p50"] / 1000, "ms")
        bench.say(f"{STREAMS} streams of 50 tokens/s at once, {name}, a token on its way, p99", result["way"]["p99"] / 1000, "ms")
        if side == "gateway":
            bench.say(f"{STREAMS} streams at once, RSS of web", resident, "MB")
            bench.say(f"{STREAMS} streams at once, RSS of web more than before", resident - idle, "MB")
            bench.say(f"{STREAMS} streams at once, CPU of web per 1000 tokens",
                      (after["web"] - before["web"]) * 1e6 / result["way"]["count"], "ms")
    for side in sides.ports:
        result = sides.end(sides.begin(side, "t400-p0", 2 * STREAMS, "--stream", "--connections", STREAMS))
        bench.say(f"{STREAMS} streams at once, as fast as they go, {'direct' if side == 'direct' else 'by the gateway'}",
                  result["tokens_per_s"], "tokens/s")


def measure(stack, bench):
    with InstantModels() as models:
        sides = Sides(stack, bench, models)
        calls(stack, bench, sides)
        tokens(bench, sides)
        streams(stack, bench, sides)
