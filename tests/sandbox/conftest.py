"""Fixtures of the sandbox tests."""

import subprocess

import pytest

from sandbox_kit import BIN, ROOT, Warden, root_prefix


@pytest.fixture(scope="session")
def built():
    if root_prefix() is None:
        pytest.skip("sandboxes need root: run as root, or let sudo work without a password")
    subprocess.run(["make", "--no-print-directory", "-s", "sandbox-tools"], cwd=ROOT, check=True)
    check = subprocess.run(
        [*root_prefix(), str(BIN / "windlass-warden"), "--check", f"--policies-dir={ROOT / 'policies'}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert check.returncode == 0, check.stdout + check.stderr
    return check.stdout


@pytest.fixture(scope="session")
def warden(built):
    """One warden for all tests that leave it as they found it."""
    with Warden() as running:
        yield running


@pytest.fixture
def new_warden(built):
    """Make wardens of one's own; all are stopped at the end."""
    made = []

    def make(**settings):
        made.append(Warden(**settings))
        return made[-1].start()

    yield make
    for one in made:
        one.close()
