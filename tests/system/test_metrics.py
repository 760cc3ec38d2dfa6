"""What /metrics tells of the schedulers."""

import re

from kit.flows import noop
from kit.waiting import wait_until

SAMPLE = re.compile(r'windlass_scheduler_(\w+)\{scheduler="([0-9a-f-]{36})"\} (\d+)')


def figures(stack):
    """{(name, scheduler): value} and the text they are from."""
    text = stack.api().get("/metrics").text
    return {(name, scheduler): int(value) for name, scheduler, value in SAMPLE.findall(text)}, text


def test_metrics_tell_what_the_schedulers_have_counted(stack, admin):
    def claimed():
        return sum(value for (name, _), value in figures(stack)[0].items() if name == "claimed_total")

    before = wait_until(lambda: ("claimed_total" in figures(stack)[1]) and claimed() + 1, "the schedulers' figures", 30) - 1
    for _ in range(3):
        admin.wait(admin.start(noop()))
    wait_until(lambda: claimed() >= before + 3, "the claims of three runs", 30)
    samples, text = figures(stack)
    assert {name for name, _ in samples} >= {"claimed_total", "requeued_total", "poisoned_total"}
    assert len({scheduler for _, scheduler in samples}) == len(stack.names("scheduler"))
    types = [line for line in text.splitlines() if line.startswith("# TYPE windlass_scheduler_")]
    assert len(types) == len(set(types)) == len({name for name, _ in samples})
    assert all(line.endswith(" counter") for line in types)
