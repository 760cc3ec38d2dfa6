"""Fixtures of the Python tests. A stack is started when the first test asks for it, and always taken down."""

import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from kit.effects import EffectServer  # noqa: E402
from kit.stack import Stack  # noqa: E402


LONGEST_TEST_S = 240


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
