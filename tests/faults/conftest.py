"""A stack with two of everything that may be many, leases short enough for a test, checked when it is over."""

import pytest

from kit.stack import SHORT_LEASES, Family, Stack, mounts, traces


@pytest.fixture(scope="module")
def stack(request):
    before = mounts()
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    env = {**SHORT_LEASES, "WINDLASS_MAX_DELIVERIES": "20"}
    with Stack(name, env=env, schedulers=2, supervisors=2) as running:
        yield running
        family = Family(running.runner.pid)
    assert family.left() == []
    left = traces(running.wardens | family.members.keys()) - before
    assert not left, f"left on the host: {sorted(left)[:5]}"
