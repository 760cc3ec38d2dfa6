"""The checks of the fault tests, on truths that were broken by hand: each has to be noticed."""

import json
import subprocess
import uuid

import pytest

from kit import invariants
from kit.effects import EffectServer
from kit.client import parse_events
from kit.stack import ROOT, Stack


@pytest.fixture(scope="module")
def servers():
    with Stack("servers-for-kit", servers_only=True) as running:
        yield running


@pytest.fixture
def tenant(servers):
    """A tenant with ten succeeded executions, as accept and finish leave them."""
    slug = "t" + uuid.uuid4().hex[:12]
    number = servers.sql("SELECT tenant FROM control.register(%s, 'x', gen_random_uuid(), 'a@b.test', 'x')", slug)[0][0]
    rows = servers.sql(f"""INSERT INTO t_{number}.executions (id, flow_id, doc_hash, user_id, status, deadline, inputs)
        SELECT gen_random_uuid(), gen_random_uuid(), '', gen_random_uuid(), 'succeeded', now(), '{{}}' FROM generate_series(1, 10)
        RETURNING id::text""")
    servers.sql("INSERT INTO control.tenant_day (tenant, day, executions) VALUES (%s, current_date, 10)", number)
    ids = [row[0] for row in rows]
    with servers.results() as results:
        results.insert_many([{"_id": f"{eid}/{node}", "t": number, "e": eid, "n": node, "c": True, "s": "succeeded", "p": 1}
                             for eid in ids for node in ("start", "out")])
    yield number, ids
    with servers.results() as results:
        results.delete_many({"e": {"$in": ids}})
    servers.sql(f"TRUNCATE t_{number}.executions")
    servers.sql("DELETE FROM control.tenant_day WHERE tenant = %s", number)
    servers.sql("DELETE FROM control.dispatch WHERE tenant = %s", number)
    servers.sql("DELETE FROM control.idem WHERE tenant = %s", number)


def test_an_unharmed_truth_passes(servers, tenant):
    assert invariants.check_all(servers, tenant[1], ("start", "out"), seconds=5) == {"succeeded": 10}


def test_a_lost_execution_is_noticed(servers, tenant):
    with pytest.raises(AssertionError, match="have no row"):
        invariants.check_terminal(servers, [*tenant[1], str(uuid.uuid4())])


def test_an_execution_that_is_not_final_is_noticed(servers, tenant):
    servers.sql(f"UPDATE t_{tenant[0]}.executions SET status = 'running' WHERE id = %s", tenant[1][0])
    with pytest.raises(AssertionError, match="not final"):
        invariants.check_terminal(servers, tenant[1])


def test_a_miscounted_quota_is_noticed(servers, tenant):
    servers.sql("UPDATE control.tenant_day SET executions = 11 WHERE tenant = %s", tenant[0])
    with pytest.raises(AssertionError, match="the quota counted 11"):
        invariants.check_counts(servers)


def test_a_missing_or_uncommitted_result_is_noticed(servers, tenant):
    with servers.results() as results:
        results.update_one({"_id": f"{tenant[1][0]}/out"}, {"$set": {"c": False}})
    with pytest.raises(AssertionError, match="not committed"):
        invariants.check_results(servers, tenant[1], ("start", "out"))
    with servers.results() as results:
        results.delete_one({"_id": f"{tenant[1][0]}/out"})
    with pytest.raises(AssertionError, match="no result of"):
        invariants.check_results(servers, tenant[1], ("start", "out"))


def test_a_key_without_an_execution_is_noticed(servers, tenant):
    servers.sql("INSERT INTO control.idem (tenant, key, req_hash, eid) VALUES (%s, 'k', '', gen_random_uuid())", tenant[0])
    with pytest.raises(AssertionError, match="without an execution"):
        invariants.check_keys(servers)


def test_a_full_ledger_is_noticed(servers, tenant):
    servers.sql("""INSERT INTO control.dispatch (eid, tenant, shard, deadline, flow_id, doc_hash)
                   VALUES (gen_random_uuid(), %s, 0, now(), gen_random_uuid(), '')""", tenant[0])
    with pytest.raises(AssertionError, match="empty ledger"):
        invariants.quiesce(servers, 0.3)


def test_keys_and_files_that_stay_are_noticed(servers, tenant):
    servers.redis().sadd("{01}:run:1", "x")
    with pytest.raises(AssertionError, match=r"\{01\}:run:1"):
        invariants.check_nothing_left(servers, 0.3)
    servers.redis().flushall()
    servers.redis().zadd("{15}:lease", {"x": 1})
    assert invariants.left_in_redis(servers) == ["{15}:lease"]
    servers.redis().flushall()
    spool = servers.home / "spool" / "left"
    spool.write_text("x")
    with pytest.raises(AssertionError, match="spool/left"):
        invariants.check_nothing_left(servers, 0.3)
    spool.unlink()


def test_running_above_the_cap_is_noticed(servers, tenant):
    servers.sql("UPDATE control.quota SET max_concurrent = 1 WHERE tenant = %s", tenant[0])
    servers.sql("""INSERT INTO control.dispatch (eid, tenant, shard, state, deadline, flow_id, doc_hash)
                   SELECT gen_random_uuid(), %s, 0, 'R', now(), gen_random_uuid(), '' FROM generate_series(1, 2)""", tenant[0])
    watch = invariants.CapWatch(servers)
    with servers.postgres() as connection:
        for _ in range(6):
            watch.sample(connection)
    with pytest.raises(AssertionError, match="than the cap"):
        watch.check()


def visit(server, execution, number):
    import httpx
    httpx.post(server.effect_url(f"n{number}", number).replace("{{ .execution.id }}", execution), trust_env=False)


def test_a_node_that_runs_again_is_noticed():
    with EffectServer() as server:
        for number in (0, 0, 1, 2, 2):
            visit(server, "retried in place", number)
        assert server.going_back(["retried%20in%20place"]) == []
        for number in (0, 1, 0, 2):
            visit(server, "went back", number)
        assert server.going_back(["retried%20in%20place", "went%20back"]) == [("went%20back", [0, 1, 0, 2])]


def test_a_late_visit_of_another_test_is_not_held_against_this_one():
    with EffectServer() as server:
        for number in (0, 1, 2, 0):
            visit(server, "before", number)
        assert server.going_back(["mine"]) == []


def test_events_are_parsed_as_the_standard_says():
    lines = [": comment", "id: 1-0", "event: node", 'data: {"a":', "data: 1}", "", 'data:{"b": 2}', "", "event: x", ""]
    assert list(parse_events(lines)) == [("1-0", "node", {"a": 1}), ("1-0", "message", {"b": 2})]


def test_the_load_generator_counts_right(tmp_path):
    binary = tmp_path / "http_load"
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(binary),
                    str(ROOT / "tests" / "load" / "http_load.c")], check=True)

    def run(*arguments):
        done = subprocess.run([str(binary), "--port", str(server.port), *arguments], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    with EffectServer() as server:
        result = run("--path", "/effect/run/n/0", "--count", "50", "--connections", "5", "--ids", str(tmp_path / "ids"),
                     "--id-key", "visit")
        assert result["ok"] == 50 and result["broken"] == 0 and result["status"] == {"200": 50}
        assert len(server.visited("run")) == 50
        result = run("--path", "/status/503", "--count", "7", "--connections", "2")
        assert result["ok"] == 0 and result["status"] == {"503": 7}
        result = run("--path", "/slow/0.1", "--count", "4", "--connections", "1")
        assert 100000 <= result["p50"] < 1000000
        result = run("--path", "/echo", "--rate", "50", "--seconds", "1", "--connections", "4")
        assert 40 <= result["ok"] <= 60
        result = run("--path", "/reset", "--count", "3", "--connections", "1")
        assert result["ok"] == 0 and result["broken"] == 3
