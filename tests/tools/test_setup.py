"""Set-up touches what it says and nothing else, and puts everything back."""

import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "setup"))
import setup  # noqa: E402


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Set-up's view of the system's files, in a folder; commands run without sudo."""
    monkeypatch.setattr(setup, "POLICY", tmp_path / "sbin" / "policy-rc.d")
    monkeypatch.setattr(setup, "NO_CLUSTER", tmp_path / "postgresql-common" / "createcluster.d" / "windlass-setup.conf")
    monkeypatch.setattr(setup, "as_root", lambda argv: argv)
    return tmp_path


def test_services_are_held_back_only_while_packages_are_installed(system):
    with setup.quiet_services(["postgresql-15"]):
        assert subprocess.run([setup.POLICY], check=False).returncode == 101
        assert setup.NO_CLUSTER.read_text() == "create_main_cluster = off\n"
    assert not setup.POLICY.exists() and not setup.NO_CLUSTER.exists()


def test_both_files_are_removed_after_a_failure(system):
    with pytest.raises(RuntimeError), setup.quiet_services(["postgresql-15"]):
        raise RuntimeError("apt failed")
    assert not setup.POLICY.exists() and not setup.NO_CLUSTER.exists()


def test_a_policy_of_the_host_stays_as_it_is(system):
    setup.POLICY.parent.mkdir()
    setup.POLICY.write_text("#!/bin/sh\nexit 0\n")
    with setup.quiet_services(["redis-server"]):
        assert setup.POLICY.read_text() == "#!/bin/sh\nexit 0\n"
        assert not setup.NO_CLUSTER.exists()                # PostgreSQL is not among the packages
    assert setup.POLICY.read_text() == "#!/bin/sh\nexit 0\n"


def test_only_missing_packages_are_installed(monkeypatch):
    calls = []
    monkeypatch.setattr(setup, "missing_packages", lambda names: [] if calls else ["xxd"])
    monkeypatch.setattr(setup, "quiet_services", lambda names: __import__("contextlib").nullcontext())
    monkeypatch.setattr(setup, "as_root", lambda argv: argv)
    monkeypatch.setattr(setup.subprocess, "run",
                        lambda argv, **how: calls.append(argv) or subprocess.CompletedProcess(argv, 0))
    setup.install_packages(["packages-build.txt"])
    installs = [argv for argv in calls if "install" in argv]
    assert len(installs) == 1 and installs[0][-1] == "xxd" and "gcc" not in installs[0]


def test_a_package_that_does_not_come_is_named(monkeypatch):
    monkeypatch.setattr(setup, "missing_packages", lambda names: ["no-such-package"])
    monkeypatch.setattr(setup, "quiet_services", lambda names: __import__("contextlib").nullcontext())
    monkeypatch.setattr(setup.subprocess, "run", lambda argv, **how: subprocess.CompletedProcess(argv, 100))
    with pytest.raises(setup.SetupError, match="no-such-package"):
        setup.install_packages(["packages-build.txt"])


def test_installed_packages_are_seen():
    assert setup.missing_packages(["dpkg", "no-such-package-anywhere"]) == ["no-such-package-anywhere"]


def test_all_packages_of_the_lists_are_known_to_apt():
    names = [name for path in (ROOT / "tools" / "setup").glob("packages-*.txt") for name in setup.read_list(path)]
    assert len(names) == len(set(names)) and setup.missing_packages(names) == []


def test_every_python_package_is_pinned():
    for path in (ROOT / "tools" / "setup").glob("requirements-*.txt"):
        assert all("==" in line for line in setup.read_list(path)), path


def test_the_second_time_takes_less_than_two_seconds():
    begun = time.monotonic()
    subprocess.run([sys.executable, ROOT / "tools" / "setup" / "setup.py", "test"], check=True)
    assert time.monotonic() - begun < 2


def test_the_sandboxes_runtime_is_readable_by_all():
    node = ROOT / "build" / "runtime" / "bin" / "node"
    assert node.stat().st_mode & 0o555 == 0o555
    assert subprocess.run([node, "-p", "6*7"], capture_output=True, text=True, check=True).stdout == "42\n"


def test_a_wrong_step_is_refused():
    done = subprocess.run([sys.executable, ROOT / "tools" / "setup" / "setup.py", "everything"], check=False, capture_output=True)
    assert done.returncode == 2
