"""Schedules: what is taken, when they fire, and what becomes of fires that cannot be."""

import concurrent.futures
import datetime
import threading

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.waiting import holds_for, wait_until

pytestmark = pytest.mark.long

UTC = datetime.timezone.utc
EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 1 1 *"
SLOW = Flow().code("sleep", "import time; time.sleep(60)").output("late")


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def make(api, flow=None, cron=NEVER_SOON, status=201, **more):
    flow_id = flow if isinstance(flow, str) else api.create(flow or noop())
    answer = checked(api.post("schedules", json={"flow_id": flow_id, "name": "a schedule", "cron": cron, **more}), status)
    return answer.json()["schedule"] if status == 201 else answer


def change(api, schedule, **body):
    return checked(api.put(f"schedules/{schedule['id']}", json=body), 200).json()["schedule"]


def fires(api, schedule, limit=100):
    """Its fires, oldest first."""
    answer = checked(api.get(f"schedules/{schedule['id']}/fires", params={"limit": limit}), 200).json()
    return answer["fires"][::-1]


def outcomes(api, schedule):
    return [fire["outcome"] for fire in fires(api, schedule)]


def age(stack, schedule, since):
    """Make a schedule one that last looked at the clock that long ago: as after a time without any scheduler."""
    (first,), = stack.sql("""UPDATE control.schedule SET next_at = date_trunc('minute', now() - %s) WHERE id = %s
                             RETURNING next_at""", since, schedule["id"])
    return first


def minutes(number):
    return datetime.timedelta(minutes=number)


# ---- firing ------------------------------------------------------------------------------------------
def test_each_second_fires_once_and_in_time(admin):
    schedule = make(admin, Flow().output("{{ .inputs.n + 1 }}"), EVERY_SECOND, inputs={"n": 41}, labels={"by": "clock"})
    seen = wait_until(lambda: len(fires(admin, schedule)) >= 6 and fires(admin, schedule), "six fires", 30)
    change(admin, schedule, enabled=False)
    times = [moment(fire["fire_at"]) for fire in seen]
    assert [late - early for early, late in zip(times, times[1:])] == [datetime.timedelta(seconds=1)] * (len(times) - 1)
    assert times[0] > moment(schedule["created_at"])
    assert {fire["outcome"] for fire in seen} == {"started"}
    assert len({fire["execution_id"] for fire in seen}) == len(seen)
    run = admin.wait(seen[0]["execution_id"])["execution"]
    assert (run["status"], run["outputs"], run["labels"]) == ("succeeded", 42, {"by": "clock"})
    assert (run["source"], run["source_id"]) == ("schedule", schedule["id"])


@pytest.mark.alone
def test_a_fire_is_not_half_a_second_late(admin):
    schedule = make(admin, noop(), EVERY_SECOND)
    wait_until(lambda: len(fires(admin, schedule)) >= 12, "twelve fires", 40)
    change(admin, schedule, enabled=False)
    late = sorted((moment(fire["created_at"]) - moment(fire["fire_at"])).total_seconds() for fire in fires(admin, schedule))
    assert late[0] >= 0 and late[len(late) // 2] < 0.5, late     # the middle one: tests share their machine


def test_the_next_fires_are_shown_and_move_on(admin):
    schedule = make(admin, noop(), "*/2 * * * * *")
    first = moment(schedule["next_fires"][0])
    assert len(schedule["next_fires"]) == 5 and schedule["last_fire"] is None
    wait_until(lambda: fires(admin, schedule), "a fire", 20)
    now = checked(admin.get(f"schedules/{schedule['id']}"), 200).json()["schedule"]
    assert moment(now["next_fires"][0]) > first <= moment(now["last_fire"])


def test_a_paused_schedule_does_not_fire_and_goes_on_from_now(stack, admin):
    schedule = make(admin, noop(), EVERY_SECOND, enabled=False)
    assert schedule["next_fires"] == []
    holds_for(lambda: not fires(admin, schedule), "nothing fires", 2)
    change(admin, schedule, enabled=True)
    wait_until(lambda: fires(admin, schedule), "a fire", 20)
    change(admin, schedule, enabled=False)
    count = len(fires(admin, schedule))
    holds_for(lambda: len(fires(admin, schedule)) == count, "nothing fires while it is paused", 2)
    changed = change(admin, schedule, enabled=True)
    assert moment(changed["next_fires"][0]) > moment(changed["updated_at"]) - datetime.timedelta(seconds=1)


def test_by_hand(admin):
    schedule = make(admin, noop(), enabled=False, inputs={"a": 1})
    answer = checked(admin.post(f"schedules/{schedule['id']}/run"), 202)
    eid = answer.json()["execution_id"]
    assert answer.headers["Location"] == f"/api/v1/executions/{eid}"
    assert admin.wait(eid)["execution"]["outputs"] == {"a": 1}
    fire, = fires(admin, schedule)
    assert (fire["outcome"], fire["execution_id"], fire["detail"]) == ("started", eid, "by hand")


# ---- missed fires ----------------------------------------------------------------------------------------
def test_latest_makes_up_for_the_last_missed_fire(stack, admin):
    schedule = make(admin, noop(), "0 */2 * * *", misfire="latest")
    first = age(stack, schedule, minutes(60 * 30))
    seen = wait_until(lambda: any(fire["outcome"] == "started" for fire in fires(admin, schedule)) and fires(admin, schedule),
                      "the late fire", 20)
    started = [fire for fire in seen if fire["outcome"] == "started"]
    assert len(started) == 1
    now = datetime.datetime.now(UTC)
    assert now - moment(started[0]["fire_at"]) < minutes(121) and moment(started[0]["fire_at"]).minute == 0
    skipped, = (fire for fire in seen if fire["outcome"] == "skipped")
    assert moment(skipped["fire_at"]) == first and "missed" in skipped["detail"]


def test_skip_leaves_missed_fires_alone(stack, admin):
    schedule = make(admin, noop(), NEVER_SOON, misfire="skip")
    age(stack, schedule, minutes(10))
    wait_until(lambda: fires(admin, schedule), "the missed fire", 20)
    assert outcomes(admin, schedule) == ["skipped"]
    assert not stack.sql("SELECT FROM control.schedule WHERE id = %s AND next_at <= now()", schedule["id"])


@pytest.mark.parametrize(("ago", "count"), [(minutes(65), 13), (minutes(60 * 30), 100)])
def test_all_makes_up_for_a_day_and_a_hundred(stack, admin, ago, count):
    schedule = make(admin, noop(), "*/5 * * * *", misfire="all")
    stack.sql("""UPDATE control.schedule SET next_at = to_timestamp(ceil(extract(epoch FROM now() - %s) / 300) * 300)
                 WHERE id = %s""", ago, schedule["id"])
    wait_until(lambda: len(fires(admin, schedule)) >= count - 1, "the late fires", 60)
    started = [fire for fire in fires(admin, schedule) if fire["outcome"] == "started"]
    assert count - 1 <= len(started) <= count
    assert len({fire["fire_at"] for fire in started}) == len(started)
    executions = checked(admin.get("executions", params={"limit": 100, "flow_id": schedule["flow_id"]}), 200).json()
    assert len(executions["executions"]) == len(started)


def test_what_is_late_by_less_than_a_minute_was_not_missed(stack, admin):
    """Each second of the pause of a scheduler that was started again, whatever the policy."""
    schedule = make(admin, noop(), EVERY_SECOND, misfire="skip")
    stack.sql("UPDATE control.schedule SET next_at = date_trunc('second', now()) - interval '30 s' WHERE id = %s",
              schedule["id"])
    wait_until(lambda: len(fires(admin, schedule)) >= 30, "the late fires", 30)
    change(admin, schedule, enabled=False)
    times = [moment(fire["fire_at"]) for fire in fires(admin, schedule)]
    assert [late - early for early, late in zip(times, times[1:])] == [datetime.timedelta(seconds=1)] * (len(times) - 1)
    assert set(outcomes(admin, schedule)) == {"started"}


# ---- runs that overlap --------------------------------------------------------------------------------------
def test_forbid_skips_while_a_run_has_not_ended(admin):
    schedule = make(admin, SLOW, EVERY_SECOND, overlap="forbid")
    wait_until(lambda: outcomes(admin, schedule)[1:3] == ["skipped", "skipped"], "skipped fires", 30)
    first = fires(admin, schedule)[0]
    assert first["outcome"] == "started" and "not ended" in fires(admin, schedule)[1]["detail"]
    checked(admin.cancel(first["execution_id"]), 202)
    wait_until(lambda: outcomes(admin, schedule).count("started") == 2, "a run after the cancelled one", 30)
    change(admin, schedule, enabled=False)
    admin.cancel([fire for fire in fires(admin, schedule) if fire["outcome"] == "started"][-1]["execution_id"])


def test_replace_cancels_the_run_before(admin):
    schedule = make(admin, SLOW, "*/3 * * * * *", overlap="replace")
    wait_until(lambda: outcomes(admin, schedule)[:2] == ["started", "started"], "two fires", 30)
    change(admin, schedule, enabled=False)
    old, new = (fire["execution_id"] for fire in fires(admin, schedule)[:2])
    assert admin.wait(old, 30)["execution"]["status"] == "cancelled"
    assert "cancelled" in fires(admin, schedule)[1]["detail"]
    admin.cancel(new)


def test_whoever_watches_a_run_is_told_that_it_was_replaced(stack, admin):
    """One that no supervisor holds, as it waits for a person: nobody else would tell."""
    waits = Flow().add("ask", "approval", message="go on?").output("done", after=("ask", "approved"))
    schedule = make(admin, waits, "*/4 * * * * *", overlap="replace")
    wait_until(lambda: outcomes(admin, schedule)[:2] == ["started", "started"], "two fires", 30)
    change(admin, schedule, enabled=False)
    old, new = (fire["execution_id"] for fire in fires(admin, schedule)[:2])
    assert admin.status(old) == "cancelled"
    last = lambda: str(stack.redis().xrevrange(f"ev:{{{old}}}", count=1))  # noqa: E731
    wait_until(lambda: "'end'" in last() and "cancelled" in last(), "the event of its end", 10)
    assert stack.redis().ttl(f"ev:{{{old}}}") > 0
    admin.cancel(new)


# ---- fires that are refused -------------------------------------------------------------------------------------
def test_a_full_day_is_shown_in_the_fires(stack, admin):
    stack.quota(admin.tenant, max_executions_per_day=1)
    schedule = make(admin, noop(), EVERY_SECOND)
    wait_until(lambda: outcomes(admin, schedule)[:3] == ["started", "refused", "refused"], "refused fires", 30)
    assert "1 executions of this day are used up" in fires(admin, schedule)[1]["detail"]
    change(admin, schedule, enabled=False)


def test_a_schedule_keeps_its_newest_fires(stack, admin):
    """What fires each second with nothing left of the day would fill the disk of all, at no cost of its own."""
    stack.quota(admin.tenant, max_executions_per_day=0)
    schedule = make(admin, noop(), EVERY_SECOND, enabled=False)
    stack.sql("""INSERT INTO control.fire (schedule_id, tenant, fire_at, outcome)
                 SELECT id, tenant, now() - n * interval '1 s', 'refused' FROM control.schedule, generate_series(1, 1495) n
                 WHERE id = %s""", schedule["id"])
    stack.sql("UPDATE control.schedule SET fires = 1495 WHERE id = %s", schedule["id"])
    count = lambda: stack.sql("SELECT count(*) FROM control.fire WHERE schedule_id = %s", schedule["id"])[0][0]  # noqa: E731
    change(admin, schedule, enabled=True)
    wait_until(lambda: 1000 <= count() < 1495, "the oldest fires to be gone", 30)
    assert len(fires(admin, schedule)) == 100
    checked(admin.delete(f"schedules/{schedule['id']}"), 204)
    assert count() == 0


def test_an_archived_flow_is_refused_once_and_runs_again_later(stack, admin):
    flow = admin.create(noop())
    schedule = make(admin, flow, EVERY_SECOND)
    wait_until(lambda: fires(admin, schedule), "a fire", 20)
    checked(admin.put(f"flows/{flow}", json={"status": "archived"}), 200)
    wait_until(lambda: "refused" in outcomes(admin, schedule), "a refused fire", 20)
    holds_for(lambda: outcomes(admin, schedule).count("refused") == 1, "one refusal is enough", 3)
    checked(admin.put(f"flows/{flow}", json={"status": "draft"}), 200)
    wait_until(lambda: outcomes(admin, schedule)[-1] == "started", "fires go on", 20)
    checked(admin.delete(f"flows/{flow}"), 204)
    wait_until(lambda: outcomes(admin, schedule)[-1] == "refused", "a refused fire", 20)
    assert fires(admin, schedule)[-1]["detail"] == "the flow is deleted"
    checked(admin.delete(f"schedules/{schedule['id']}"), 204)


def test_a_suspended_tenant_fires_nothing(stack, admin):
    schedule = make(admin, noop(), EVERY_SECOND)
    wait_until(lambda: fires(admin, schedule), "a fire", 20)
    stack.sql("UPDATE control.tenant SET state = 'suspended' WHERE id = %s", admin.tenant)

    def seen():
        return [row[0] for row in stack.sql("SELECT outcome FROM control.fire WHERE schedule_id = %s ORDER BY fire_at",
                                            schedule["id"])]
    wait_until(lambda: seen()[-1] == "refused", "a refused fire", 20)
    count = len(seen())
    holds_for(lambda: len(seen()) == count, "it is told once", 3)
    stack.sql("UPDATE control.tenant SET state = 'active' WHERE id = %s", admin.tenant)
    wait_until(lambda: seen()[-1] == "started", "fires go on", 20)
    change(admin, schedule, enabled=False)


def test_a_zone_that_is_gone_stops_its_schedule_alone(stack, admin):
    good, bad = make(admin, noop(), EVERY_SECOND), make(admin, noop(), EVERY_SECOND, timezone="Europe/Zurich")
    stack.sql("UPDATE control.schedule SET timezone = 'Europe/Atlantis' WHERE id = %s", bad["id"])
    wait_until(lambda: "refused" in outcomes(admin, bad), "a refused fire", 20)
    assert "no time zone 'Europe/Atlantis'" in fires(admin, bad)[-1]["detail"]
    count = len(fires(admin, good))
    wait_until(lambda: len(fires(admin, good)) > count + 1, "the other one goes on", 20)
    change(admin, good, enabled=False)
    assert change(admin, bad, timezone="UTC", cron=NEVER_SOON)["next_fires"]


def test_a_damaged_tenant_holds_up_no_other(stack, admin):
    other = stack.tenant()
    bad, good = make(other, noop(), EVERY_SECOND), make(admin, noop(), EVERY_SECOND)
    stack.sql(f"ALTER TABLE t_{other.tenant}.executions RENAME TO lost")
    wait_until(lambda: "refused" in outcomes(other, bad), "a refused fire", 20)
    assert "cannot be stored" in fires(other, bad)[-1]["detail"]
    count = len(fires(admin, good))
    wait_until(lambda: len(fires(admin, good)) > count + 2, "the other one goes on", 20)
    stack.sql(f"ALTER TABLE t_{other.tenant}.lost RENAME TO executions")
    wait_until(lambda: outcomes(other, bad)[-1] == "started", "fires go on", 20)
    for api, schedule in ((admin, good), (other, bad)):
        change(api, schedule, enabled=False)


def test_a_tenant_whose_tables_are_locked_holds_up_no_other(stack, admin):
    other = stack.tenant()
    held, good = make(other, noop(), EVERY_SECOND), make(admin, noop(), EVERY_SECOND)
    wait_until(lambda: fires(other, held), "a fire", 20)
    with stack.postgres() as connection:
        connection.execute("BEGIN")
        connection.execute(f"LOCK TABLE t_{other.tenant}.executions IN ACCESS EXCLUSIVE MODE")
        count = len(fires(admin, good))
        wait_until(lambda: len(fires(admin, good)) > count + 5, "the other one goes on", 30)
        connection.execute("ROLLBACK")
    count = len(fires(other, held))
    wait_until(lambda: len(fires(other, held)) > count + 5, "what was held up", 20)
    for api, schedule in ((admin, good), (other, held)):
        change(api, schedule, enabled=False)
    times = [moment(fire["fire_at"]) for fire in fires(other, held)]
    assert [late - early for early, late in zip(times, times[1:])] == [datetime.timedelta(seconds=1)] * (len(times) - 1)
    assert set(outcomes(other, held)) == {"started"}


def test_a_fire_that_is_known_happens_no_second_time(stack, admin):
    """As after a clock that was set back while the schedule was paused."""
    schedule = make(admin, noop(), EVERY_SECOND)
    wait_until(lambda: len(fires(admin, schedule)) > 3, "some fires", 20)
    change(admin, schedule, enabled=False)
    before = fires(admin, schedule)
    stack.sql("UPDATE control.schedule SET enabled = true, next_at = %s WHERE id = %s", moment(before[1]["fire_at"]),
              schedule["id"])
    wait_until(lambda: len(fires(admin, schedule)) > len(before) + 1, "fires go on", 20)
    change(admin, schedule, enabled=False)
    assert fires(admin, schedule)[:len(before)] == before
    runs = checked(admin.get("executions", params={"limit": 100, "flow_id": schedule["flow_id"]}), 200).json()["executions"]
    assert len(runs) == len(fires(admin, schedule))


def test_its_maker_gone_it_fires_on(stack, admin):
    editor = stack.user(admin, "editor")
    schedule = make(editor, noop(), EVERY_SECOND)
    stack.sql("UPDATE control.app_user SET state = 'disabled' WHERE id = %s", editor.user_id)
    count = len(fires(admin, schedule))
    wait_until(lambda: len(fires(admin, schedule)) > count + 2, "fires of a user who is gone", 20)
    assert set(outcomes(admin, schedule)) == {"started"}
    change(admin, schedule, enabled=False)


# ---- what is refused ----------------------------------------------------------------------------------------------
TYPED = Flow().output("{{ .inputs.n }}").schema(input_schema={
    "type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})


@pytest.mark.parametrize(("body", "path"), [
    ({"cron": "* * * *"}, "cron"),
    ({"cron": "61 * * * *"}, "cron"),
    ({"cron": "0 0 30 2 *"}, "cron"),
    ({"cron": "0 0 31 4,6,9,11 *"}, "cron"),
    ({"cron": "*/0 * * * *"}, "cron"),
    ({"cron": "0 0 L * *"}, "cron"),
    ({"cron": "@daily"}, "cron"),
    ({"cron": "0 0 * * MONDAY"}, "cron"),
    ({"timezone": "Europe/Atlantis"}, "timezone"),
    ({"timezone": "../../etc/passwd"}, "timezone"),
    ({"timezone": "/etc/localtime"}, "timezone"),
    ({"timezone": "localtime"}, "timezone"),
    ({"timezone": "right/UTC"}, "timezone"),
    ({"timezone": "+02:00"}, "timezone"),
    ({"timezone": "europe/zurich"}, "timezone"),
    ({"inputs": {}}, "inputs"),
    ({"inputs": {"n": "many"}}, "inputs.n"),
    ({"version": 7}, "version"),
])
def test_bad_schedules(admin, body, path):
    flow = admin.create(TYPED)
    good = {"flow_id": flow, "name": "x", "cron": NEVER_SOON, "inputs": {"n": 1}}
    answer = admin.post("schedules", json={**good, **body})
    assert path in fault_paths(answer), answer.text
    schedule = checked(admin.post("schedules", json=good), 201).json()["schedule"]
    assert path in fault_paths(admin.put(f"schedules/{schedule['id']}", json=body))
    after = checked(admin.get(f"schedules/{schedule['id']}"), 200).json()["schedule"]
    assert after == schedule
    assert checked(admin.get("schedules"), 200).json()["total"] == 1


@pytest.mark.parametrize("body", [
    {"cron": 5}, {"cron": ""}, {"cron": "* " * 200}, {"misfire": "never"}, {"overlap": "maybe"}, {"timeout_s": 0},
    {"timeout_s": 604801}, {"version": 0}, {"inputs": []}, {"labels": {"a": 1}}, {"surprise": 1}, {"name": ""},
    {"flow_id": "no uuid"}, {"enabled": "yes"}])
def test_bodies_that_do_not_fit_the_document(admin, body):
    good = {"flow_id": admin.create(noop()), "name": "x", "cron": NEVER_SOON}
    assert admin.post("schedules", json={**good, **body}).status_code == 400
    assert checked(admin.get("schedules"), 200).json()["total"] == 0


def test_all_faults_come_at_once(admin):
    answer = make(admin, TYPED, "x x x x x", status=422, timezone="Nowhere/City", inputs={"n": 0.5})
    assert {"cron", "timezone", "inputs.n"} <= set(fault_paths(answer))


def test_a_change_on_an_old_revision_is_refused(admin):
    schedule = make(admin)
    old = f'"{schedule["rev"]}"'
    answer = checked(admin.put(f"schedules/{schedule['id']}", json={"name": "b"}, headers={"If-Match": old}), 200)
    assert answer.headers["ETag"] == f'"{schedule["rev"] + 1}"'
    problem(admin.put(f"schedules/{schedule['id']}", json={"name": "c"}, headers={"If-Match": old}), 412)
    assert checked(admin.get(f"schedules/{schedule['id']}"), 200).json()["schedule"]["name"] == "b"


def test_changes_at_the_same_time_do_not_mix(admin):
    schedule = make(admin)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: admin.put(f"schedules/{schedule['id']}", json={"name": f"n{n}"}), range(24)))
    good = [answer for answer in answers if answer.status_code == 200]
    assert good and {answer.status_code for answer in answers} <= {200, 409}
    now = checked(admin.get(f"schedules/{schedule['id']}"), 200).json()["schedule"]
    assert now["rev"] == 1 + len(good)


def test_the_number_of_schedules_is_exact(stack, admin):
    flow = admin.create(noop())
    stack.sql("""INSERT INTO control.schedule (id, tenant, flow_id, name, cron, timezone, inputs, labels, misfire, overlap,
                                               enabled, timeout_s, created_by)
                 SELECT gen_random_uuid(), %s, %s, 'many', '0 0 1 1 *', 'UTC', '{}', '{}', 'skip', 'allow', false, 60, %s
                 FROM generate_series(1, 990)""", admin.tenant, flow, admin.user_id)
    start = threading.Barrier(16)

    def one(_):
        start.wait()
        return make_raw(admin, flow)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = [answer.status_code for answer in pool.map(one, range(16))]
    assert sorted(codes) == [201] * 10 + [429] * 6
    assert "(quota schedules: limit 1000, used 1000)" in problem(make_raw(admin, flow), 429)["detail"]


def make_raw(api, flow):
    return api.post("schedules", json={"flow_id": flow, "name": "x", "cron": NEVER_SOON})


# ---- preview --------------------------------------------------------------------------------------------------------
def preview(api, cron, **more):
    return checked(api.post("schedules/preview", json={"cron": cron, **more}), 200).json()["next_fires"]


def test_preview(stack, admin):
    viewer = stack.user(admin, "viewer")
    assert preview(viewer, "30 2 * * *", timezone="Europe/Zurich", after="2026-03-28T12:00:00Z", count=2) == [
        "2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
    assert preview(viewer, "30 2 * * *", timezone="Europe/Zurich", after="2026-10-24T12:00:00+02:00", count=2) == [
        "2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]
    assert preview(viewer, "0 0 29 2 *", after="2096-03-01T00:00:00Z", count=1) == ["2104-02-29T00:00:00.000Z"]
    assert len(preview(viewer, EVERY_SECOND, count=50)) == 50
    near = moment(preview(viewer, EVERY_SECOND)[0])
    assert abs((near - datetime.datetime.now(UTC)).total_seconds()) < 30
    assert fault_paths(viewer.post("schedules/preview", json={"cron": "x * * * *", "timezone": "Y"})) == ["cron", "timezone"]
    problem(viewer.post("schedules/preview", json={"cron": NEVER_SOON, "after": "yesterday"}), 400)


# ---- who may what ------------------------------------------------------------------------------------------------------
def test_another_tenant_sees_and_changes_nothing(stack, admin):
    other = stack.tenant()
    schedule = make(admin)
    path = f"schedules/{schedule['id']}"
    for answer in (other.get(path), other.put(path, json={"name": "mine"}), other.delete(path), other.post(f"{path}/run"),
                   other.get(f"{path}/fires")):
        problem(answer, 404)
    problem(other.post("schedules", json={"flow_id": schedule["flow_id"], "name": "x", "cron": NEVER_SOON}), 404)
    assert checked(other.get("schedules"), 200).json()["total"] == 0
    assert checked(other.get("schedules", params={"flow_id": schedule["flow_id"]}), 200).json()["schedules"] == []
    assert checked(admin.get(path), 200).json()["schedule"] == schedule
    with stack.postgres() as connection:        # and by PostgreSQL's own rights
        connection.execute("BEGIN")
        connection.execute(f"SET LOCAL ROLE t_{other.tenant}")
        assert connection.execute("SELECT count(*) FROM control.my_schedule").fetchone() == (0,)
        with pytest.raises(Exception, match="permission denied"):
            connection.execute("SELECT * FROM control.schedule")


def test_a_private_flow_has_private_schedules(stack, admin):
    owner, stranger = stack.user(admin, "editor"), stack.user(admin, "viewer")
    flow = owner.create(noop())
    checked(owner.put(f"flows/{flow}/sharing", json={"visibility": "private", "shares": []}), 200)
    schedule = make(owner, flow)
    problem(stranger.get(f"schedules/{schedule['id']}"), 404)
    assert checked(stranger.get("schedules"), 200).json()["total"] == 0
    assert checked(owner.get("schedules"), 200).json()["total"] == 1
    assert checked(admin.get("schedules"), 200).json()["total"] == 1


def test_a_draft_runs_for_who_may_edit_alone(stack, admin):
    """As flows_execute has it: a schedule is no way round."""
    owner, reader = stack.user(admin, "editor", "owner"), stack.user(admin, "editor", "reader")
    executor = stack.user(admin, "executor")
    flow = owner.create(noop())
    schedule = make(owner, flow)
    problem(executor.post(f"schedules/{schedule['id']}/run"), 403)
    sharing = {"visibility": "private", "shares": [{"user_id": reader.user_id, "access": "run"}]}
    checked(owner.put(f"flows/{flow}/sharing", json=sharing), 200)
    problem(make(reader, flow, status=403), 403)
    problem(reader.post(f"schedules/{schedule['id']}/run"), 403)
    problem(reader.put(f"schedules/{schedule['id']}", json={"cron": EVERY_SECOND}), 403)
    checked(owner.post(f"schedules/{schedule['id']}/run"), 202)
    checked(owner.post(f"flows/{flow}/publish", json={}), 201)
    checked(reader.post(f"schedules/{schedule['id']}/run"), 202)
    make(reader, flow)


def test_lists_have_pages(admin):
    flow = admin.create(noop())
    made = [make(admin, flow, name=f"s{n}")["id"] for n in range(5)]
    pages = [checked(admin.get("schedules", params={"limit": 2, "page": page}), 200).json() for page in (1, 2, 3)]
    assert [row["id"] for page in pages for row in page["schedules"]] == made[::-1]
    assert pages[0]["total"] == 5 and pages[0]["page_info"]["pages"] == 3


def test_fires_have_pages(stack, admin):
    schedule = make(admin, noop(), enabled=False)
    for _ in range(5):
        checked(admin.post(f"schedules/{schedule['id']}/run"), 202)
    seen, cursor = [], None
    while True:
        page = checked(admin.get(f"schedules/{schedule['id']}/fires",
                                 params={"limit": 2, **({"cursor": cursor} if cursor else {})}), 200).json()
        seen += page["fires"]
        cursor = page["page_info"]["next_cursor"]
        if not cursor:
            break
    assert len(seen) == 5 and len({fire["execution_id"] for fire in seen}) == 5
    assert [fire["fire_at"] for fire in seen] == sorted((fire["fire_at"] for fire in seen), reverse=True)
    problem(admin.get(f"schedules/{schedule['id']}/fires", params={"cursor": "x"}), 400)
