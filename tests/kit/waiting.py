"""Waiting for a state, never for a time."""

import time


class Late(AssertionError):
    """A state did not come before its deadline."""


def wait_until(look, what, seconds=20.0, every=0.02, forgive=()):
    """Call `look` until it gives something true; that is returned. Exceptions in `forgive` count as not yet."""
    deadline = time.monotonic() + seconds
    seen = None
    while True:
        try:
            seen = look()
        except forgive as error:
            seen = error
        else:
            if seen:
                return seen
        if time.monotonic() > deadline:
            raise Late(f"{what} did not happen within {seconds:g} s; last seen: {seen!r}")
        time.sleep(every)


def holds_for(look, what, seconds):
    """`look` stays true all the time: for promises that something does not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = look()
        assert seen, f"{what} stopped being true: {seen!r}"
        time.sleep(0.02)
