"""The files that a program leaves under /work/out: what comes out, what does not, and what is refused."""

import json
import os
import socket
import struct

import pytest

from test_sandbox_protocol import request

FAULTS = ["none", "many", "file_large", "total_large", "deep", "name", "unreadable"]


def names(result):
    return [file["name"] for file in result["files"]]


def fault(result):
    assert result["reason"] == "exited" and result["exit_code"] == 0, result
    if result["out_fault"]:
        assert result["files"] == []
    return FAULTS[result["out_fault"]]


def collect(warden, source, **options):
    return warden.python(source, **{"out_files": 64, **options})


def test_files_come_out_with_their_contents_in_order_of_their_names(warden):
    source = """
import os
os.makedirs("/work/out/b/c")
open("/work/out/z.txt", "w").write("last")
open("/work/out/b/c/data.bin", "wb").write(bytes(range(256)))
open("/work/out/empty", "w").close()
open("/work/out/Gr\\u00fc\\u00dfe \\u65e5\\u672c.txt", "w").write("hello")
"""
    result = collect(warden, source)
    assert fault(result) == "none" and result["passed_over"] == 0
    assert names(result) == ["Grüße 日本.txt", "b/c/data.bin", "empty", "z.txt"]
    contents = [bytes.fromhex(file["start"]) for file in result["files"]]
    assert contents == [b"hello", bytes(range(256)), b"", b"last"]
    assert [file["length"] for file in result["files"]] == [5, 256, 0, 4]


def test_none_are_taken_that_were_not_asked_for_or_of_a_program_that_failed(warden):
    source = "open('/work/out/a', 'w').write('x')\nimport sys\nsys.exit(int(sys.stdin.read() or 0))"
    assert names(collect(warden, source)) == ["a"]
    assert names(warden.python(source)) == []
    failed = collect(warden, source, stdin="3")
    assert failed["exit_code"] == 3 and failed["files"] == [] and failed["out_fault"] == 0


def test_links_devices_pipes_and_sockets_are_passed_over(warden):
    source = """
import os, socket
os.chdir("/work/out")
open("real", "w").write("r")
os.symlink("/etc/passwd", "passwd")
os.symlink("real", "alias")
os.symlink("/proc/1", "process")
os.symlink("/usr", "folder")
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
"""
    result = collect(warden, source)
    assert fault(result) == "none" and names(result) == ["real"] and result["passed_over"] == 6


@pytest.mark.parametrize("replacement", ["os.symlink('/etc', '/work/out')", "os.symlink('/work/in', '/work/out')",
                                         "open('/work/out', 'w').write('x')", "os.mkfifo('/work/out')", "pass"])
def test_whatever_stands_in_place_of_the_folder_gives_no_files(warden, replacement):
    result = collect(warden, f"import os\nos.rmdir('/work/out')\n{replacement}")
    assert fault(result) == "none" and result["files"] == []


def test_limits_of_number_size_and_sum(warden):
    one = "open('/work/out/f%d' % {0}, 'wb').write(b'x' * {1})\n"
    many = "for i in range({0}):\n    open(f'/work/out/f{{i}}', 'wb').write(b'x' * {1})\n"
    assert fault(collect(warden, many.format(64, 1))) == "none"
    assert fault(collect(warden, many.format(65, 1))) == "many"
    assert fault(collect(warden, many.format(10000, 1))) == "many"
    assert fault(collect(warden, one.format(1, 1024), out_file_kb=1)) == "none"
    large = collect(warden, one.format(1, 1025), out_file_kb=1)
    assert fault(large) == "file_large" and large["out_fault_name"] == "f1"
    assert fault(collect(warden, many.format(4, 1024), out_total_kb=4)) == "none"
    assert fault(collect(warden, many.format(5, 1024), out_total_kb=4)) == "total_large"


def test_sixteen_megabytes_come_out_whole(warden):
    result = collect(warden, "open('/work/out/big', 'wb').write(b'abcd' * (4 << 20))")
    assert fault(result) == "none" and result["files"][0]["length"] == 16 << 20
    assert bytes.fromhex(result["files"][0]["start"]) == b"abcd" * 64


def test_a_sparse_giant_is_refused_by_its_size(warden):
    source = "import os\nfd = os.open('/work/out/giant', os.O_CREAT | os.O_WRONLY)\nos.ftruncate(fd, 60 << 20)"
    assert fault(collect(warden, source)) == "file_large"


def test_deep_folders(warden):
    source = "import os\nos.makedirs('/work/out/' + '/'.join('d' * {0}))\n"
    leaf = "open('/work/out/' + '/'.join('d' * {0}) + '/f', 'w').write('x')"
    result = collect(warden, source.format(7) + leaf.format(7))
    assert fault(result) == "none" and names(result) == ["d/d/d/d/d/d/d/f"]
    assert fault(collect(warden, source.format(8))) == "deep"
    assert fault(collect(warden, source.format(100))) == "deep"


def test_many_folders_and_links_are_not_walked_for_ever(warden):
    assert fault(collect(warden, "import os\nfor i in range(5000): os.mkdir(f'/work/out/{i}')")) == "many"
    assert fault(collect(warden, "import os\nfor i in range(5000): os.symlink('x', f'/work/out/{i}')")) == "many"


@pytest.mark.parametrize("name", [b"bad\xff", b"line\nbreak", b"bell\x07", b"back\\slash", "\u202etxt.exe".encode(),
                                  b"\xed\xa0\x80", b"\xc0\xaf", "del\u0085".encode()])
def test_names_that_no_one_should_be_shown(warden, name):
    result = collect(warden, f"open(b'/work/out/' + {name!r}, 'w').write('x')")
    assert fault(result) == "name"
    assert result["out_fault_name"].isprintable() and result["out_fault_name"].isascii()


def test_a_path_that_is_too_long(warden):
    source = "import os\nos.mkdir('/work/out/' + 'd' * 200)\nopen('/work/out/' + 'd' * 200 + '/' + 'f' * {0}, 'w').write('x')"
    assert fault(collect(warden, source.format(54))) == "none"
    assert fault(collect(warden, source.format(55))) == "name"


def test_a_file_that_cannot_be_read_is_told(warden):
    result = collect(warden, "import os\nopen('/work/out/f', 'w').write('x')\nos.chmod('/work/out/f', 0)")
    assert fault(result) == "unreadable" and result["out_fault_name"] == "f"
    assert fault(collect(warden, "import os\nos.mkdir('/work/out/d')\nos.chmod('/work/out/d', 0)")) == "unreadable"


def test_nothing_changes_while_files_are_read(warden):
    """A process that the program left running rewrites its file over and over: it ends before anything is read."""
    source = """
import os, sys
path = "/work/out/changing"
open(path, "w").write("0" * 100000)
if os.fork() == 0:
    os.setsid()
    os.close(0); os.close(1); os.close(2)
    while True:
        for size in (1, 300000, 0, 100000):
            with open(path, "r+b") as file:
                file.truncate(size)
                file.write(b"1" * size)
        try:
            os.rename(path, path + "2"); os.rename(path + "2", path)
        except OSError:
            pass
"""
    for _ in range(10):
        result = collect(warden, source)
        assert fault(result) == "none" and len(result["files"]) == 1


def test_the_program_cannot_write_to_the_files_pipe(warden):
    source = """
import os, json
fds = {}
for pid in ("self", "1"):
    try:
        fds[pid] = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except OSError as error:
        fds[pid] = error.errno
reached = []
for fd in range(3, 64):
    try:
        os.write(fd, b"\\1\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0a"); reached.append(fd)
    except OSError:
        pass
print(json.dumps([fds["1"], reached]))
"""
    result = collect(warden, source)
    assert fault(result) == "none" and result["files"] == []
    seen, reached = json.loads(result["output"])
    assert seen == 13 and reached == []


def test_a_supervisor_that_goes_away_while_files_come_leaves_no_sandbox(new_warden):
    """It reads one byte of a file that does not fit into the pipe, and closes everything."""
    warden = new_warden(sandbox_parked=0)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(warden.socket)
    sock.settimeout(20)
    sock.send(request())
    _, fds, _, _ = socket.recv_fds(sock, 4096, 8)
    assert len(fds) == 5
    frames = b""
    for argument in (b"/usr/bin/python3", b"-c", b"open('/work/out/f', 'wb').write(b'x' * 1000000)"):
        frames += struct.pack("=II", 1, len(argument)) + argument
    frames += struct.pack("=IIIIQQ", 7, 24, 64, 0, 1 << 24, 1 << 26) + struct.pack("=II", 5, 0)
    os.write(fds[0], frames)
    assert os.read(fds[4], 1) == b"\x01"
    for fd in fds:
        os.close(fd)
    sock.close()
    from sandbox_kit import wait_until
    wait_until(lambda: not warden.sandboxes())
