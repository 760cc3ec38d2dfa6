"""The lease protocol, checked in all its interleavings by Spin; every mutant must be caught."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("lease.pml")

# Each mix is small enough to be searched whole; `make model` searches all misfortunes together.
MIXES = {
    "a loss of Redis and a death": ["-DCANCELS=0", "-DDRAINS=0"],
    "a death, a cancel and a drain": ["-DLOSSES=0"],
    "a loss of Redis and a cancel": ["-DDEATHS=0", "-DDRAINS=0"],
}

MUTANTS = {
    "WITHOUT_GEN": ["-DCANCELS=0", "-DDRAINS=0"],
    "WITHOUT_START_EPOCH": ["-DCANCELS=0", "-DDRAINS=0"],
    "REDIS_FIRST": ["-DLOSSES=0", "-DCANCELS=0", "-DDRAINS=0"],
    "FENCE_RUNNING_ONLY": ["-DLOSSES=0", "-DCANCELS=0", "-DDRAINS=0"],
    "WITHOUT_FINISH_EPOCH": ["-DLOSSES=0", "-DDRAINS=0"],
    "IGNORES_SEAL": ["-DLOSSES=0", "-DDRAINS=0"],
    "LAST_COMMIT_WINS": ["-DLOSSES=0", "-DDRAINS=0"],
    "GEN_LAST": ["-DCANCELS=0", "-DDRAINS=0"],
}


def search(folder: Path, *defines: str) -> str:
    """Generate, compile and run the verifier; returns what it printed."""
    assert shutil.which("spin"), "the package spin is missing: run `make setup-test`"
    subprocess.run(["spin", "-a", *defines, str(MODEL)], cwd=folder, check=True, capture_output=True, timeout=60)
    subprocess.run(
        ["gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=3000", "-o", "pan", "pan.c"],
        cwd=folder, check=True, capture_output=True, timeout=120,
    )
    done = subprocess.run(["./pan", "-m20000"], cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    return done.stdout


def whole(output: str) -> bool:
    """True when the search was not cut short by depth or memory."""
    return "max search depth too small" not in output and "out of memory" not in output and "elapsed time" in output


@pytest.mark.parametrize("mix", MIXES)
def test_protocol_holds(mix: str, tmp_path: Path) -> None:
    output = search(tmp_path, *MIXES[mix])
    assert whole(output), output
    assert "errors: 0" in output, output


@pytest.mark.parametrize("rule", MUTANTS)
def test_each_rule_is_needed(rule: str, tmp_path: Path) -> None:
    output = search(tmp_path, f"-D{rule}", *MUTANTS[rule])
    assert "errors: 1" in output and "assertion violated" in output, output
