"""Versions, differences, copies, deleted flows that come back, the archive; and what all of it writes to the audit log."""

import concurrent.futures
import uuid

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.tools import make_tool
from kit.waiting import wait_until


def get(api, flow):
    return checked(api.get(f"flows/{flow}"), 200).json()["flow"]


def put(api, flow, **body):
    return checked(api.put(f"flows/{flow}", json=body), 200).json()["flow"]


def publish(api, flow, note="", status=201):
    return checked(api.post(f"flows/{flow}/publish", json={"note": note}), status).json()["version"]


def diff(api, flow, **between):
    return checked(api.get(f"flows/{flow}/diff", params=between), 200).json()


def test_versions_are_listed_read_and_restored(admin):
    flow = admin.create(Flow().transform("t", 1).output(1), name="first")
    assert publish(admin, flow, "one")["version"] == 1
    assert publish(admin, flow, status=200)["note"] == "one"
    put(admin, flow, name="second", **Flow().transform("t", 2).output(1).document())
    assert publish(admin, flow)["version"] == 2
    page = checked(admin.get(f"flows/{flow}/versions", params={"limit": 1, "page": 2}), 200).json()
    assert page["total"] == 2 and [v["version"] for v in page["versions"]] == [1]
    assert page["page_info"] == {"page": 2, "limit": 1, "pages": 2}
    old = checked(admin.get(f"flows/{flow}/versions/1"), 200).json()["version"]
    assert old["name"] == "first" and old["nodes"][1]["data"]["value"] == 1

    answer = checked(admin.post(f"flows/{flow}/versions/1/restore"), 200)
    now = answer.json()["flow"]
    assert answer.headers["ETag"] == f'"{now["rev"]}"' and now["rev"] == 3
    assert now["nodes"][1]["data"]["value"] == 1 and now["version"] == 2    # what is published stays published
    assert publish(admin, flow)["version"] == 3
    problem(admin.post(f"flows/{flow}/versions/9/restore"), 404)
    problem(admin.get(f"flows/{flow}/versions/9"), 404)
    problem(admin.post(f"flows/{uuid.uuid4()}/versions/1/restore"), 404)


def test_differences_between_versions(admin):
    flow = admin.create(Flow().transform("t", {"a": 1}).output(1).schema(input_schema={"type": "object"}))
    publish(admin, flow)
    changed = Flow().transform("t", {"a": 2}).add("extra", "note", after=(), text="x").output(1, after="t")
    changed.nodes[0]["position"] = {"x": 7, "y": 7}
    put(admin, flow, **changed.document(), input_schema={"type": "object", "required": ["x"]})

    found = diff(admin, flow)
    assert (found["from"], found["to"]) == ("1", "draft")
    assert [node["id"] for node in found["nodes"]["added"]] == ["extra"] and found["nodes"]["removed"] == []
    assert found["nodes"]["changed"] == [{"id": "t", "fields": [{"path": "data.value.a", "from": 1, "to": 2}]}]
    assert found["edges"] == {"added": [], "removed": []}
    assert "start" in found["moved"] and "t" not in found["moved"]
    assert found["input_schema_changed"] is True and found["output_schema_changed"] is False

    publish(admin, flow)
    back = diff(admin, flow, **{"from": "2", "to": "1"})
    assert [node["id"] for node in back["nodes"]["removed"]] == ["extra"]
    assert back["nodes"]["changed"][0]["fields"][0] == {"path": "data.value.a", "from": 2, "to": 1}
    same = diff(admin, flow)    # nothing changed since version 2
    assert same["from"] == "2" and same["nodes"] == {"added": [], "removed": [], "changed": []} and same["moved"] == []


def test_differences_that_cannot_be_told(admin):
    flow = admin.create(noop())
    assert diff(admin, flow)["from"] == "draft"     # nothing was published
    problem(admin.get(f"flows/{flow}/diff", params={"from": "1"}), 404)
    for params in ({"from": "last"}, {"to": "0"}, {"to": "9999999999"}):
        problem(admin.get(f"flows/{flow}/diff", params=params), 404)
    assert fault_paths(admin.get(f"flows/{flow}/diff", params={"from": "1.0"}), 400) == ["from"]
    problem(admin.get(f"flows/{uuid.uuid4()}/diff"), 404)


def test_a_copy_is_a_flow_of_its_own(admin):
    flow = admin.create(noop(), name="original")
    publish(admin, flow)
    answer = checked(admin.post(f"flows/{flow}/duplicate"), 201)
    copy = answer.json()["flow"]
    assert answer.headers["Location"] == f"/api/v1/flows/{copy['id']}" and copy["id"] != flow
    assert (copy["name"], copy["status"], copy["version"], copy["rev"]) == ("Copy of original", "draft", None, 1)
    assert copy["nodes"] == get(admin, flow)["nodes"]
    put(admin, copy["id"], **Flow().output(5).document())
    assert get(admin, flow)["nodes"] != get(admin, copy["id"])["nodes"]
    named = checked(admin.post(f"flows/{flow}/duplicate", json={"name": "other"}), 201).json()["flow"]
    assert named["name"] == "other"
    long = admin.create(noop(), name="n" * 200)
    assert len(checked(admin.post(f"flows/{long}/duplicate"), 201).json()["flow"]["name"]) == 200
    problem(admin.post(f"flows/{uuid.uuid4()}/duplicate"), 404)
    problem(admin.post(f"flows/{flow}/duplicate", json={"name": ""}), 400)


def test_deleted_flows_come_back(admin):
    flow = admin.create(noop(), name="lost")
    publish(admin, flow)
    problem(admin.post(f"flows/{flow}/restore"), 409)
    checked(admin.delete(f"flows/{flow}"), 204)
    problem(admin.delete(f"flows/{flow}"), 404)
    problem(admin.get(f"flows/{flow}"), 404)
    problem(admin.execute(flow), 404)
    listed = lambda deleted: checked(admin.get("flows", params={"deleted": deleted}), 200).json()  # noqa: E731
    assert listed("false")["total"] == 0
    assert [f["id"] for f in listed("true")["flows"]] == [flow] and listed("true")["total"] == 1
    back = checked(admin.post(f"flows/{flow}/restore"), 200).json()["flow"]
    assert back["status"] == "published" and back["version"] == 1
    assert listed("true")["total"] == 0 and listed("false")["total"] == 1
    admin.wait(checked(admin.execute(flow), 202).json()["execution_id"])
    problem(admin.post(f"flows/{uuid.uuid4()}/restore"), 404)


def test_the_number_of_flows_is_exact(stack):
    """Making, copying, importing and restoring, all at once: as many as there is room for, and no more."""
    admin = stack.tenant()
    stack.quota(admin.tenant, max_flows=1000)
    kept = admin.create(noop(), name="kept")
    deleted = [admin.create(noop()) for _ in range(10)]
    for flow in deleted:
        checked(admin.delete(f"flows/{flow}"), 204)
    stack.quota(admin.tenant, max_flows=9)
    document = {"name": "made", **noop().document()}
    calls = [lambda flow=flow: admin.post(f"flows/{flow}/restore") for flow in deleted]
    calls += [lambda: admin.post("flows", json=document), lambda: admin.post(f"flows/{kept}/duplicate"),
              lambda: admin.post("flows/import", json={"document": document})] * 4
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda call: call(), calls))
    made = [answer for answer in answers if answer.status_code in (200, 201)]
    assert len(made) == 8 and {answer.status_code for answer in answers} <= {200, 201, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["Retry-After"]
    assert checked(admin.get("flows"), 200).json()["total"] == 9


def test_the_archive(admin):
    flow = admin.create(noop())
    publish(admin, flow)
    assert put(admin, flow, status="archived")["status"] == "archived"
    problem(admin.execute(flow), 409)
    problem(admin.post(f"flows/{flow}/publish"), 409)
    assert [f["id"] for f in admin.get("flows", params={"status": "archived"}).json()["flows"]] == [flow]
    assert put(admin, flow, status="draft")["status"] == "published"
    checked(admin.execute(flow), 202)


def test_changes_at_the_same_time_do_not_mix(admin):
    flow = admin.create(noop())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: admin.put(f"flows/{flow}", json=Flow().transform("t", n).output(1).document()),
                                range(24)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    taken = [answer.json()["flow"] for answer in answers if answer.status_code == 200]
    now = get(admin, flow)
    assert now["rev"] == 1 + len(taken)
    assert next(f for f in taken if f["rev"] == now["rev"])["nodes"] == now["nodes"]
    problem(admin.put(f"flows/{flow}", json={"name": "x"}, headers={"If-Match": '"1"'}), 412)
    problem(admin.put(f"flows/{flow}", json=noop().document(), headers={"If-Match": '"1"'}), 412)


def test_what_is_published_names_things_that_are_there(admin):
    missing = str(uuid.uuid4())
    flow = admin.create(Flow().add("call", "tool", tool_id=missing, input={}).output(1))
    assert fault_paths(admin.post(f"flows/{flow}/publish", json={})) == ["nodes[1].data.tool_id"]
    sub = admin.create(Flow().add("sub", "subflow", flow_id=missing, input={}).output(1))
    assert fault_paths(admin.post(f"flows/{sub}/publish", json={})) == ["nodes[1].data.flow_id"]
    assert get(admin, flow)["status"] == get(admin, sub)["status"] == "draft"
    inner = admin.create(noop())
    put(admin, sub, **Flow().add("sub", "subflow", flow_id=inner, input={}).output(1).document())
    assert publish(admin, sub)["version"] == 1


def tool(api, **more):
    return make_tool(api, {"kind": "code", "language": "python", "source": "print(1)"},
                     **{"input_schema": {"type": "object"}, "state": "active", **more})


def test_what_a_flow_uses_is_known_and_kept(admin):
    used = tool(admin)
    flow = admin.create(Flow().add("call", "tool", tool_id=used, input={}).output(1))
    checked(admin.put(f"tools/{used}", json={"state": "archived"}), 200)
    assert fault_paths(admin.post(f"flows/{flow}/publish", json={})) == ["nodes[1].data.tool_id"]
    checked(admin.put(f"tools/{used}", json={"state": "active"}), 200)
    publish(admin, flow)
    problem(admin.delete(f"tools/{used}"), 409)
    # a flow that went away holds nothing, and comes back without what went meanwhile
    checked(admin.delete(f"flows/{flow}"), 204)
    checked(admin.delete(f"tools/{used}"), 204)
    checked(admin.post(f"flows/{flow}/restore"), 200)
    assert put(admin, flow, status="archived")["status"] == "archived"
    assert put(admin, flow, status="draft")["status"] == "published"
    archived = admin.create(noop())
    put(admin, archived, status="archived")
    outer = admin.create(Flow().add("sub", "subflow", flow_id=archived, input={}).output(1))
    assert fault_paths(admin.post(f"flows/{outer}/publish", json={})) == ["nodes[1].data.flow_id"]


def test_changes_are_in_the_audit_log(admin):
    flow = admin.create(noop(), name="watched")
    put(admin, flow, description="x")
    publish(admin, flow)
    checked(admin.post(f"flows/{flow}/versions/1/restore"), 200)
    checked(admin.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    eid = checked(admin.execute(flow), 202).json()["execution_id"]
    admin.wait(eid)
    again = checked(admin.post(f"executions/{eid}/retry"), 202).json()["execution_id"]
    admin.wait(again)
    checked(admin.put(f"executions/{eid}/labels", json={"labels": {"a": "b"}}), 200)
    checked(admin.delete(f"flows/{flow}"), 204)
    checked(admin.post(f"flows/{flow}/restore"), 200)
    checked(admin.post("flows/import", json={"document": {"name": "in", **noop().document()}}), 201)
    done = wait_until(lambda: audited(admin, 10), "ten entries of the audit log")
    assert sorted(entry["action"] for entry in done) == sorted([
        "flow.create", "flow.update", "flow.publish", "flow.version_restore", "flow.share", "flow.delete", "flow.restore",
        "flow.import", "execution.retry", "execution.labels"])
    assert {entry["user_id"] for entry in done} == {admin.user_id}
    problem(admin.post(f"flows/{uuid.uuid4()}/restore"), 404)   # a refusal writes nothing
    put(admin, flow, description="the last")
    assert len(wait_until(lambda: audited(admin, 11), "one entry more")) == 11


def audited(admin, least):
    """What the log has of flows and executions, once that is as much."""
    found = [entry for kind in ("flow", "execution") for entry in checked(
        admin.get("audit-log", params={"limit": 100, "resource_type": kind}), 200).json()["entries"]]
    return found if len(found) >= least else None
