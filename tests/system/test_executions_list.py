"""Lists of executions: each filter, pages that neither miss nor repeat, labels, and ending many at once."""

import datetime
import uuid

import pytest

from kit.client import checked, fault_paths, problem
from kit.flows import Flow, noop
from kit.waiting import wait_until

WAITS = "import time\ntime.sleep(120)"


def page(api, **query):
    return checked(api.get("executions", params=query), 200).json()


def ids(api, **query):
    return [run["id"] for run in page(api, limit=100, **query)["executions"]]


@pytest.fixture(scope="module")
def history(stack):
    """A tenant with two people and executions of several kinds: (admin, executor, {name: id}, flow, other flow)."""
    admin = stack.tenant()
    executor = stack.user(admin, "executor")
    flow, other = admin.create(noop()), admin.create(Flow().code("boom", "raise SystemExit(1)").output(1))
    for one in (flow, other):
        checked(admin.post(f"flows/{one}/publish", json={}), 201)
    start = lambda api, one, **config: checked(api.execute(one, **config), 202).json()["execution_id"]  # noqa: E731
    runs = {"plain": start(admin, flow), "acme": start(admin, flow, labels={"customer": "acme", "n": "1"}),
            "other": start(executor, flow, labels={"customer": "other"}), "failed": start(admin, other)}
    for eid in runs.values():
        admin.wait(eid)
    runs["retry"] = checked(admin.post(f"executions/{runs['acme']}/retry"), 202).json()["execution_id"]
    admin.wait(runs["retry"])
    return admin, executor, runs, flow, other


def test_each_filter(history):
    admin, executor, runs, flow, other = history
    newest_first = list(reversed(list(runs.values())))
    assert ids(admin) == newest_first == ids(executor)
    some = lambda *names: [eid for eid in newest_first if eid in {runs[name] for name in names}]  # noqa: E731
    assert ids(admin, flow_id=other) == some("failed")
    assert ids(admin, flow_id=str(uuid.uuid4())) == []
    assert ids(admin, status="failed") == some("failed") and ids(admin, status="running") == []
    assert ids(admin, created_by=executor.user_id) == some("other")
    assert ids(admin, source="retry") == ids(admin, source_id=runs["acme"]) == some("retry")
    assert ids(admin, source="api") == some("plain", "acme", "other", "failed")
    assert ids(admin, label="customer=acme") == some("acme", "retry") and ids(admin, label="customer=") == []
    assert ids(admin, label="customer=acme", source="api", flow_id=flow, status="succeeded") == some("acme")
    middle = page(admin, limit=100)["executions"][2]["created_at"]
    assert ids(admin, created_after=middle) == newest_first[:3]
    assert ids(admin, created_before=middle) == newest_first[3:]
    assert ids(admin, created_after="2000-01-01T00:00:00Z", created_before="2000-01-02T00:00:00+02:00") == []


def test_rows_tell_where_they_come_from(history):
    admin, _, runs, flow, _ = history
    row = next(run for run in page(admin)["executions"] if run["id"] == runs["retry"])
    assert (row["source"], row["source_id"], row["labels"]) == ("retry", runs["acme"], {"customer": "acme", "n": "1"})
    assert (row["status"], row["flow_id"], row["version"]) == ("succeeded", flow, 1)
    alone = admin.execution(runs["retry"])["execution"]
    assert {name: alone[name] for name in row} == row


def test_pages_neither_miss_nor_repeat(history):
    admin, _, runs, flow, _ = history
    for query in ({}, {"flow_id": flow}, {"status": "succeeded"}):
        seen, cursor = [], None
        while True:
            one = page(admin, limit=1, **query, **({"cursor": cursor} if cursor else {}))
            seen += [run["id"] for run in one["executions"]]
            cursor = one["page_info"]["next_cursor"]
            if not cursor:
                break
        assert seen == ids(admin, **query)


@pytest.mark.parametrize("query, path", [
    ({"created_after": "yesterday, about noon"}, "created_after"), ({"created_before": "2026-13-01T00:00:00Z"}, "created_before"),
    ({"cursor": "abc"}, "cursor"),
    ({"cursor": "99999999999999999_00000000-0000-0000-0000-00000000000"}, "cursor"), ({"status": "gone"}, "status"),
    ({"source": "x"}, "source"), ({"source_id": "x"}, "source_id"), ({"created_by": "' OR true --"}, "created_by"),
], ids=str)
def test_wrong_filters_are_named(admin, query, path):
    assert fault_paths(admin.get("executions", params=query), 400) == [path]    # also where there is nothing to list


def test_a_label_has_a_name_and_a_sign(admin):
    for label in ("nothing", "=x"):
        assert fault_paths(admin.get("executions", params={"label": label}), 422) == ["label"]


def test_labels_are_set(history):
    admin, executor, runs, _, _ = history
    answer = checked(executor.put(f"executions/{runs['plain']}/labels", json={"labels": {"a b": "c=d", "'": '"'}}), 200)
    assert answer.json()["execution"]["labels"] == {"a b": "c=d", "'": '"'}
    assert ids(admin, label="a b=c=d") == [runs["plain"]] == ids(admin, label="'=\"")
    checked(executor.put(f"executions/{runs['plain']}/labels", json={"labels": {}}), 200)
    assert ids(admin, label="a b=c=d") == []
    assert admin.execution(runs["plain"])["execution"]["labels"] == {}
    problem(admin.put(f"executions/{uuid.uuid4()}/labels", json={"labels": {}}), 404)
    for labels in ({"a": 1}, {"a": "x" * 201}, {str(n): "" for n in range(21)}, []):
        problem(admin.put(f"executions/{runs['plain']}/labels", json={"labels": labels}), 400)


def test_labels_of_another_tenant_find_nothing(stack, history):
    admin, _, runs, flow, _ = history
    stranger = stack.tenant()
    assert ids(stranger) == ids(stranger, label="customer=acme") == ids(stranger, flow_id=flow) == []
    assert ids(stranger, source_id=runs["acme"]) == ids(stranger, created_by=admin.user_id) == []
    problem(stranger.put(f"executions/{runs['acme']}/labels", json={"labels": {}}), 404)
    answer = checked(stranger.post("executions/cancel", json={"ids": list(runs.values())}), 202).json()
    assert answer == {"cancelled": 0, "cancelling": 0, "more": False}


def test_what_is_in_flight_is_found_and_ended(stack):
    admin = stack.tenant()
    stack.quota(admin.tenant, max_concurrent=1)
    slow, quick = admin.create(Flow().code("wait", WAITS).output(1)), admin.create(noop())
    started = [admin.start(slow, labels={"kind": "slow"}) for _ in range(3)]
    wait_until(lambda: len(ids(admin, status="running")) == 1, "one execution that runs")
    queued = admin.start(quick, labels={"kind": "quick"})
    assert set(ids(admin, status="queued")) | set(ids(admin, status="running")) == {*started, queued}
    cancel = lambda **filters: checked(  # noqa: E731
        admin.post("executions/cancel", json={"filter": filters}), 202).json()
    assert cancel(labels={"kind": "none"}) == {"cancelled": 0, "cancelling": 0, "more": False}
    assert cancel(status="queued", labels={"kind": "quick"}) == {"cancelled": 1, "cancelling": 0, "more": False}
    assert admin.status(queued) == "cancelled"
    answer = cancel(flow_id=slow)
    assert answer["cancelled"] + answer["cancelling"] == 3 and answer["cancelling"] <= 1 and not answer["more"]
    assert {admin.wait(eid)["execution"]["status"] for eid in started} == {"cancelled"}
    assert cancel(flow_id=slow) == {"cancelled": 0, "cancelling": 0, "more": False}
    assert ids(admin, status="queued") == ids(admin, status="running") == []


def test_many_at_once_and_some_more(stack):
    admin = stack.tenant()
    stack.quota(admin.tenant, max_concurrent=1)
    blocker = admin.start(Flow().code("wait", WAITS).output(1))
    flow = admin.create(noop())
    wait_until(lambda: ids(admin, status="running") == [blocker], "the one that runs")
    started = [admin.start(flow) for _ in range(1003)]
    first = checked(admin.post("executions/cancel", json={"filter": {"status": "queued"}}), 202).json()
    assert first == {"cancelled": 1000, "cancelling": 0, "more": True}
    rest = checked(admin.post("executions/cancel", json={"ids": started[:1000]}), 202).json()
    last = checked(admin.post("executions/cancel", json={"filter": {"flow_id": flow}}), 202).json()
    assert rest["cancelled"] + last["cancelled"] == 3 and not last["more"]
    checked(admin.cancel(blocker), 202)
    problem(admin.post("executions/cancel", json={"ids": started[:1000] + [blocker]}), 400)
    for body in ({}, {"ids": []}, {"filter": {}}, {"ids": ["x"]}, {"ids": [blocker], "filter": {"status": "queued"}},
                 {"filter": {"status": "failed"}}):
        problem(admin.post("executions/cancel", json=body), 400)


def test_times_of_lists_are_times(history):
    admin = history[0]
    for run in page(admin)["executions"]:
        begun, ended = (datetime.datetime.fromisoformat(run[name]) for name in ("start_time", "end_time"))
        assert datetime.datetime.fromisoformat(run["created_at"]) <= begun <= ended
