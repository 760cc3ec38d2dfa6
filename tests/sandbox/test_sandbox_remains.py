"""Nothing is left: after each run, after a stop, and after a kill of the warden and a new start."""

import errno
import json
import os
import signal

from sandbox_kit import alive, cgroup_folders, wait_until


def host_mounts():
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return sorted(line for line in file)


def devices():
    return {p: (s.st_uid, s.st_gid, s.st_mode) for p in ("/dev/null", "/dev/zero", "/dev/full") for s in [os.stat(p)]}


def test_runs_leave_no_control_groups(new_warden):
    warden = new_warden(sandbox_parked=1)
    for _ in range(5):
        warden.run(["/bin/true"])
    wait_until(lambda: len(warden.sandboxes()) == 1)  # the parked one


def test_a_stop_leaves_nothing(new_warden):
    mounts, nodes = host_mounts(), devices()
    warden = new_warden()
    pid = warden.pid
    running = warden.popen(["/bin/bash", "-c", "setsid sleep 600 & sleep 600"])
    wait_until(lambda: len(warden.processes()) >= 4 + 4)  # parked inits; init, shell, two sleeps
    processes = warden.processes()
    assert host_mounts() == mounts
    assert warden.stop() == 0
    assert json.loads(running.communicate()[0])["error"] == errno.EIO
    assert cgroup_folders(pid) == [] and alive(processes) == set()
    assert host_mounts() == mounts and devices() == nodes
    assert not os.path.exists(warden.socket)
    assert warden.run(["/bin/true"])["error"] == errno.ECONNREFUSED


def test_a_killed_warden_is_cleaned_up_after_by_the_next(new_warden):
    mounts, nodes = host_mounts(), devices()
    warden = new_warden()
    pid = warden.pid
    running = warden.popen(["/bin/bash", "-c", "setsid sleep 600 & sleep 600"])
    wait_until(lambda: len(warden.processes()) >= 4 + 4)
    processes = warden.processes()
    warden.stop(signal.SIGKILL)
    result = json.loads(running.communicate()[0])
    assert result["error"] == errno.EIO and "warden" in result["text"]
    wait_until(lambda: not alive(processes))  # parked and running ones ended by themselves
    assert cgroup_folders(pid) != []
    warden.start()  # same socket, same settings
    assert cgroup_folders(pid) == []
    assert warden.run(["/bin/true"])["exit_code"] == 0
    second = warden.pid
    assert warden.stop() == 0
    assert cgroup_folders(second) == []
    assert host_mounts() == mounts and devices() == nodes


def test_what_a_killed_warden_and_its_client_left_running_is_killed(new_warden):
    warden = new_warden(sandbox_parked=0)
    running = warden.popen(["/bin/sleep", "600"])
    wait_until(lambda: len(warden.processes()) == 2)
    processes = warden.processes()
    running.send_signal(signal.SIGSTOP)  # it holds the control pipe and sees nothing
    warden.stop(signal.SIGKILL)
    assert alive(processes) == processes
    warden.start()
    assert alive(processes) == set()
    running.send_signal(signal.SIGCONT)
    assert json.loads(running.communicate()[0])["error"] == errno.EIO


def test_two_wardens_live_side_by_side(new_warden):
    first, second = new_warden(), new_warden()
    assert first.run(["/bin/true"])["exit_code"] == 0
    assert second.stop() == 0
    assert first.run(["/bin/true"])["exit_code"] == 0
    assert not any("removed" in line for line in second.log)


def test_a_socket_in_use_is_not_taken(new_warden):
    first = new_warden()
    second = type(first)(warden_socket=first.socket)
    try:
        second.start()
    except AssertionError as failure:
        assert "another warden listens" in str(failure)
    else:
        raise AssertionError("the second warden took the socket of the first")
    finally:
        second.close()
    assert first.run(["/bin/true"])["exit_code"] == 0
