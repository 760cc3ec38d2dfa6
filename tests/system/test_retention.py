"""What a plan keeps no longer is dropped everywhere; what it keeps stays. Old rows are made old by SQL."""

import datetime
import json
import signal

import pytest

from kit.client import checked, problem
from kit.flows import Flow, noop
from kit.waiting import wait_until

FILE = "import pathlib; pathlib.Path('/work/out/a.txt').write_text('x' * 1000); print('{}')"


def make_old(stack, api, eid, days):
    """As if the execution had ended that long ago."""
    stack.sql(f"""UPDATE t_{api.tenant}.executions SET created_at = created_at - make_interval(days => {days}),
                  end_time = end_time - make_interval(days => {days}) WHERE id = %s""", eid)


def results_of(stack, eid):
    with stack.results() as results:
        return results.count_documents({"e": eid})


def rows_of(stack, api, table="executions"):
    return stack.sql(f"SELECT count(*) FROM t_{api.tenant}.{table}")[0][0]


def storage(stack, api):
    return sum(row[0] for row in stack.sql("SELECT bytes FROM control.usage_storage WHERE tenant = %s", api.tenant))


def sweep(stack):
    """Drop now: a scheduler does so when it starts, and each ten minutes."""
    stack.restart("scheduler-1")


def test_old_executions_go_with_all_they_left(stack, admin):
    flow = admin.create(Flow().code("write", FILE).output("{{ .inputs }}"))
    old, young = (admin.start(flow, {"n": n}) for n in range(2))
    for eid in (old, young):
        assert admin.wait(eid, 60)["execution"]["status"] == "succeeded"
    assert rows_of(stack, admin, "artifacts") == 2 and storage(stack, admin) == 2000
    assert results_of(stack, old) == results_of(stack, young) == 3
    make_old(stack, admin, old, 31)
    make_old(stack, admin, young, 29)
    sweep(stack)
    wait_until(lambda: admin.get(f"executions/{old}").status_code == 404, "the end of the old execution", 30)
    assert results_of(stack, old) == 0
    assert rows_of(stack, admin, "artifacts") == 1 and storage(stack, admin) == 1000
    assert admin.execution(young)["execution"]["outputs"] == {"n": 1}
    assert results_of(stack, young) == 3
    problem(admin.get(f"executions/{old}"), 404)


def test_what_was_said_to_models_goes_with_the_run(stack, admin):
    flow = admin.create(Flow().add("ask", "llm", prompt="Hello").output(1))
    old, young = (admin.start(flow) for _ in range(2))
    for eid in (old, young):
        assert admin.wait(eid, 60)["execution"]["usage"]["model_calls"] == 1
    make_old(stack, admin, old, 31)
    stack.sql("UPDATE control.model_call SET day = day - 31 WHERE eid = %s", old)
    sweep(stack)
    left = lambda: stack.sql("SELECT eid FROM control.model_call WHERE tenant = %s", admin.tenant)  # noqa: E731
    wait_until(lambda: len(left()) == 1, "the end of the old call", 30)
    assert str(left()[0][0]) == young
    problem(admin.get(f"executions/{old}"), 404)
    with stack.documents("exchanges") as exchanges:
        assert [exchanges.count_documents({"e": eid}) for eid in (old, young)] == [0, 1]
    runs = stack.sql("SELECT key FROM control.model_spent WHERE tenant = %s AND scope = 'run'", admin.tenant)
    assert [str(key) for key, in runs] == [young]


def test_deleted_flows_and_documents_that_nobody_names_go(stack, admin):
    ran, plain, back, kept = (admin.create(Flow().output(n), name=f"f{n}") for n in range(4))
    checked(admin.post(f"flows/{plain}/publish", json={}), 201)
    checked(admin.put(f"flows/{plain}", json=Flow().output("edited").document()), 200)
    eid = admin.start(ran)
    admin.wait(eid)
    for flow in (ran, plain, back):
        checked(admin.delete(f"flows/{flow}"), 204)
    checked(admin.put(f"flows/{kept}", json=Flow().output("kept").document()), 200)
    tidy = lambda: stack.sql("SELECT control.flows_tidy(%s)", json.dumps({"after": admin.tenant - 1, "limit": 100}))[0][0]  # noqa: E731
    documents = lambda: rows_of(stack, admin, "flow_docs")  # noqa: E731
    assert tidy() == {"tenant": admin.tenant, "flows": 0, "documents": 0} and documents() == 6
    stack.sql(f"UPDATE t_{admin.tenant}.flows SET deleted_at = deleted_at - interval '31 days'")
    checked(admin.post(f"flows/{back}/restore"), 200)
    assert tidy()["flows"] == 1, "one came back, of one there is a run"
    problem(admin.post(f"flows/{plain}/restore"), 404)
    make_old(stack, admin, eid, 31)
    sweep(stack)
    wait_until(lambda: rows_of(stack, admin) == 0, "the end of the run", 30)
    wait_until(lambda: rows_of(stack, admin, "flows") == 2, "the end of its flow", 30)
    assert tidy()["documents"] == 0, "noted, not dropped yet"
    stack.sql(f"UPDATE t_{admin.tenant}.flow_docs SET unused_since = unused_since - interval '25 hours'")
    admin.create(Flow().output("edited"), name="names one again")
    assert tidy()["documents"] == 3 and documents() == 3 and rows_of(stack, admin, "flow_versions") == 0
    assert admin.wait(admin.start(back))["execution"]["status"] == "succeeded"


def test_each_tenant_has_its_own_time(stack):
    short, long = stack.tenant(), stack.tenant()
    stack.sql("SELECT control.quota_set(%s, %s::json)", short.tenant, json.dumps({"retention_days": 2}))
    stack.sql("SELECT control.tenant_plan_set(%s, 'business')", long.tenant)
    runs = {}
    for api in (short, long):
        flow = api.create(noop())
        runs[api] = [api.start(flow) for _ in range(2)]
        for eid, days in zip(runs[api], (1, 3)):
            api.wait(eid)
            make_old(stack, api, eid, days)
    sweep(stack)
    wait_until(lambda: short.get(f"executions/{runs[short][1]}").status_code == 404, "the end of the short tenant's run", 30)
    checked(short.get(f"executions/{runs[short][0]}"), 200)
    assert rows_of(stack, long) == 2


def test_a_damaged_tenant_holds_up_no_other(stack):
    damaged, other = stack.tenant(), stack.tenant()
    for api in (damaged, other):
        eid = api.start(noop())
        api.wait(eid)
        make_old(stack, api, eid, 31)
    stack.sql(f"ALTER TABLE t_{damaged.tenant}.executions RENAME COLUMN end_time TO lost")
    sweep(stack)
    wait_until(lambda: rows_of(stack, other) == 0, "the end of the other's old run", 30)
    stack.sql(f"ALTER TABLE t_{damaged.tenant}.executions RENAME COLUMN lost TO end_time")
    sweep(stack)
    wait_until(lambda: rows_of(stack, damaged) == 0, "the end of the mended one's", 30)


def test_what_has_not_ended_stays(stack, admin):
    marker = admin.start(noop())
    admin.wait(marker)
    running = admin.start(Flow().code("sleep", "import time; time.sleep(60)").output(1))
    for eid in (marker, running):
        make_old(stack, admin, eid, 100)
    sweep(stack)
    wait_until(lambda: admin.get(f"executions/{marker}").status_code == 404, "the end of the old one", 30)
    assert admin.status(running) in ("queued", "running")
    admin.cancel(running)


def test_old_fires_go(stack, admin):
    body = {"flow_id": admin.create(noop()), "name": "x", "cron": "0 0 1 1 *", "enabled": False}
    schedule = checked(admin.post("schedules", json=body), 201).json()["schedule"]["id"]
    for _ in range(3):
        checked(admin.post(f"schedules/{schedule}/run"), 202)
    stack.sql("""UPDATE control.fire SET created_at = created_at - interval '31 days' WHERE ctid IN (
                 SELECT ctid FROM control.fire WHERE schedule_id = %s ORDER BY fire_at LIMIT 2)""", schedule)
    sweep(stack)

    def seen():
        return len(checked(admin.get(f"schedules/{schedule}/fires"), 200).json()["fires"])
    wait_until(lambda: seen() == 1, "the end of old fires", 30)


@pytest.mark.parametrize("count", [700])
def test_it_goes_on_after_a_kill_and_takes_little_at_a_time(stack, admin, count):
    flow = admin.create(noop())
    eid = admin.start(flow)
    admin.wait(eid)
    stack.sql(f"""INSERT INTO t_{admin.tenant}.executions (id, flow_id, doc_hash, user_id, status, created_at, end_time,
                                                          deadline, inputs)
                  SELECT gen_random_uuid(), flow_id, doc_hash, user_id, 'succeeded', now() - interval '40 days' + n * interval '1 s',
                         now() - interval '39 days', now() - interval '39 days', '{{}}'
                  FROM t_{admin.tenant}.executions, generate_series(1, {count}) n WHERE id = %s""", eid)
    stack.kill("scheduler-1", signal.SIGTERM)
    wait_until(lambda: rows_of(stack, admin) < count, "a beginning", 30)
    stack.kill("scheduler-1", signal.SIGKILL)
    wait_until(lambda: rows_of(stack, admin) == 1, "the end of all old ones", 60)
    checked(admin.get(f"executions/{eid}"), 200)


def test_nothing_is_counted_twice_by_a_day_that_lost_its_executions(stack, admin):
    """Usage by day outlives the executions."""
    for _ in range(2):
        admin.wait(admin.start(noop()))
    yesterday = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=40)
    stack.sql("INSERT INTO control.tenant_day (tenant, day, executions) VALUES (%s, %s, 77)", admin.tenant, yesterday)
    sweep(stack)
    days = checked(admin.get("usage", params={"days": 60}), 200).json()["days"]
    assert {day["day"]: day["executions"] for day in days}[yesterday.isoformat()] == 77
    assert days[0]["executions"] == 2
