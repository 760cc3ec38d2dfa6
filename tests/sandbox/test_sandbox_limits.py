"""Limits: each is reached by a program that tries, and told apart in the receipt."""

import errno
import json
import os
import signal
import time

import pytest

HOG = "x = []\nwhile True:\n    x.append(bytearray(b'x' * (1 << 20)))\n"


def test_memory_hog_is_told_from_other_kills(warden):
    result = warden.python(HOG, memory_mb=64)
    assert result["reason"] == "oom" and result["exit_code"] == 137, result
    assert 48 << 20 < result["receipt"]["memory_peak"] <= 64 << 20
    assert warden.bash("kill -9 $$")["reason"] == "signalled"
    assert warden.bash("kill -9 $$")["signal"] == signal.SIGKILL
    assert warden.bash("exit 137")["reason"] == "exited"


def test_a_child_that_ran_out_of_memory_fails_the_run_only_with_its_parent(warden):
    for code, reason in ((0, "exited"), (1, "oom")):
        script = f"/usr/bin/python3 in/hog.py; echo $?; exit {code}"
        result = warden.run(["/bin/bash", "-c", script], files={"in/hog.py": HOG}, memory_mb=64)
        assert result["reason"] == reason and result["output"] == "137\n"


def test_work_files_count_as_memory_and_have_their_own_bound(warden):
    filler = "head -c 200M /dev/zero >/work/a; echo $?; df --output=size -k /work | tail -1"
    full = warden.bash(filler, memory_mb=512)
    assert full["reason"] == "exited" and full["output"].split() == ["1", "65536"]
    assert warden.bash("head -c 60M /dev/zero >/work/a || exit 1", memory_mb=32)["reason"] == "oom"


def test_fork_bomb_stops_at_the_process_limit(warden):
    source = """
import os, time
n = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        n += 1
except OSError as error:
    print(n, error.errno)
"""
    result = warden.python(source, pids=20)
    assert result["reason"] == "exited" and result["output"].split() == ["18", str(errno.EAGAIN)]
    assert result["receipt"]["pids"] == 20 and result["receipt"]["pids_peak"] in (0, 20)


def test_output_flood_is_cut_at_the_cap(warden):
    result = warden.bash("yes", output_kb=64)
    assert result["reason"] == "output_cap" and result["output_length"] == 64 << 10
    # also when the program has ended before anyone could kill it
    result = warden.bash("head -c 1025 /dev/zero", output_kb=1)
    assert result["reason"] == "output_cap" and result["output_length"] == 1024
    assert warden.bash("head -c 1024 /dev/zero", output_kb=1)["reason"] == "exited"
    result = warden.bash("yes >&2", output_kb=64)
    assert result["reason"] == "output_cap" and len(result["log_tail"]) == 16384


def test_endless_program_is_stopped_by_the_clock(warden):
    result = warden.bash("while :; do :; done", wall_ms=300)
    assert result["reason"] == "timeout" and result["exit_code"] == 137
    assert 300_000 <= result["receipt"]["wall_us"] < 5_000_000
    assert result["receipt"]["cpu_us"] > 10_000  # a busy host gives it little, but not nothing


def test_cpu_share_is_held(warden):
    result = warden.bash("while :; do :; done", wall_ms=1500, cpu_milli=250)
    assert 0.01 < result["receipt"]["cpu_us"] / result["receipt"]["wall_us"] < 0.40


def test_cancel_takes_grandchildren_in_sessions_of_their_own_along(warden):
    source = "for i in 1 2 3 4 5; do setsid sleep 4321 & done; trap '' TERM; echo up >&2; wait; sleep 600"
    started = time.monotonic()
    result = warden.bash(source, flags=["cancel-on-log"], grace_ms=100)
    assert result["reason"] == "cancelled" and time.monotonic() - started < 3
    assert "sleep\x004321" not in all_command_lines()


def test_cancel_lets_a_program_clean_up_first(warden):
    result = warden.bash("trap 'echo bye; exit 3' TERM; echo up >&2; sleep 600 & wait", flags=["cancel-on-log"], grace_ms=5000)
    assert result["reason"] == "cancelled" and result["exit_code"] == 3 and result["output"] == "bye\n"


def test_background_processes_end_with_the_program(warden):
    result = warden.bash("setsid sleep 4322 & echo done")
    assert result["output"] == "done\n" and result["receipt"]["wall_us"] < 5_000_000
    assert "sleep\x004322" not in all_command_lines()


@pytest.mark.parametrize(
    "limits",
    [{"memory_mb": 7}, {"memory_mb": 4097}, {"cpu_milli": 9}, {"pids": 1}, {"pids": 4000000000}, {"wall_ms": 3600001}, {"output_kb": 16385}],
)
def test_limits_out_of_bounds_are_refused_by_name(warden, limits):
    result = warden.run(["/bin/true"], **limits)
    assert result["error"] == errno.EINVAL and list(limits)[0] in result["text"]


def test_receipt_says_what_was_applied(warden):
    limits = {"memory_mb": 40, "cpu_milli": 500, "pids": 12, "wall_ms": 5000, "output_kb": 10}
    receipt = warden.run(["/bin/true"], **limits)["receipt"]
    assert {name: receipt[name] for name in limits} == limits
    assert receipt["profile"] == "host" and len(receipt["profile_hash"]) == 64
    assert receipt["cpu_us"] < 100_000 and 0 < receipt["memory_peak"] < 40 << 20
    # raised above what it was parked with, too
    assert warden.run(["/bin/true"], memory_mb=1024, pids=200)["receipt"]["memory_mb"] == 1024


def all_command_lines():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as file:
                found.append(file.read().rstrip("\0"))
        except OSError:
            continue
    return found
