"""Fixtures of the Python tests. A stack is started when the first test asks for it, and always taken down."""

import collections
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from kit.effects import EffectServer  # noqa: E402
from kit.stack import Stack  # noqa: E402


LONGEST_TEST_S = 240
MARKS = ("alone: measures time or a share of the machine, so tools/run_tests.py runs it with no test beside it",
         "long: a file of more than half a minute; when files are tested side by side it is begun early")


def pytest_configure(config):
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def pytest_collection_modifyitems(config, items):
    """Side by side, the files that take long come first: the last ones to end should be short."""
    if hasattr(config, "workerinput"):
        tests = collections.Counter(item.path for item in items)
        items.sort(key=lambda item: (item.get_closest_marker("long") is None, -tests[item.path]))   # files stay whole: it is stable


@pytest.fixture(autouse=True)
def not_for_ever():
    """No test may hang: after three minutes it fails where it stands."""
    def late(*_):
        raise TimeoutError(f"the test took longer than {LONGEST_TEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_TEST_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def stack():
    """One whole Windlass for the session, by the means of `make run`."""
    with Stack("session") as running:
        yield running


@pytest.fixture(scope="session")
def effects():
    """The outside world of http nodes."""
    with EffectServer() as server:
        yield server


@pytest.fixture
def admin(stack):
    """The admin of a tenant that only this test knows."""
    return stack.tenant()
