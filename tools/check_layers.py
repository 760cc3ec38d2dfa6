#!/usr/bin/python3
"""Check that each #include is one its folder may use, by the rows of tools/layers.txt.

    check_layers.py [ROOT]      ROOT: the tree to check, default this checkout

A row reads: folder | project folders | third-party headers (prefixes). `*` allows all. A folder's own headers,
libc's and the kernel's are free. Whatever no row speaks of fails: a folder, a header, a relative include.
"""

import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = (".c", ".h", ".cc", ".inc")
PROGRAMS = ("scheduler", "supervisor", "webapp", "cli")
FREE_PREFIXES = ("sys/", "linux/", "asm/", "arpa/", "net/", "netinet/", "bits/")
FREE_HEADERS = set("""aio assert complex cpuid crypt ctype dirent dlfcn endian err errno execinfo fcntl fenv float fnmatch
    ftw getopt glob grp iconv inttypes iso646 langinfo limits locale malloc math memory mntent netdb nss paths poll
    printf pthread pty pwd regex resolv sched semaphore setjmp signal spawn stdalign stdarg stdatomic stdbool stddef
    stdint stdio stdlib stdnoreturn string strings syscall syslog termios threads time uchar ucontext ulimit unistd
    utime utmpx wait wchar wctype""".split())
FREE_CXX = set("""algorithm array atomic cctype cerrno climits cmath cstdarg cstddef cstdint cstdio cstdlib cstring
    exception functional iterator limits list map memory mutex new optional regex set sstream stdexcept string
    string_view type_traits unordered_map unordered_set utility variant vector""".split())


def read_rows(path):
    """{folder: (project folders, header prefixes)}."""
    rows = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3:
            raise SystemExit(f"{path}:{number}: a row has three parts")
        if parts[0] in rows:
            raise SystemExit(f"{path}:{number}: a second row for {parts[0]}")
        rows[parts[0]] = (parts[1].split(), parts[2].split())
    return rows


def check_table(rows):
    """The two rules that hold whatever the rows say: lib uses no program, no program uses another."""
    problems = []
    for folder, (may, _) in rows.items():
        own = folder.split("/")[0]
        for other in may:
            top = other.split("/")[0]
            if own != "tests" and top in PROGRAMS and top != own:
                problems.append(f"tools/layers.txt: {folder} may not include {other}, which belongs to a program")
    return problems


def is_third_party(header, rows):
    named = {prefix for _, prefixes in rows.values() for prefix in prefixes if prefix != "*"}
    return any(header.startswith(prefix) for prefix in named)


def is_free(header, rows, is_cxx):
    if is_third_party(header, rows):
        return False
    if header.endswith(".h") and header[:-2] in FREE_HEADERS:
        return True
    return header.startswith(FREE_PREFIXES) or (is_cxx and header in FREE_CXX)


def judge(folder, quote, header, rows, is_cxx):
    """None when the include is allowed, else why not."""
    may, third_party = rows[folder]
    if quote == '"':
        if "/" not in header or header.startswith(".") or "/../" in header:
            return f'"{header}" is not written from the repository root'
        other = header.rsplit("/", 1)[0]
        return None if other == folder or "*" in may or other in may else f"may not include {other}"
    if is_free(header, rows, is_cxx) or "*" in third_party or any(header.startswith(one) for one in third_party):
        return None
    return f"may not use <{header}>"


def sources(root):
    """C and C++ files of the tree: what git tracks or would, else all but build output."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, check=False)
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return sorted(name for name in names if name.endswith(SOURCES) and not name.startswith("build/")
                  and (root / name).is_file())


def check(root):
    rows = read_rows(root / "tools" / "layers.txt")
    problems = check_table(rows)
    for name in sources(root):
        folder = name.rsplit("/", 1)[0] if "/" in name else "."
        if folder not in rows:
            problems.append(f"{name}: folder {folder} has no row in tools/layers.txt")
            continue
        for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1):
            found = INCLUDE.match(line)
            reason = judge(folder, found[1], found[2], rows, name.endswith(".cc")) if found else None
            if reason:
                problems.append(f"{name}:{number}: {folder} {reason}")
    return problems


def main(argv):
    root = pathlib.Path(argv[1] if len(argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems = check(root)
    print("\n".join(problems) if problems else "layers: every include is allowed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
