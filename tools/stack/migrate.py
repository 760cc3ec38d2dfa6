"""Apply specs/sql/NNNN_*.sql in order, each in one transaction, recorded with a checksum; then specs/rights.sql.

A file that was applied must stay as it was: a changed one is refused, since the database would no longer
be what the files say. Several runners at once are kept apart by an advisory lock.
"""

import hashlib
import os
import pathlib
import re
import subprocess
from urllib.parse import unquote

from place import StackError

FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
LOCK = 4_711_000_001
LEDGER = """CREATE TABLE IF NOT EXISTS control.migration (
    number int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now());"""


class Database:
    """One database by psql, as its URL says."""

    def __init__(self, url):
        self.url = url

    def run(self, script):
        """Run SQL text, stopping at the first error; the rows of its queries as text, unaligned."""
        # the password goes by environment: other users can read the arguments of a process
        url, password = split_password(self.url)
        env = dict(os.environ, PGCONNECT_TIMEOUT="10", PGOPTIONS="-c client_min_messages=warning")
        if password:
            env["PGPASSWORD"] = password
        argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]
        done = subprocess.run(argv, input=script, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(done.stderr.strip().replace("psql:<stdin>:", "line ") or "psql failed")
        return done.stdout.strip()


def split_password(url):
    """A PostgreSQL URL without its password, and the password or None."""
    found = re.match(r"^(postgres(?:ql)?://[^:/@?]*):([^@/]*)@(.*)$", url)
    return (f"{found[1]}@{found[3]}", unquote(found[2])) if found else (url, None)


def files(folder):
    """The migrations as (number, path), in order; a gap or a strange name is an error."""
    found = []
    for path in sorted(pathlib.Path(folder).glob("*.sql")):
        match = FILE_NAME.match(path.name)
        if not match:
            raise StackError(f"{path.name} is not named NNNN_words.sql")
        found.append((int(match[1]), path))
    numbers = [number for number, _ in found]
    if numbers != list(range(1, len(numbers) + 1)):
        raise StackError(f"the migrations in {folder} are not numbered 1, 2, 3 ...: {numbers}")
    return found


def applied(database):
    """{number: checksum} of what the database has."""
    if database.run("SELECT to_regclass('control.migration') IS NOT NULL;") != "t":
        return {}
    rows = database.run("SELECT number, checksum FROM control.migration;").splitlines()
    return {int(number): checksum for number, checksum in (row.split("|") for row in rows)}


def apply_one(database, number, path, checksum):
    quoted = str(path).replace("'", "''")
    database.run(f"""BEGIN;
SELECT pg_advisory_xact_lock({LOCK}) \\g /dev/null
\\i '{quoted}'
RESET ROLE;
{LEDGER}
INSERT INTO control.migration (number, name, checksum) VALUES ({number}, '{path.name}', '{checksum}');
COMMIT;
""")


def migrate(database, folder, say):
    """Bring the database up to the newest file; returns how many were applied."""
    wanted = [(number, path, hashlib.sha256(path.read_bytes()).hexdigest()) for number, path in files(folder)]
    have = applied(database)
    newest = wanted[-1][0] if wanted else 0
    if have and max(have) > newest:
        raise StackError(f"the database is at migration {max(have)}, newer than this checkout's {newest}")
    for number, path, checksum in wanted:
        if number in have and have[number] != checksum:
            raise StackError(f"{path.name} was changed after it had been applied: put it back, and write a new migration")
    missing = [row for row in wanted if row[0] not in have]
    for number, path, checksum in missing:
        say(f"migration {path.name}")
        try:
            apply_one(database, number, path, checksum)
        except StackError as error:
            if applied(database).get(number) == checksum:
                continue                # another runner was faster
            raise StackError(f"migration {path.name} failed: {error}") from None
    return len(missing)


def close_rights(database, script, warn):
    """Take from tenants' roles what PostgreSQL lets everybody do; says in words what stays open. Returns those words."""
    quoted = str(script).replace("'", "''")
    try:
        opened = database.run(f"""BEGIN;
SELECT pg_advisory_xact_lock({LOCK}) \\g /dev/null
\\i '{quoted}'
COMMIT;
""").splitlines()
    except StackError as error:
        raise StackError(f"{script.name} failed: {error}") from None
    for line in opened:
        warn(f"the database is less closed than it could be: {line}")
    return opened
