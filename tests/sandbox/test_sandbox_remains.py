"""Nothing is left: after each run, after a stop, and after a kill of the warden and a new start."""

import errno
import json
import os
import signal

from sandbox_kit import cgroup_folders, wait_until


def inits():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if b"/windlass-init" in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return set(found)


def host_mounts():
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return sorted(line for line in file)


def devices():
    return {p: (s.st_uid, s.st_gid, s.st_mode) for p in ("/dev/null", "/dev/zero", "/dev/full") for s in [os.stat(p)]}


def own_groups(warden):
    """Folders of this warden's sandboxes, one name each."""
    pid = str(warden.process.pid)
    mine = [f for f in cgroup_folders() if os.path.basename(f).split("-")[1] == pid]
    return {name for folder in mine for name in next(os.walk(folder))[1]}


def test_runs_leave_no_control_groups(new_warden):
    if os.geteuid() != 0:
        return
    warden = new_warden(sandbox_parked=1)
    for _ in range(5):
        warden.run(["/bin/true"])
    wait_until(lambda: len(own_groups(warden)) == 1)  # the parked one


def test_a_stop_leaves_nothing(new_warden):
    mounts, groups, before, nodes = host_mounts(), set(cgroup_folders()), inits(), devices()
    warden = new_warden()
    warden.run(["/bin/true"])
    running = warden.popen(["/bin/sleep", "600"])
    wait_until(lambda: len(inits()) > len(before))
    assert host_mounts() == mounts
    assert warden.stop() == 0
    assert json.loads(running.communicate()[0])["error"] == errno.EIO
    assert set(cgroup_folders()) == groups
    assert inits() == before
    assert host_mounts() == mounts
    assert devices() == nodes
    assert not os.path.exists(warden.socket)


def test_a_killed_warden_is_cleaned_up_after_by_the_next(new_warden):
    mounts, groups, before, nodes = host_mounts(), set(cgroup_folders()), inits(), devices()
    warden = new_warden()
    warden.run(["/bin/true"])
    running = warden.popen(["/bin/bash", "-c", "setsid sleep 600 & sleep 600"])
    wait_until(lambda: len(inits()) > len(before))
    warden.stop(signal.SIGKILL)
    result = json.loads(running.communicate()[0])
    assert result["error"] == errno.EIO and "warden" in result["text"]
    wait_until(lambda: inits() == before)  # parked and running ones ended by themselves
    assert set(cgroup_folders()) != groups
    warden.start()  # same socket, same settings
    assert any("removed what 1 warden" in line for line in warden.log)
    assert warden.run(["/bin/true"])["exit_code"] == 0
    assert warden.stop() == 0
    assert set(cgroup_folders()) == groups
    assert host_mounts() == mounts and devices() == nodes


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
