"""Make an operator of the platform, or give one a new password: `make operator EMAIL=ops@example.org`.

The password comes from WINDLASS_PASSWORD or is asked for on a terminal; an empty answer, or no terminal, makes one up and
prints it once. The database is the one of WINDLASS_POSTGRES_ADMIN_URL or WINDLASS_POSTGRES_URL, else the private one of
the stack that runs in WINDLASS_HOME.
"""

import ctypes
import ctypes.util
import getpass
import os
import pathlib
import re
import secrets
import sys

from migrate import Database
from place import Place, StackError
from services import DATABASE, PrivatePostgres

ROOT = pathlib.Path(__file__).resolve().parents[2]
EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
LEAST, MOST = 10, 200
# as lib/secrets/password.h has them
PASSES, MEMORY, ARGON2ID13, HASH_BYTES = 2, 32 << 20, 2, 128


def hashed(password):
    """The stored form of a password: Argon2id by libsodium, under a fresh salt."""
    sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
    text, plain = ctypes.create_string_buffer(HASH_BYTES), password.encode()
    if sodium.sodium_init() < 0 or sodium.crypto_pwhash_str_alg(
            text, plain, ctypes.c_ulonglong(len(plain)), ctypes.c_ulonglong(PASSES), ctypes.c_size_t(MEMORY),
            ctypes.c_int(ARGON2ID13)) != 0:
        raise StackError("there is no memory to hash the password")
    return text.value.decode()


def choose_password():
    """The password, and whether it was made up here."""
    given = os.environ.get("WINDLASS_PASSWORD")
    if not given and sys.stdin.isatty():
        given = getpass.getpass("Password (empty: one is made up): ")
        if given and getpass.getpass("The same again: ") != given:
            raise StackError("the two are not the same")
    if not given:
        return secrets.token_urlsafe(18), True
    if not LEAST <= len(given) <= MOST:
        raise StackError(f"a password has {LEAST} to {MOST} characters")
    return given, False


def database(env):
    """Where the operators are kept, with rights to change them."""
    url = env.get("WINDLASS_POSTGRES_ADMIN_URL") or env.get("WINDLASS_POSTGRES_URL")
    if url:
        return Database(url), None
    home = pathlib.Path(env.get("WINDLASS_HOME") or ROOT / ".windlass").resolve()
    # a socket's path is short; by the folder's descriptor it always is
    folder = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Database(PrivatePostgres(Place(ROOT, home, "build/bin")).url(
        "postgres", DATABASE, f"/proc/{os.getpid()}/fd/{folder}")), home


def make(email):
    """Make the operator; what to print."""
    if not EMAIL.fullmatch(email):
        raise StackError("say whom: make operator EMAIL=ops@example.org")
    target, home = database(os.environ)
    password, made_up = choose_password()
    quoted = email.replace("'", "''")
    try:
        outcome = target.run(f"SET ROLE windlass_owner; SELECT control.operator_put('{quoted}', '{hashed(password)}');")
    except StackError as error:
        where = f"the stack of {home}: is it running?" if home else "the database"
        raise StackError(f"cannot reach {where}\n{error}") from None
    said = f"operator {email} was {'made' if outcome == 'made' else 'given a new password'}"
    return f"{said}; the password, shown this once: {password}" if made_up else said


def main(argv):
    try:
        print(make(argv[1] if len(argv) == 2 else ""))
    except (StackError, OSError) as error:
        print(f"windlass: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
