"""Two schedulers and two supervisors while processes die at random for half a minute."""

import os
import random
import signal
import time

import pytest

from kit.fault import under_load
from kit.stack import runner

pytestmark = pytest.mark.long

STORM_S = float(os.environ.get("STORM_SECONDS", "30"))
VICTIMS = ["scheduler-1", "scheduler-2", "supervisor-1", "supervisor-2", "web", "eval", "redis", "docserver"]


def test_random_kills_under_load(stack, effects):
    seed = int(os.environ.get("STORM_SEED", random.SystemRandom().randrange(10 ** 6)))
    chance = random.Random(seed)
    print(f"seed {seed} (set STORM_SEED to repeat)")
    with under_load(stack, effects, per_second=30, cap=30, seconds=90):
        ends = time.monotonic() + STORM_S
        while time.monotonic() < ends:
            kill_one(stack, chance.choice(VICTIMS))
            time.sleep(chance.uniform(0.5, 3.0))    # the rhythm of the storm, not a wait for a state


def kill_one(stack, name):
    """Kill it unless it is just dead, in which case the next one is chosen."""
    try:
        stack.kill(name, signal.SIGKILL)
    except runner.StackFailed:
        pass
