"""A stack with two of everything that may be many, leases short enough for a test, checked when it is over."""

import pathlib

import pytest

from kit.stack import SHORT_LEASES, Stack, processes_of


def traces():
    """What a stack leaves on the host when something goes wrong: cgroups and mounts."""
    groups = {str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob("*windlass*") if path.is_dir()}
    return groups | {line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if "windlass" in line}


@pytest.fixture(scope="module")
def stack(request):
    before = traces()
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    env = {**SHORT_LEASES, "WINDLASS_MAX_DELIVERIES": "20"}
    with Stack(name, env=env, schedulers=2, supervisors=2) as running:
        yield running
    assert processes_of(running.home) == []
    left = traces() - before
    assert not left, f"left on the host: {sorted(left)[:5]}"
