"""Live events: order, resume without gap or double, and answers after the events have expired."""

import threading

import pytest

from kit.client import checked, problem
from kit.flows import Flow, ex, noop, of
from kit.waiting import wait_until


def steps(count=6):
    flow = Flow()
    for number in range(count):
        flow.code(f"s{number}", f"import sys; print('step {number}', file=sys.stderr); print({number})")
    return flow.output(ex(of(f"s{count - 1}")))


def identity(event):
    return (event.type, event.data.get("node_id"), event.data.get("status"), event.data.get("text"))


def test_a_watcher_sees_every_step_once_in_order(admin):
    eid = admin.start(steps())
    events = list(admin.stream(eid))
    assert events[-1].type == "end"
    end = events[-1].data
    assert (end["execution_id"], end["status"], end["outputs"]) == (eid, "succeeded", 5)
    ids = [tuple(map(int, event.id.split("-"))) for event in events if event.id]
    assert ids == sorted(set(ids)), "event ids are not strictly growing"
    done = [event.data["node_id"] for event in events if event.type == "node" and event.data["status"] == "succeeded"]
    assert done == ["start", "s0", "s1", "s2", "s3", "s4", "s5", "out"]
    logs = [event.data["text"] for event in events if event.type == "log"]
    assert logs == [f"step {number}" for number in range(6)]
    running = [event for event in events if event.type == "execution" and event.data["status"] == "running"]
    assert len(running) == 1


def test_a_watcher_that_comes_late_sees_it_all(admin):
    eid = admin.start(steps(2))
    admin.wait(eid)
    events = list(admin.stream(eid))
    assert [event.data["node_id"] for event in events if event.type == "node" and event.data["status"] == "succeeded"] == [
        "start", "s0", "s1", "out"]
    assert events[-1].type == "end"


def test_resume_at_every_point_gives_the_rest_and_no_more(admin):
    eid = admin.start(steps(3))
    whole = list(admin.stream(eid))
    assert len(whole) > 8
    for cut in range(len(whole) - 1):
        rest = list(admin.stream(eid, last_id=whole[cut].id))
        assert [event.id for event in rest] == [event.id for event in whole[cut + 1:]], f"after event {cut}"
        assert rest == whole[cut + 1:]


def test_resume_while_it_runs(admin):
    """Cut the connection after each event and take it up again: the pieces make the whole."""
    eid = admin.start(steps(4))
    pieces, last = [], None
    while not pieces or pieces[-1].type != "end":
        for event in admin.stream(eid, last_id=last):
            pieces.append(event)
            last = event.id
            break
    whole = list(admin.stream(eid))
    assert [event.id for event in pieces] == [event.id for event in whole]
    assert [identity(event) for event in pieces] == [identity(event) for event in whole]


def test_many_watchers_see_the_same(admin):
    eid = admin.start(steps(3))
    seen, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: seen.append(list(admin.stream(eid)))))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 8 and all(events == seen[0] for events in seen)


def test_events_expire_after_the_end(stack, admin):
    eid = admin.start(noop())
    admin.wait(eid)
    left = wait_until(lambda: stack.redis().pttl(f"ev:{{{eid}}}") > 0 and stack.redis().pttl(f"ev:{{{eid}}}"),
                      "an expiry of the events", 5)
    assert left <= 3600 * 1000


def test_after_the_events_are_gone_the_answer_comes_from_the_results(stack, admin):
    eid = admin.start(steps(3))
    whole = list(admin.stream(eid))
    stack.redis().delete(f"ev:{{{eid}}}")
    answer = admin.execution(eid)
    assert answer["execution"]["outputs"] == 2 and len(answer["nodes"]) == 5
    assert [line["text"] for line in answer["logs"]] == ["step 0", "step 1", "step 2"]
    again = list(admin.stream(eid))
    assert again[-1].type == "end" and again[-1].data["status"] == "succeeded"
    resumed = list(admin.stream(eid, last_id=whole[2].id))
    assert resumed[-1].type == "end"


def test_a_watcher_whose_place_is_gone_is_told_to_read_again(stack, admin):
    """Older events were dropped: a resume from before them starts with reset."""
    eid = admin.start(steps(4))
    whole = list(admin.stream(eid))
    stack.redis().xtrim(f"ev:{{{eid}}}", minid=whole[6].id, approximate=False)
    events = list(admin.stream(eid, last_id=whole[1].id))
    assert events[0].type == "reset"
    assert [event.id for event in events if event.type != "reset"][-1] == whole[-1].id


@pytest.mark.parametrize("last_id", ["x", "1", "1-", "-1", "1-1-1", "9" * 30 + "-0"])
def test_a_malformed_last_id_is_400(admin, last_id):
    eid = admin.start(noop())
    answer = admin.get(f"executions/{eid}/stream", headers={"Last-Event-ID": last_id})
    problem(answer, 400)


def test_watching_a_waiting_execution_shows_its_cancel(stack, admin):
    stack.quota(admin.tenant, max_concurrent=1)
    flow_id = admin.create(Flow().code("nap", "import time; time.sleep(60)").output(1))
    first, second = admin.start(flow_id), admin.start(flow_id)
    wait_until(lambda: admin.status(first) == "running", "the first start", 10)
    events = []
    watcher = threading.Thread(target=lambda: events.extend(admin.stream(second, timeout=20)))
    watcher.start()
    checked(admin.cancel(second), 202)
    watcher.join(20)
    checked(admin.cancel(first), 202)
    assert events and events[-1].type == "end" and events[-1].data["status"] == "cancelled"


def test_an_output_too_large_for_an_event_is_marked(admin):
    eid = admin.start(Flow().transform("big", ex("\"x\" * 100000")).output(ex(of("big") + " | length")))
    events = list(admin.stream(eid))
    big = next(event for event in events if event.type == "node" and event.data["node_id"] == "big"
               and event.data["status"] == "succeeded")
    assert big.data.get("truncated") is True and "outputs" not in big.data
    node = next(node for node in admin.execution(eid)["nodes"] if node["node_id"] == "big")
    assert node["outputs"] == "x" * 100000
