"""Exports: flows, executions and the audit log as files that are asked for, made by the schedulers, and kept a while."""

import csv
import hashlib
import io
import json
import uuid

import pytest
import yaml

from kit.cli import Cli
from kit.client import checked, fault_paths, problem
from kit.exports import ask, content, ended, export, look
from kit.flows import Flow, ex, noop
from kit.s3 import Place, S3Server
from kit.stack import SHORT_LEASES, Stack
from kit.waiting import wait_until

pytestmark = pytest.mark.long
TYPES = {"json": "application/json", "yaml": "application/yaml", "ndjson": "application/x-ndjson", "csv": "text/csv"}


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def s3_stack(s3):
    with Stack("exports-s3", env={**SHORT_LEASES, "WINDLASS_S3_URL": s3.url, "WINDLASS_EXPORT_MB": "8"}) as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def place(request):
    if request.param == "folder":
        return Place(request.getfixturevalue("stack"))
    return Place(request.getfixturevalue("s3_stack"), request.getfixturevalue("s3"))


@pytest.fixture
def admin(stack):
    return stack.tenant()


def lines(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def rows(answer):
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def private(api, flow_id):
    checked(api.put(f"flows/{flow_id}/sharing", json={"visibility": "private", "shares": []}), 200)


def invent(stack, tenant, flow_id, count):
    """Executions that ended long ago, as rows alone."""
    stack.sql(f"""INSERT INTO t_{tenant}.executions (id, flow_id, doc_hash, user_id, status, created_at, start_time,
                                                     end_time, deadline, inputs, labels)
                  SELECT gen_random_uuid(), f.id, f.draft_hash, f.created_by, 'succeeded', now() - n * interval '1 s',
                         now() - n * interval '1 s', now() - n * interval '1 s', now(), '{{}}',
                         jsonb_build_object('n', n::text)
                  FROM t_{tenant}.flows f, generate_series(1, %s) n WHERE f.id = %s""", count, flow_id)


def fill_log(stack, tenant, count):
    """Entries of the audit log, sealed and shipped as all are."""
    stack.sql("""INSERT INTO control.audit_outbox (tenant, actor, action, resource_type, resource_id, metadata)
                 SELECT %s, '{}', 'test.entry', 'test', n::text, json_build_object('n', n, 'text', '=1+1, "x"')
                 FROM generate_series(1, %s) n""", tenant, count)
    wait_until(lambda: stack.sql("SELECT count(*) FROM control.audit_outbox WHERE tenant = %s", tenant)[0][0] == 0,
               "the audit log being shipped")


class Held:
    """No export of a tenant is made meanwhile; what is asked for waits."""

    def __init__(self, stack, tenant):
        self.stack, self.tenant = stack, tenant

    def __enter__(self):
        self.stack.sql("""INSERT INTO control.export_work (id, tenant, user_id, state, due)
                          VALUES (gen_random_uuid(), %s, gen_random_uuid(), 'R', now() + interval '1 hour')""", self.tenant)
        return self

    def __exit__(self, *_):
        self.stack.sql("DELETE FROM control.export_work WHERE tenant = %s AND state = 'R' AND claim IS NULL", self.tenant)


# ---- what is in them ---------------------------------------------------------------------------------------------

def test_a_flow_is_exported_as_it_is_directly(place):
    admin = place.stack.tenant()
    flow_id = admin.create(Flow().output(ex(".inputs")), name="Größe & more")
    checked(admin.post(f"flows/{flow_id}/publish", json={}), 201)
    checked(admin.put(f"flows/{flow_id}", json={"description": "changed since"}), 200)
    for format, version in (("yaml", None), ("json", None), ("yaml", 1)):
        more = {"version": version} if version else {}
        made = export(admin, kind="flow", format=format, flow_id=flow_id, **more)
        direct = checked(admin.get(f"flows/{flow_id}/export", params={"format": format, **more}), 200).content
        got = content(admin, made)
        assert got.content == direct and got.headers["Content-Type"] == made["content_type"] == TYPES[format]
        assert made["name"] == f"Gr-e-more.{format}" and f'filename="{made["name"]}"' in got.headers["Content-Disposition"]
        assert made["size"] == len(direct) and made["sha256"] == hashlib.sha256(direct).hexdigest()
        assert got.headers["ETag"] == f'"{made["sha256"]}"' and got.headers["X-Content-Type-Options"] == "nosniff"
        assert made["entries"] == 1 and made["error"] is None and made["expires_at"] > made["finished_at"]
        assert made["options"] == {"flow_id": flow_id, **more} and made["created_by"] == admin.user_id
    assert len(place.keys(admin.tenant)) == 3 and place.used(admin.tenant) == place.recount(admin.tenant) > 0
    assert checked(admin.get("artifacts"), 200).json()["artifacts"] == []


def test_ranges_and_conditions(place):
    admin = place.stack.tenant()
    made = export(admin, kind="flow", flow_id=admin.create(noop()))
    whole, etag = content(admin, made).content, f'"{made["sha256"]}"'
    part = content(admin, made, 206, Range="bytes=3-9")
    assert part.content == whole[3:10] and part.headers["Content-Range"] == f"bytes 3-9/{len(whole)}"
    assert content(admin, made, 206, **{"Range": "bytes=0-3", "If-Range": etag}).content == whole[:4]
    assert content(admin, made, 200, **{"Range": "bytes=0-3", "If-Range": '"other"'}).content == whole
    assert content(admin, made, 304, **{"If-None-Match": etag}).content == b""
    problem(admin.get(f"exports/{made['id']}/content", headers={"Range": "bytes=99999999-"}), 416)


def test_all_flows_and_a_selection(stack, admin):
    ids = [admin.create(noop(), name=f"flow {number}") for number in range(220)]
    checked(admin.delete(f"flows/{ids[3]}"), 204)
    names = [f"flow {number}" for number in range(220) if number != 3]
    array = export(admin, kind="flows", format="json")
    documents = export(admin, kind="flows")
    by_line = export(admin, kind="flows", format="ndjson")
    assert array["entries"] == documents["entries"] == by_line["entries"] == 219
    assert documents["format"] == "yaml" and documents["name"].startswith("flows-2")
    flows = content(admin, array).json()
    assert [flow["name"] for flow in flows] == names
    assert list(yaml.safe_load_all(content(admin, documents).text)) == flows == lines(content(admin, by_line))
    one = content(admin, documents).text.split("---\n")[7]
    assert one == checked(admin.get(f"flows/{ids[8]}/export"), 200).text
    some = export(admin, kind="flows", format="json", flow_ids=[ids[5], ids[1]])
    assert [flow["name"] for flow in content(admin, some).json()] == ["flow 1", "flow 5"]


def test_of_nothing_there_is_an_empty_file(admin):
    for format, text in (("json", "[]\n"), ("yaml", ""), ("ndjson", "")):
        made = export(admin, kind="flows", format=format)
        got = content(admin, made)
        assert got.text == text and made["entries"] == 0 and made["size"] == len(text)
    assert content(admin, export(admin, kind="executions", format="csv")).text.startswith("id,flow_id,version,status,")


def test_executions_with_filters(stack, admin):
    flow_id, other = admin.create(noop(), name="a"), admin.create(noop(), name="b")
    invent(stack, admin.tenant, flow_id, 1203)
    run = admin.run(other)["execution"]
    waiting = admin.start(Flow().add("ask", "approval", message="=SUM(1)", roles=["editor"]))
    wait_until(lambda: admin.status(waiting) == "running", "the run that waits")
    made = export(admin, kind="executions")
    got = lines(content(admin, made))
    assert made["entries"] == len(got) == 1205 == len({one["id"] for one in got})
    assert [one["created_at"] for one in got] == sorted((one["created_at"] for one in got), reverse=True)
    page = checked(admin.get("executions", params={"limit": 100}), 200).json()["executions"]
    assert got[:100] == page and got[0]["id"] == waiting and got[0]["status"] == "running"

    def ids(**filters):
        return [one["id"] for one in lines(content(admin, export(admin, kind="executions", filters=filters)))]
    assert ids(status="running") == [waiting] and ids(status="queued") == [] and ids(flow_id=other) == [run["id"]]
    assert len(ids(label="n=7")) == 1 and ids(created_after=run["created_at"])[-1] == run["id"]
    assert len(ids(flow_id=flow_id, status="succeeded")) == 1203 and ids(created_by=str(uuid.uuid4())) == []
    table = rows(content(admin, export(admin, kind="executions", format="csv", filters={"flow_id": flow_id})))
    assert len(table) == 1203 and json.loads(table[0]["labels"]) == {"n": "1"} and table[0]["error"] == ""


def test_the_audit_log_holds_when_it_is_computed_anew(stack, admin, tmp_path):
    fill_log(stack, admin.tenant, 4500)
    made = export(admin, kind="audit_log")
    got = content(admin, made)
    direct = checked(admin.get("audit-log/export"), 200).text.splitlines()
    assert got.text.splitlines() == direct[:made["entries"]] and made["entries"] >= 4500
    assert made["name"].startswith("audit-log-2") and made["name"].endswith(".ndjson")
    (tmp_path / "log").write_bytes(got.content)
    shown = Cli(tmp_path / "cli")("audit", "verify", tmp_path / "log").stdout
    assert shown.startswith(f"{made['entries']} entries hold")


def test_the_audit_log_with_filters(stack, admin):
    fill_log(stack, admin.tenant, 300)

    def entries(**filters):
        return [json.loads(line["entry"]) for line in lines(content(admin, export(admin, kind="audit_log", filters=filters)))]
    found = entries(action="test.entry", resource_id="17")
    assert [one["metadata"]["n"] for one in found] == [17]
    assert [one["seq"] for one in entries(action="test.entry", **{"from": found[0]["time"]})] == [
        one["seq"] for one in entries(action="test.entry") if one["time"] >= found[0]["time"]]
    assert {one["action"] for one in entries(user_id=admin.user_id)} >= {"export.create"}
    assert entries(resource_type="test", to="2001-01-01T00:00:00Z") == []
    table = rows(content(admin, export(admin, kind="audit_log", format="csv", filters={"action": "test.entry"})))
    assert len(table) == 300 and json.loads(table[4]["metadata"]) == {"n": 5, "text": '=1+1, "x"'}
    assert all(one["action"] == "test.entry" for one in table)


def test_much_is_made_in_little_memory(stack, admin):
    """40 MB of flows, of which the scheduler holds a few at a time."""
    text = "x" * 1000000
    for number in range(40):
        admin.create(Flow().output({"n": number, "text": text}), name=f"large {number}")
    status = f"/proc/{stack.pids()['scheduler-1']}/"
    with open(status + "clear_refs", "w") as file:
        file.write("5")                                                     # the peak begins anew

    def resident(name):
        with open(status + "status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name))
    before = resident("VmRSS")
    made = export(admin, kind="flows", format="ndjson", seconds=120)
    assert made["size"] > 40 * len(text) and made["entries"] == 40
    assert resident("VmHWM") - before < 60000, "kB"
    assert hashlib.sha256(content(admin, made).content).hexdigest() == made["sha256"]


# ---- who may -----------------------------------------------------------------------------------------------------

def test_everybody_gets_what_he_may_see(stack, admin):
    editor, viewer = stack.user(admin, "editor"), stack.user(admin, "viewer")
    hidden, shown = admin.create(noop(), name="hidden"), admin.create(noop(), name="shown")
    own = editor.create(noop(), name="the editor's own")
    private(admin, hidden)
    private(editor, own)
    invent(stack, admin.tenant, hidden, 2)
    invent(stack, admin.tenant, shown, 3)
    for api, names in ((viewer, ["shown"]), (editor, ["shown", "the editor's own"]),
                       (admin, ["hidden", "shown", "the editor's own"])):
        assert [flow["name"] for flow in content(api, export(api, kind="flows", format="json")).json()] == names
    assert {one["flow_id"] for one in lines(content(viewer, export(viewer, kind="executions")))} == {shown}
    for body in ({"kind": "flow", "flow_id": hidden}, {"kind": "flows", "flow_ids": [shown, hidden]},
                 {"kind": "flow", "flow_id": str(uuid.uuid4())}):
        problem(viewer.post("exports", json=body), 404)


def test_what_is_private_by_now_is_not_in_an_older_export(stack, admin):
    viewer, editor = stack.user(admin, "viewer"), stack.user(admin, "editor")
    flow, other = admin.create(noop(), name="was open"), admin.create(noop(), name="is open")
    shared = admin.create(noop(), name="was shared")
    share = lambda *who: checked(admin.put(f"flows/{shared}/sharing", json={  # noqa: E731
        "visibility": "private", "shares": [{"user_id": api.user_id, "access": "view"} for api in who]}), 200)
    share(viewer)
    invent(stack, admin.tenant, flow, 1)
    made = [export(viewer, kind="flows"), export(viewer, kind="flow", flow_id=flow), export(viewer, kind="executions"),
            export(viewer, kind="flows", flow_ids=[shared])]
    for one in made:
        content(viewer, one)
    fine = export(viewer, kind="flow", flow_id=other)
    private(admin, flow)
    share()
    for one in made:
        assert "may not see any more" in problem(viewer.get(f"exports/{one['id']}/content"), 403)["detail"]
        checked(admin.get(f"exports/{one['id']}/content"), 200)
    content(viewer, fine)
    share(viewer)
    content(viewer, made[3])
    assert editor.get(f"exports/{made[0]['id']}/content").status_code == 404


def test_an_export_is_his_who_asked_and_the_admins(stack, admin):
    editor, viewer = stack.user(admin, "editor"), stack.user(admin, "viewer")
    flow_id = admin.create(noop())
    made = {api.email: export(api, kind="flow", flow_id=flow_id) for api in (admin, editor, viewer)}
    for api, sees in ((admin, 3), (editor, 1), (viewer, 1)):
        answer = checked(api.get("exports"), 200).json()
        assert answer["total"] == len(answer["exports"]) == sees and made[api.email] in answer["exports"]
    for path in ("", "/content"):
        problem(viewer.get(f"exports/{made[editor.email]['id']}{path}"), 404)
        checked(admin.get(f"exports/{made[editor.email]['id']}{path}"), 200)
    problem(viewer.delete(f"exports/{made[editor.email]['id']}"), 404)
    checked(admin.delete(f"exports/{made[viewer.email]['id']}"), 204)
    problem(viewer.get(f"exports/{made[viewer.email]['id']}"), 404)


def test_what_a_higher_role_made_is_not_for_a_lower_one(stack, admin):
    """An admin's export holds what is private to others: neither his viewer's key nor he himself as a viewer gets it."""
    second = stack.user(admin, "admin", "second")
    made = export(second, kind="flows")
    key = stack.api()
    key.access = checked(second.post("api-keys", json={"name": "low", "role": "viewer"}), 201).json()["key"]
    problem(key.get(f"exports/{made['id']}/content"), 404)
    assert checked(key.get("exports"), 200).json()["total"] == 0
    low = export(key, kind="flows")
    assert content(second, low).status_code == 200
    checked(admin.put(f"users/{second.user_id}", json={"role": "editor"}), 200)
    again = stack.api().login(second.email, admin.slug)
    problem(again.get(f"exports/{made['id']}/content"), 404)
    checked(admin.get(f"exports/{made['id']}/content"), 200)


def test_the_audit_log_is_for_admins(stack, admin):
    for role in ("viewer", "executor", "editor"):
        problem(stack.user(admin, role).post("exports", json={"kind": "audit_log"}), 403)


@pytest.mark.parametrize("change,word", [({"role": "viewer"}, "lowered"), ({"state": "disabled"}, "closed")])
def test_whoever_may_not_any_more_gets_nothing(stack, admin, change, word):
    second = stack.user(admin, "admin", "second")
    with Held(stack, admin.tenant):
        asked = ask(second, kind="audit_log")
        checked(admin.put(f"users/{second.user_id}", json=change), 200)
    made = ended(admin, asked)
    assert made["state"] == "failed" and word in made["error"] and made["size"] is None


def test_a_flow_that_goes_meanwhile_fails_its_export(stack, admin):
    flow_id = admin.create(noop())
    with Held(stack, admin.tenant):
        asked = ask(admin, kind="flow", flow_id=flow_id)
        assert asked["state"] == "queued" and asked["expires_at"] is asked["size"] is None
        answer = problem(admin.get(f"exports/{asked['id']}/content"), 409)
        assert "not ready" in answer["detail"]
        checked(admin.delete(f"flows/{flow_id}"), 204)
    made = ended(admin, asked)
    assert made["state"] == "failed" and made["error"] == "there is no such flow"
    assert "no such flow" in problem(admin.get(f"exports/{made['id']}/content"), 409)["detail"]


# ---- bounds ------------------------------------------------------------------------------------------------------

def test_what_does_not_fit_into_the_storage_fails(place):
    admin = place.stack.tenant()
    flow_id = admin.create(noop())
    place.stack.quota(admin.tenant, max_storage_gb=0)
    made = ended(admin, ask(admin, kind="flow", flow_id=flow_id))
    assert made["state"] == "failed" and "storage of 0 MiB" in made["error"] and made["sha256"] is None
    assert place.used(admin.tenant) == 0 and place.keys(admin.tenant) == []
    place.stack.quota(admin.tenant, max_storage_gb=1)
    good = export(admin, kind="flow", flow_id=flow_id)
    used = {one["name"]: one["used"] for one in checked(admin.get("quotas"), 200).json()["quotas"]}["max_storage_gb"]
    assert used == round(good["size"] / 2**30, 6)


def test_an_export_has_a_largest_size(s3_stack):
    admin = s3_stack.tenant()
    for number in range(9):
        admin.create(Flow().output("x" * 1000000), name=f"large {number}")
    made = ended(admin, ask(admin, kind="flows"))
    assert made["state"] == "failed" and "8 MiB" in made["error"]
    assert s3_stack.sql("SELECT count(*) FROM control.object_trash WHERE tenant = %s", admin.tenant) == [(0,)]


def test_so_many_may_wait(stack, admin):
    viewer = stack.user(admin, "viewer")
    with Held(stack, admin.tenant):
        waiting = [ask(viewer, kind="flows") for _ in range(5)]
        refused = viewer.post("exports", json={"kind": "flows"})
        problem(refused, 429)
        assert refused.headers["Retry-After"] == "5" and refused.headers["RateLimit-Limit"] == "5"
        ask(admin, kind="flows")
        assert checked(viewer.get("exports", params={"state": "queued"}), 200).json()["total"] == 5
        checked(viewer.delete(f"exports/{waiting[0]['id']}"), 204)
        ask(viewer, kind="flows")
    for one in waiting[1:]:
        assert ended(viewer, one)["state"] == "ready"


def test_asked_twice_with_one_key_it_is_one_export(stack, admin):
    def post(api=admin, **body):
        return api.post("exports", json={"kind": "flows", **body}, headers={"Idempotency-Key": "nightly"})
    first = checked(post(), 202).json()["export"]
    ended(admin, first)
    again = checked(post(), 202)
    assert again.json()["export"]["id"] == first["id"] and again.headers["Location"] == f"/api/v1/exports/{first['id']}"
    problem(post(format="json"), 422)
    problem(post(stack.user(admin, "viewer")), 422)
    assert checked(admin.get("exports"), 200).json()["total"] == 1
    checked(admin.delete(f"exports/{first['id']}"), 204)
    assert checked(post(), 202).json()["export"]["id"] != first["id"]


@pytest.mark.parametrize("body,status,paths", [
    ({}, 422, None), ({"kind": "all"}, 422, None), ({"kind": "flows", "more": 1}, 422, None), ([], 422, None),
    ({"kind": "flow"}, 422, ["flow_id"]), ({"kind": "flow", "flow_id": "x"}, 422, None),
    ({"kind": "flow", "format": "csv", "flow_id": str(uuid.uuid4())}, 422, ["format"]),
    ({"kind": "executions", "format": "yaml"}, 422, ["format"]), ({"kind": "audit_log", "format": "json"}, 422, ["format"]),
    ({"kind": "flows", "flow_ids": []}, 422, None), ({"kind": "flows", "flow_id": str(uuid.uuid4())}, 422, ["flow_id"]),
    ({"kind": "flows", "filters": {}}, 422, ["filters"]), ({"kind": "executions", "version": 1}, 422, ["version"]),
    ({"kind": "executions", "filters": {"action": "a"}}, 422, ["filters.action"]),
    ({"kind": "audit_log", "filters": {"status": "failed"}}, 422, ["filters.status"]),
    ({"kind": "executions", "filters": {"status": "lost"}}, 422, None),
    ({"kind": "executions", "filters": {"label": "no sign"}}, 422, ["label"]),
    ({"kind": "executions", "filters": {"created_after": "yesterday, about noon"}}, 400, ["filters.created_after"]),
    ({"kind": "audit_log", "filters": {"from": "2026-02-31T00:00:00Z"}}, 400, ["filters.from"]),
])
def test_what_is_no_export(stack, admin, body, status, paths):
    answer = admin.post("exports", json=body)
    if status == 422 and paths is None:
        assert answer.status_code in (400, 422) and problem(answer, answer.status_code)
    else:
        assert fault_paths(answer, status) == paths
    assert checked(admin.get("exports"), 200).json()["total"] == 0


def test_a_version_that_is_not(admin):
    flow_id = admin.create(noop())
    problem(admin.post("exports", json={"kind": "flow", "flow_id": flow_id, "version": 7}), 404)


def test_pages_and_filters(stack, admin):
    flow_id = admin.create(noop())
    made = [export(admin, **body) for body in ({"kind": "flow", "flow_id": flow_id}, {"kind": "flows"}, {"kind": "flows"},
                                               {"kind": "executions"})]
    newest_first = [one["id"] for one in reversed(made)]
    first = checked(admin.get("exports", params={"limit": 3}), 200).json()
    second = checked(admin.get("exports", params={"limit": 3, "page": 2}), 200).json()
    assert [one["id"] for one in first["exports"] + second["exports"]] == newest_first
    assert first["total"] == second["total"] == 4 and first["page_info"] == {"page": 1, "limit": 3, "pages": 2}
    by_kind = checked(admin.get("exports", params={"kind": "flows"}), 200).json()
    assert [one["id"] for one in by_kind["exports"]] == newest_first[1:3]
    assert checked(admin.get("exports", params={"state": "failed"}), 200).json()["exports"] == []
    for bad in ({"kind": "x"}, {"state": "x"}, {"page": 0}, {"limit": 101}):
        problem(admin.get("exports", params=bad), 400)


# ---- their end ---------------------------------------------------------------------------------------------------

def test_a_deleted_export_gives_its_room_back(place):
    admin = place.stack.tenant()
    made = export(admin, kind="flow", flow_id=admin.create(noop()))
    assert place.keys(admin.tenant) != [] and place.used(admin.tenant) == made["size"]
    checked(admin.delete(f"exports/{made['id']}"), 204)
    problem(admin.get(f"exports/{made['id']}"), 404)
    problem(admin.delete(f"exports/{made['id']}"), 404)
    assert place.used(admin.tenant) == place.recount(admin.tenant) == 0
    wait_until(lambda: place.keys(admin.tenant) == [], "the object's removal", 30)
    wait_until(lambda: place.stack.sql("SELECT count(*) FROM control.audit_outbox WHERE tenant = %s", admin.tenant) == [(0,)],
               "the audit log being shipped")
    log = checked(admin.get("audit-log", params={"resource_type": "export"}), 200).json()["entries"]
    assert [(one["action"], one["resource_id"]) for one in log] == [("export.delete", made["id"]), ("export.create", made["id"])]
    assert log[1]["metadata"]["kind"] == "flow"


def test_an_export_that_waits_can_be_given_up(stack, admin):
    with Held(stack, admin.tenant):
        asked = ask(admin, kind="flows")
        checked(admin.delete(f"exports/{asked['id']}"), 204)
    made = export(admin, kind="flows")
    assert [one["id"] for one in checked(admin.get("exports"), 200).json()["exports"]] == [made["id"]]


def test_an_export_expires(place):
    admin = place.stack.tenant()
    made = export(admin, kind="flow", flow_id=admin.create(noop()))
    days = place.stack.sql("SELECT round(extract(epoch FROM %s::timestamptz - %s::timestamptz) / 86400)",
                           made["expires_at"], made["finished_at"])
    assert days == [(7,)]
    place.stack.sql("UPDATE control.export_work SET due = now() WHERE id = %s", made["id"])
    wait_until(lambda: admin.get(f"exports/{made['id']}").status_code == 404, "the export's end", 30)
    wait_until(lambda: place.keys(admin.tenant) == [], "the object's removal", 30)
    assert place.used(admin.tenant) == 0


def test_an_export_waits_for_a_store_that_is_away(s3_stack, s3):
    admin = s3_stack.tenant()
    flow_id = admin.create(noop())
    s3.kill()
    try:
        asked = ask(admin, kind="flow", flow_id=flow_id)
        wait_until(lambda: s3_stack.sql("""SELECT 1 FROM control.export_work WHERE id = %s AND state = 'Q' AND due > now()
                                           AND tries = 0""", asked["id"]), "an attempt that came to nothing", 60)
        assert look(admin, asked)["state"] == "queued"
    finally:
        s3.start()
    made = ended(admin, asked)
    assert made["state"] == "ready" and content(admin, made).status_code == 200
    wait_until(lambda: len(Place(s3_stack, s3).keys(admin.tenant)) == 1, "one object alone", 30)


def test_a_purged_tenant_leaves_no_export():
    with Stack("exports-purge", env={**SHORT_LEASES, "WINDLASS_PURGE_GRACE_S": "0"}) as brief:
        admin, place = brief.tenant(), Place(brief)
        export(admin, kind="flow", flow_id=admin.create(noop()))
        with Held(brief, admin.tenant):
            ask(admin, kind="flows")
            assert place.keys(admin.tenant) != []
            checked(admin.delete("tenants/current", params={"confirm": admin.slug}), 202)
            wait_until(lambda: brief.sql("SELECT 1 FROM control.tenant_purge WHERE tenant = %s AND finished_at IS NOT NULL",
                                         admin.tenant), "the end of the purge", 120)
        assert place.keys(admin.tenant) == []
        assert brief.sql("SELECT count(*) FROM control.export_work WHERE tenant = %s", admin.tenant) == [(0,)]


def test_one_tenants_many_hold_up_no_other(stack, admin):
    """Of fifteen that one tenant asked for first, no more than a few are made before another's one."""
    other = stack.tenant()
    people = [admin, *(stack.user(admin, "viewer", f"v{number}") for number in range(2))]
    with Held(stack, admin.tenant), Held(stack, other.tenant):
        many = [ask(api, kind="flows") for api in people for _ in range(5)]
        one = ask(other, kind="flows")
    mine = ended(other, one)
    for asked in many:
        ended(admin, asked)
    listed = checked(admin.get("exports", params={"limit": 100}), 200).json()["exports"]
    assert len([made for made in listed if made["finished_at"] < mine["finished_at"]]) <= 3


def test_a_damaged_tenant_holds_up_no_other(stack, admin):
    other = stack.tenant()
    gone = export(admin, kind="flows")
    with Held(stack, admin.tenant):
        waiting = ask(admin, kind="flows")
        stack.sql(f"ALTER TABLE t_{admin.tenant}.exports RENAME TO away")
        stack.sql("UPDATE control.export_work SET due = now() WHERE id = %s", gone["id"])
    wait_until(lambda: stack.sql("SELECT count(*) FROM control.export_work WHERE tenant = %s AND due > now()", admin.tenant) ==
               [(2,)], "both being put off", 30)
    export(other, kind="flows")
    stack.sql(f"ALTER TABLE t_{admin.tenant}.away RENAME TO exports")
    stack.sql("UPDATE control.export_work SET due = now() WHERE tenant = %s", admin.tenant)
    assert ended(admin, waiting)["state"] == "ready"
    wait_until(lambda: admin.get(f"exports/{gone['id']}").status_code == 404, "the end of the one that expired", 30)


def test_a_claim_that_is_over_counts_no_more(stack, admin):
    """A scheduler that stood still while another made the export changes nothing when it wakes."""
    asked = export(admin, kind="flow", flow_id=admin.create(noop()))
    before = stack.sql(f"SELECT x::text FROM t_{admin.tenant}.exports x"), stack.sql(
        f"SELECT x::text FROM t_{admin.tenant}.artifacts x")
    old = {"tenant": admin.tenant, "id": asked["id"], "claim": str(uuid.uuid4()), "artifact": str(uuid.uuid4()), "size": 5,
           "sha256": "00" * 32, "entries": 1, "lease_s": 10, "keep_days": 7, "error": "late", "delay_s": 0, "count": True}
    for name, outcome in (("page", "gone"), ("begin", "gone"), ("commit", "gone"), ("release", None), ("fail", None)):
        answer = stack.sql(f"SELECT control.export_{name}(%s::json)", json.dumps(old))[0][0]
        assert (answer or {}).get("outcome") == outcome
    assert before == (stack.sql(f"SELECT x::text FROM t_{admin.tenant}.exports x"),
                      stack.sql(f"SELECT x::text FROM t_{admin.tenant}.artifacts x"))
    assert stack.sql("SELECT count(*) FROM control.object_trash WHERE tenant = %s", admin.tenant) == [(0,)]


def test_an_export_that_never_tells_how_it_ended_is_given_up(stack, admin):
    with Held(stack, admin.tenant):
        asked = ask(admin, kind="flows")
        stack.sql("UPDATE control.export_work SET tries = 5 WHERE id = %s", asked["id"])
    made = ended(admin, asked)
    assert made["state"] == "failed" and made["error"] == "it could not be made in 5 attempts"


# ---- the command line --------------------------------------------------------------------------------------------

def test_the_command_line_asks_waits_and_fetches(stack, admin, tmp_path):
    cli = Cli(tmp_path / "cli", stack.urls["web"], WINDLASS_TOKEN=admin.access)
    flow_id = admin.create(noop(), name="nightly")
    admin.run(flow_id)
    asked = cli.json("export", "flow", "nightly", "--format", "json")["export"]
    assert cli("export", "get", asked["id"]).stdout == checked(
        admin.get(f"flows/{flow_id}/export", params={"format": "json"}), 200).text
    for words in (("flows", "--only", flow_id), ("executions", "--flow", "nightly", "--format", "csv"),
                  ("audit", "--action", "flow.create", "--from", "2026-01-01T00:00:00Z")):
        made = cli.json("export", *words)["export"]
        cli("export", "get", made["id"], tmp_path / words[0])
        assert (tmp_path / words[0]).read_bytes() == content(admin, made).content
        assert cli.json("export", "show", made["id"])["export"]["state"] == "ready"
    listed = cli.json("export", "list", "--kind", "flows")["exports"]
    assert [one["options"] for one in listed] == [{"flow_ids": [flow_id]}]
    assert "nightly.json" in cli("export", "list").stdout
    cli("export", "delete", asked["id"])
    refused = cli("export", "get", asked["id"], code=6)
    assert "no such export" in refused.stderr
    assert "not the id of an export" in cli("export", "get", "x", code=2).stderr
    cli("export", "get", made["id"], tmp_path / "audit", code=2)              # a file that is there stays as it is
    assert (tmp_path / "audit").read_bytes() == content(admin, made).content


def test_the_command_line_says_why_there_is_no_file(stack, admin, tmp_path):
    cli = Cli(tmp_path / "cli", stack.urls["web"], WINDLASS_TOKEN=admin.access)
    stack.quota(admin.tenant, max_storage_gb=0)
    admin.create(noop())
    asked = cli.json("export", "flows")["export"]
    refused = cli("export", "get", asked["id"], tmp_path / "file", code=6)
    assert "the export has failed: the tenant's storage of 0 MiB" in refused.stderr and not (tmp_path / "file").exists()


def test_a_large_file_comes_in_pieces(stack, admin, tmp_path):
    for number in range(20):
        admin.create(Flow().output({"n": number, "text": "x" * 1000000}), name=f"large {number}")
    made = export(admin, kind="flows", format="ndjson", seconds=120)
    assert made["size"] > 16 << 20
    cli = Cli(tmp_path / "cli", stack.urls["web"], WINDLASS_TOKEN=admin.access)
    cli("export", "get", made["id"], tmp_path / "flows")
    assert hashlib.sha256((tmp_path / "flows").read_bytes()).hexdigest() == made["sha256"]
