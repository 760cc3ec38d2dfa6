"""Flows as resources: made, read, changed under a revision, published, listed, deleted."""

import concurrent.futures

import pytest

from kit.client import checked, problem
from kit.flows import Flow, noop


def text_flow(text):
    return Flow().output(text)


def test_a_flow_comes_back_as_it_was_stored(admin):
    document = noop().schema(input_schema={"type": "object"}).document()
    answer = checked(admin.post("flows", json={"name": "first", "description": "words", **document}), 201)
    flow = answer.json()["flow"]
    assert answer.headers["Location"] == f"/api/v1/flows/{flow['id']}"
    read = checked(admin.get(f"flows/{flow['id']}"), 200)
    assert read.headers["ETag"] == answer.headers["ETag"]
    again = read.json()["flow"]
    assert again == flow
    assert (again["name"], again["description"], again["status"], again["rev"], again["version"]) == (
        "first", "words", "draft", 1, None)
    for member in ("nodes", "edges", "input_schema"):
        assert again[member] == document[member]
    assert again["created_by"] == admin.user_id
    assert read.json()["versions"] == []


def test_names_of_any_script_survive(admin):
    name = "Prüfung 試験 🧪 \"quoted\" \\ back"
    flow_id = admin.create(text_flow("Grüße 🎈 {not an expression}"), name)
    flow = admin.get(f"flows/{flow_id}").json()["flow"]
    assert flow["name"] == name
    assert flow["nodes"][-1]["data"]["value"] == "Grüße 🎈 {not an expression}"


def test_put_changes_what_it_names(admin):
    flow_id = admin.create(noop(), "before")
    flow = checked(admin.put(f"flows/{flow_id}", json={"name": "after"}), 200).json()["flow"]
    assert flow["name"] == "after" and flow["rev"] == 2 and flow["nodes"] == noop().document()["nodes"]
    new = text_flow("changed").document()
    flow = checked(admin.put(f"flows/{flow_id}", json=new), 200).json()["flow"]
    assert flow["name"] == "after" and flow["nodes"] == new["nodes"]


def test_a_lost_update_is_412(admin):
    flow_id = admin.create(noop())
    tag = admin.get(f"flows/{flow_id}").headers["ETag"]
    first = checked(admin.put(f"flows/{flow_id}", json={"name": "one"}, headers={"If-Match": tag}), 200)
    problem(admin.put(f"flows/{flow_id}", json={"name": "two"}, headers={"If-Match": tag}), 412)
    assert admin.get(f"flows/{flow_id}").json()["flow"]["name"] == "one"
    checked(admin.put(f"flows/{flow_id}", json={"name": "three"}, headers={"If-Match": first.headers["ETag"]}), 200)
    checked(admin.put(f"flows/{flow_id}", json={"name": "four"}, headers={"If-Match": "*"}), 200)


def test_of_parallel_updates_on_one_revision_one_wins(admin):
    flow_id = admin.create(noop())
    tag = admin.get(f"flows/{flow_id}").headers["ETag"]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(lambda n: admin.put(f"flows/{flow_id}", json={"name": f"n{n}"},
                                                  headers={"If-Match": tag}).status_code, range(10)))
    assert sorted(codes) == [200] + [412] * 9


def test_publish_makes_versions_that_never_change(admin):
    flow_id = admin.create(text_flow("one"))
    first = checked(admin.post(f"flows/{flow_id}/publish", json={"note": "the first"}), 201).json()["version"]
    assert (first["version"], first["note"]) == (1, "the first")
    assert checked(admin.post(f"flows/{flow_id}/publish"), 200).json()["version"]["version"] == 1
    checked(admin.put(f"flows/{flow_id}", json=text_flow("two").document()), 200)
    assert checked(admin.post(f"flows/{flow_id}/publish", json={}), 201).json()["version"]["version"] == 2
    flow = admin.get(f"flows/{flow_id}").json()
    assert flow["flow"]["status"] == "published" and flow["flow"]["version"] == 2
    assert [version["version"] for version in flow["versions"]] == [2, 1]
    for number, text in ((1, "one"), (2, "two")):
        version = checked(admin.get(f"flows/{flow_id}/versions/{number}"), 200).json()["version"]
        assert version["nodes"][-1]["data"]["value"] == text
    listed = checked(admin.get(f"flows/{flow_id}/versions", params={"limit": 1}), 200).json()
    assert listed["total"] == 2 and [version["version"] for version in listed["versions"]] == [2]
    problem(admin.get(f"flows/{flow_id}/versions/3"), 404)


def test_a_deleted_flow_is_gone_but_its_executions_stay(admin):
    flow_id = admin.create(noop())
    eid = admin.start(flow_id, {"a": 1})
    admin.wait(eid)
    checked(admin.delete(f"flows/{flow_id}"), 204)
    problem(admin.get(f"flows/{flow_id}"), 404)
    problem(admin.delete(f"flows/{flow_id}"), 404)
    problem(admin.put(f"flows/{flow_id}", json={"name": "x"}), 404)
    problem(admin.execute(flow_id), 404)
    assert admin.get("flows").json()["total"] == 0
    assert admin.execution(eid)["execution"]["flow_id"] == flow_id


def test_an_archived_flow_does_not_run(admin):
    flow_id = admin.create(noop())
    checked(admin.put(f"flows/{flow_id}", json={"status": "archived"}), 200)
    problem(admin.execute(flow_id), 409)
    checked(admin.put(f"flows/{flow_id}", json={"status": "draft"}), 200)
    checked(admin.execute(flow_id), 202)


def test_lists_have_pages_filters_and_order(admin):
    ids = [admin.create(noop(), f"flow {letter}") for letter in "cab"]
    checked(admin.post(f"flows/{ids[0]}/publish"), 201)
    page = checked(admin.get("flows", params={"limit": 2, "sort": "name"}), 200).json()
    assert [flow["name"] for flow in page["flows"]] == ["flow a", "flow b"]
    assert page["total"] == 3 and page["page_info"] == {"page": 1, "limit": 2, "pages": 2}
    page = admin.get("flows", params={"limit": 2, "sort": "name", "page": 2}).json()
    assert [flow["name"] for flow in page["flows"]] == ["flow c"]
    assert [flow["id"] for flow in admin.get("flows", params={"status": "published"}).json()["flows"]] == [ids[0]]
    assert [flow["id"] for flow in admin.get("flows", params={"search": "FLOW B"}).json()["flows"]] == [ids[2]]
    assert admin.get("flows", params={"search": "%"}).json()["total"] == 0
    assert admin.get("flows", params={"created_by": admin.user_id}).json()["total"] == 3
    assert [flow["name"] for flow in admin.get("flows", params={"sort": "-name"}).json()["flows"]] == [
        "flow c", "flow b", "flow a"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "page=0", "sort=size", "status=gone", "color=red",
                                   "created_by=me", "search="])
def test_wrong_parameters_are_named(admin, query):
    body = problem(admin.get(f"flows?{query}"), 400)
    assert any(query.split("=")[0] in fault["path"] for fault in body["errors"]), body


def test_the_number_of_flows_is_a_quota_exact_under_parallel_calls(stack):
    admin = stack.tenant(roomy=False)
    stack.quota(admin.tenant, max_flows=5)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: admin.post("flows", json={"name": f"f{n}", **noop().document()}), range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 7
    assert admin.get("flows").json()["total"] == 5
