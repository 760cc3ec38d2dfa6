"""The audit log: written with the change, sealed into a chain, shipped, listed, exported, verified."""

import hashlib
import json

import psycopg
import pymongo
import pytest

from kit.client import checked, fault_paths, problem
from kit.waiting import wait_until


def note(stack, tenant, count, action="test.note"):
    """Write entries as an operation's function does: in a transaction under the tenant's role."""
    with stack.postgres() as connection, connection.transaction():
        connection.execute(f"SET LOCAL ROLE t_{tenant}")
        for number in range(count):
            connection.execute("SELECT control.audit(%s, %s, 'thing', %s, %s)",
                               (json.dumps({"user": None, "ip": "192.0.2.1", "request_id": "r"}), action, str(number),
                                json.dumps({"number": number, "text": "ä \"quoted\" \\ 日本"})))


def lines_of(api, after=0):
    answer = checked(api.get(f"audit-log/export?after_seq={after}"), 200)
    return [json.loads(line) for line in answer.text.splitlines()]


def shipped(stack, tenant):
    return stack.sql("SELECT count(*) FROM control.audit_outbox WHERE tenant = %s", tenant)[0][0] == 0


def await_shipped(stack, tenant):
    wait_until(lambda: shipped(stack, tenant), "everything being shipped")


def chain_holds(lines):
    prev = ""
    for number, line in enumerate(lines, 1):
        assert line["seq"] == number and line["prev"] == prev
        assert line["hash"] == hashlib.sha256((prev + line["entry"]).encode()).hexdigest()
        assert json.loads(line["entry"])["seq"] == number
        prev = line["hash"]
    return True


@pytest.fixture
def log(stack):
    """The documents of the audit log."""
    with pymongo.MongoClient(stack.urls["mongodb"], serverSelectionTimeoutMS=5000) as client:
        yield client.get_default_database("windlass")["audit_log"]


def test_entries_come_out_as_a_chain(stack, admin):
    note(stack, admin.tenant, 450)
    await_shipped(stack, admin.tenant)
    lines = lines_of(admin)
    assert len(lines) >= 450 and chain_holds(lines)
    entry = json.loads(next(line for line in lines if "test.note" in line["entry"])["entry"])
    assert entry["metadata"]["text"] == "ä \"quoted\" \\ 日本" and entry["ip"] == "192.0.2.1"
    assert lines_of(admin, after=lines[-2]["seq"])[0] == lines[-1]
    verdict = checked(admin.get("audit-log/verify"), 200).json()
    assert verdict["ok"], verdict


def test_the_list_pages_and_filters(stack, admin):
    note(stack, admin.tenant, 230, "test.many")
    note(stack, admin.tenant, 3, "test.few")
    await_shipped(stack, admin.tenant)
    seen, cursor = [], None
    while True:
        answer = checked(admin.get("audit-log", params={"limit": 100, "action": "test.many",
                                                        **({"cursor": cursor} if cursor else {})}), 200).json()
        seen += [entry["seq"] for entry in answer["entries"]]
        cursor = answer["page_info"]["next_cursor"]
        if not cursor:
            break
    assert len(seen) == 230 and seen == sorted(seen, reverse=True) and len(set(seen)) == 230
    few = checked(admin.get("audit-log", params={"action": "test.few", "resource_id": "1"}), 200).json()["entries"]
    assert [entry["metadata"]["number"] for entry in few] == [1]
    first = few[0]["time"]
    assert checked(admin.get("audit-log", params={"to": "2020-01-01T00:00:00Z"}), 200).json()["entries"] == []
    assert checked(admin.get("audit-log", params={"from": "2999-01-01T00:00:00+02:00"}), 200).json()["entries"] == []
    assert first in [entry["time"] for entry in checked(
        admin.get("audit-log", params={"from": first, "limit": 5}), 200).json()["entries"]]


def test_bad_parameters_are_named(admin):
    assert fault_paths(admin.get("audit-log", params={"cursor": "x"}), 400) == ["cursor"]
    assert fault_paths(admin.get("audit-log", params={"cursor": "9" * 18}), 400) == ["cursor"]
    assert fault_paths(admin.get("audit-log", params={"from": "yesterday, about noon"}), 400) == ["from"]
    assert fault_paths(admin.get("audit-log", params={"to": "2026-13-01T00:00:00Z"}), 400) == ["to"]


def test_only_admins_read_it_and_only_their_own(stack, admin):
    note(stack, admin.tenant, 5)
    await_shipped(stack, admin.tenant)
    for role in ("viewer", "executor", "editor"):
        user = stack.user(admin, role)
        for path in ("audit-log", "audit-log/export", "audit-log/verify"):
            problem(user.get(path), 403)
    stranger = stack.tenant()
    assert not [entry for entry in checked(stranger.get("audit-log"), 200).json()["entries"]
                if entry["action"] == "test.note"]
    assert "test.note" not in checked(stranger.get("audit-log/export"), 200).text


@pytest.mark.parametrize("damage", ["change", "remove", "remove the last", "hash anew"])
def test_damage_is_found(stack, admin, log, damage):
    note(stack, admin.tenant, 20)
    await_shipped(stack, admin.tenant)
    last = lines_of(admin)[-1]["seq"]
    at = last if damage == "remove the last" else last - 7
    one = log.find_one({"_id": f"{admin.tenant}/{at}"})
    if damage.startswith("remove"):
        log.delete_one({"_id": one["_id"]})
    else:
        text = one["j"].replace("test.note", "test.nope")
        more = {"h": hashlib.sha256((one["v"] + text).encode()).hexdigest()} if damage == "hash anew" else {}
        log.update_one({"_id": one["_id"]}, {"$set": {"j": text, **more}})
    verdict = checked(admin.get("audit-log/verify"), 200).json()
    assert not verdict["ok"] and verdict["first_bad_seq"] == (at + 1 if damage == "hash anew" else at), verdict


def test_an_entry_is_kept_only_when_its_change_is(stack, admin):
    with stack.postgres() as connection:
        with pytest.raises(ZeroDivisionError), connection.transaction():
            connection.execute(f"SET LOCAL ROLE t_{admin.tenant}")
            connection.execute("SELECT control.audit('{}', 'test.undone', 'thing', '1')")
            raise ZeroDivisionError
    note(stack, admin.tenant, 1)
    await_shipped(stack, admin.tenant)
    text = checked(admin.get("audit-log/export"), 200).text
    assert "test.note" in text and "test.undone" not in text


def test_a_tenant_cannot_touch_the_log_by_sql(stack, admin):
    for statement in ("DELETE FROM control.audit_outbox", "UPDATE control.audit_head SET seq = 0",
                      "SELECT * FROM control.audit_outbox", "SELECT control.audit_seal('{\"limit\":1}')",
                      "SELECT control.audit_shipped('{\"ids\":[1]}')", "SELECT control.audit_for(1, '{}', 'a', 'b', 'c')"):
        with stack.postgres() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE t_{admin.tenant}")
                connection.execute(statement)
