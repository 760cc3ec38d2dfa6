"""Exports as tests ask for them."""

from kit.client import checked
from kit.waiting import wait_until


def ask(api, **body):
    """Ask for an export; as it is answered, not made yet."""
    return checked(api.post("exports", json=body), 202).json()["export"]


def look(api, export):
    return checked(api.get(f"exports/{export['id']}"), 200).json()["export"]


def ended(api, export, seconds=60):
    """The export when it is ready or has failed."""
    def final():
        now = look(api, export)
        return now if now["state"] in ("ready", "failed") else None
    return wait_until(final, f"the end of export {export['id']}", seconds)


def export(api, seconds=60, **body):
    """Ask for an export and wait for it; it has to become ready."""
    made = ended(api, ask(api, **body), seconds)
    assert made["state"] == "ready", made
    return made


def content(api, export, status=200, **headers):
    return checked(api.get(f"exports/{export['id']}/content", headers=headers), status)
