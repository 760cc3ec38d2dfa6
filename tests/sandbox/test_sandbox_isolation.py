"""What a program inside a sandbox can and cannot do, tried from inside."""

import errno
import json
import os
import pathlib

import pytest

PROBE = (pathlib.Path(__file__).parent / "probe.py").read_text()
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom")


def device_state():
    return {path: (s.st_uid, s.st_gid, s.st_mode) for path in DEVICES for s in [os.stat(path)]}


@pytest.fixture(scope="module")
def probe(warden):
    before = device_state()
    result = warden.python(PROBE)
    assert result["reason"] == "exited" and result["exit_code"] == 0, result
    report = json.loads(result["output"])
    report["devices_before"], report["devices_after"] = before, device_state()
    return report


def test_dangerous_system_calls_are_refused(probe):
    calls = dict(probe["calls"])
    assert calls.pop("clone3") == errno.ENOSYS
    assert calls == {name: errno.EPERM for name in calls}
    assert {"mount", "ptrace", "unshare", "keyctl", "io_uring_setup", "clone_newuser", "bpf"} <= set(calls)


def test_only_local_and_internet_sockets_can_be_made(probe):
    families = probe["families"]
    assert [name for name, error in families.items() if error == 0] == ["unix", "inet", "inet6"]
    assert {error for error in families.values() if error} == {errno.EPERM}


def test_there_is_no_network(probe):
    assert probe["net_dev"] == ["lo"]
    assert probe["host_loopback"] == errno.ECONNREFUSED
    assert probe["outside"] == errno.ENETUNREACH


def test_rights_are_gone(probe):
    status = probe["status"]
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert status["Uid"].split() == ["1000"] * 4 and status["Gid"].split() == ["1000"] * 4
    assert status["Groups"].strip() == ""


def test_only_standard_descriptors_are_open(probe):
    assert probe["fds"] == [0, 1, 2, 3]  # 3 lists the folder itself
    assert probe["fd_kinds"] == ["pipe", "pipe", "pipe"]


def test_only_own_processes_are_seen_and_init_is_out_of_reach(probe):
    assert probe["processes"] == [1, 2]
    assert probe["init_fds"] == probe["init_memory"] == probe["init_root"] == errno.EACCES


def test_environment_holds_what_was_asked_for_and_nothing_else(probe):
    assert probe["environment"] == {"PATH": "/usr/bin:/bin", "HOME": "/work", "LC_CTYPE": "C.UTF-8", "TMPDIR": "/tmp"}


def test_device_nodes_stay_the_hosts(probe):
    assert probe["chmod_null"] == probe["chown_null"] == errno.EPERM
    assert probe["null_owner"] == 65534  # an owner outside the sandbox's ids
    assert probe["devices_after"] == probe["devices_before"]
    assert probe["devices_after"]["/dev/null"][:2] == (0, 0)


def test_system_is_read_only_and_work_is_writable(probe):
    made = probe["make"]
    assert [place for place, error in made.items() if error == 0] == ["/work", "/tmp", "/dev/shm"]
    written = probe["write"]
    assert written.pop("/proc/self/oom_score_adj") == 0  # may be raised; lowering needs a capability
    assert all(written.values())
    assert probe["cwd"] == "/work" and probe["umask"] == 0o77 and probe["fifo"] == 0
    assert probe["work"] == ["in", "out", "probe"]


def test_host_files_and_kernel_facts_are_hidden(probe):
    assert {path: size for path, size in probe["read"].items() if size > 0} == {}
    assert set(probe["list"].values()) == {errno.ENOENT}
    assert probe["usr_local"] == []
    assert all(line.endswith(":/") for line in probe["cgroup"].split())


def test_thirty_two_bit_calls_kill_the_program(warden):
    # int 0x80 enters the kernel as i386, for which the filter has no rules but the end
    source = """
import ctypes, mmap
code = bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3])
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("alive")
"""
    result = warden.python(source)
    assert result["reason"] == "signalled" and result["signal"] == 31 and "alive" not in result["output"]


def test_each_run_starts_from_nothing(warden):
    first = warden.bash("touch /work/mark /tmp/mark /dev/shm/mark; ls /work /tmp /dev/shm")
    assert first["output"].count("mark") == 3
    second = warden.bash("ls /work /tmp /dev/shm")
    assert "mark" not in second["output"]


def test_tenants_get_different_host_users_and_cannot_touch_each_other(warden):
    waiting = warden.popen(
        ["/bin/bash", "-c", "echo secret >/work/secret; chmod 777 /work/secret; echo up >&2; exec sleep 60"],
        tenant=5,
        flags=["cancel-on-log"],
        grace_ms=3000,
    )
    seen = warden.bash("ls /proc; cat /proc/*/root/work/secret 2>&1; ls -la /work; kill -9 -1", tenant=6)
    assert "secret" not in seen["output"].replace("/work/secret", "")
    assert json.loads(waiting.communicate()[0])["reason"] == "cancelled"
    source = "import os; print(open('/proc/self/uid_map').read().split()[1])"
    maps = {tenant: warden.python(source, tenant=tenant)["output"].strip() for tenant in (1, 5, 6, 32000)}
    assert maps == {tenant: str(1000000 + 65536 * tenant) for tenant in maps}


@pytest.mark.parametrize("tenant", [0, 32001, 4000000000])
def test_a_tenant_without_a_range_of_ids_is_refused(warden, tenant):
    result = warden.run(["/bin/true"], tenant=tenant)
    assert result["error"] in (errno.ERANGE, errno.EINVAL) and "tenant" in result["text"]
