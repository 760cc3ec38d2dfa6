"""Fixtures of the Python tests. A stack is started when the first test asks for it, and always taken down."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from kit.effects import EffectServer  # noqa: E402
from kit.stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def stack():
    """One whole Windlass for the session, by the means of `make run`."""
    with Stack(f"session-{os.getpid()}") as running:
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
