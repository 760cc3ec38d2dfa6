"""A real S3 server for tests: versitygw over a folder of the test's (tools/s3server), one bucket; and what stores hold."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from kit.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCESS, SECRET = "test.access-key", "a/secret:with+everything"


def files_below(base, part="."):
    """The paths, relative to `base`, of all files in a part of it. Folders may go meanwhile: walk passes over those."""
    found = (os.path.join(folder, name) for folder, _, names in os.walk(base / part) for name in names)
    return sorted(os.path.relpath(path, base) for path in found)


class S3Server:
    """Its `url` is what WINDLASS_S3_URL takes. It may be stopped and started again and then has the same port."""

    bucket = "windlass"

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-s3-"))
        (self.folder / self.bucket).mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    @property
    def url(self):
        return f"s3://{ACCESS}:a%2Fsecret%3Awith%2Beverything@127.0.0.1:{self.port}/{self.bucket}?region=us-east-1&tls=0"

    def answers(self):
        assert self.process.poll() is None, "the S3 server has ended: is it built? (make s3server)"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self):
        env = {**os.environ, "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
        self.process = subprocess.Popen([ROOT / "build/bin/windlass-s3server", "--listen", f"127.0.0.1:{self.port}", self.folder],
                                        env=env, stdout=subprocess.DEVNULL)
        wait_until(self.answers, "the S3 server", 30)
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def keys(self):
        return [key for key in files_below(self.folder / self.bucket) if not key.startswith(".")]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Place:
    """A stack and the store behind it."""

    def __init__(self, stack, s3=None):
        self.stack, self.s3 = stack, s3

    def keys(self, tenant):
        """The objects of a tenant, looked up behind the server's back."""
        if self.s3:
            return [key for key in self.s3.keys() if key.startswith(f"{tenant}/")]
        return files_below(self.stack.home / "objects", str(tenant))

    def path(self, key):
        return (self.s3.folder / self.s3.bucket if self.s3 else self.stack.home / "objects") / key

    def used(self, tenant):
        rows = self.stack.sql("SELECT bytes FROM control.usage_storage WHERE tenant = %s", tenant)
        return rows[0][0] if rows else 0

    def recount(self, tenant):
        return self.stack.sql(f"SELECT coalesce(sum(size), 0)::bigint FROM t_{tenant}.artifacts")[0][0]
