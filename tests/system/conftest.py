"""Fixtures of the system tests."""

import pytest

from kit.cli import Cli


@pytest.fixture
def admin_cli(stack, admin, tmp_path):
    """(CLI, API) of the same admin."""
    return Cli(tmp_path / "home", stack.urls["web"], WINDLASS_TOKEN=admin.access), admin


@pytest.fixture
def cli(admin_cli):
    return admin_cli[0]
