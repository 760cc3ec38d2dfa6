"""Talking with agents and crews: sessions, messages, turns, attached flows and the history that is kept of them."""

import threading

import pytest

from kit.chat import Chat
from kit.client import checked, fault_paths, problem
from kit.flows import Flow, ex
from kit.model_server import ModelServer, Turn
from kit.models import agent, crew, provider, two_tasks
from kit.waiting import wait_until


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture
def models():
    with ModelServer() as server:
        server.answers(lambda asked: Turn(f"Answer {len(server.asked)}"))
        yield server


@pytest.fixture
def chat(team, models):
    return Chat(team, agent_id=agent(team, provider(team, models), "Guide"))


def last_question(models):
    return models.asked[-1].json["messages"][-1]["content"]


def shipped(stack, chat, count):
    """Until the document server has so many messages of a chat."""
    with stack.documents("chat_messages") as kept:
        wait_until(lambda: kept.count_documents({"s": chat.id}) == count, f"{count} messages in the document server", 30)
        return sorted(one["q"] for one in kept.find({"s": chat.id}))


# ---- talking ---------------------------------------------------------------------------------------------------------

def test_a_message_is_answered(team, models, chat):
    accepted = chat.say("Where is the library?")
    said, answer = chat.await_messages(2)
    assert (said["seq"], said["role"], said["content"], said["id"]) == (1, "user", "Where is the library?", accepted["message_id"])
    assert said["execution_id"] == answer["execution_id"] == accepted["execution_id"]
    assert (answer["seq"], answer["role"], answer["status"], answer["content"]) == (2, "assistant", "done", "Answer 1")
    ran = team.execution(accepted["execution_id"])["execution"]
    assert (ran["source"], ran["source_id"], ran["status"]) == ("chat", chat.id, "succeeded")
    assert last_question(models) == "Where is the library?"


def test_the_partner_is_given_the_conversation(models, chat):
    chat.ask("My name is Ada.")
    chat.ask("What is my name?")
    asked = last_question(models)
    assert asked.index("Person: My name is Ada.") < asked.index("You: Answer 1") < asked.index("What is my name?")


def test_of_a_long_conversation_the_newest_messages_are_given(models, chat):
    for word in ("first", "second", "third", "fourth"):
        chat.ask(word + " " + "x" * 15000)
    asked = last_question(models)
    assert "first" not in asked and "third" in asked and "fourth" in asked and len(asked) < 50000


def test_the_demo_provider_talks(team):
    demo = checked(team.post("llm-providers", json={"name": "demo of chats", "provider_type": "demo"}), 201).json()["llm_provider"]["id"]
    answer = Chat(team, agent_id=agent(team, demo, "Host")).ask("Tell me of the sea")
    assert answer["status"] == "done" and answer["content"]


def test_a_crew_without_a_place_for_the_message_hears_it(team, models):
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder"), agent(team, asks, "Writer")
    tasks = [{"name": "look", "description": "Look into it", "expected_output": "facts", "agent_id": one},
             {"name": "write", "description": "Write it down", "expected_output": "a text", "agent_id": two}]
    chat = Chat(team, crew_id=crew(team, [one, two], tasks))
    assert chat.ask("What do whales eat?")["content"] == "Answer 2"
    assert all("What do whales eat?" in asked.json["messages"][-1]["content"] for asked in models.asked)
    chat.ask("And dolphins?")
    assert "What do whales eat?" in last_question(models) and "And dolphins?" in last_question(models)


def test_places_of_a_crew_are_filled(team, models):
    asks = provider(team, models)
    one, two = agent(team, asks, "Finder of {kind} things"), agent(team, asks, "Writer")
    chat = Chat(team, crew_id=crew(team, [one, two], two_tasks(one, two)))
    assert chat.ask("cats", inputs={"kind": "old"})["status"] == "done"
    first = str(models.asked[0].json["messages"])
    assert "Finder of old things" in first and "cats" in first


# ---- one turn at a time ------------------------------------------------------------------------------------------------

def test_a_second_message_waits_for_the_first(models, chat):
    models.say("slow", wait_s=30)
    first = chat.say("one")
    refused = problem(chat.api.post(f"{chat.path}/messages", json={"content": "two"}), 409)
    assert first["execution_id"] in refused["detail"]
    assert chat.messages()["turn"] == {"seq": 1, "step": "partner", "execution_id": first["execution_id"]}
    stopped = checked(chat.api.post(f"{chat.path}/stop"), 202).json()
    assert stopped["execution_id"] == first["execution_id"] and stopped["status"] in ("stopped", "stopping")
    assert [(one["role"], one["status"]) for one in chat.await_messages(2)] == [("user", "done"), ("assistant", "stopped")]
    problem(chat.api.post(f"{chat.path}/stop"), 409)
    assert chat.ask("three")["status"] == "done"


def test_a_run_that_is_cancelled_by_itself_stops_the_turn(team, models, chat):
    models.say("slow", wait_s=30)
    eid = chat.say("one")["execution_id"]
    checked(team.cancel(eid), 202)
    assert chat.await_messages(2)[1]["status"] == "stopped"


def test_a_failure_is_an_answer(models, chat):
    models.answers(lambda asked: Turn(status=400))
    answer = chat.ask("Anything")
    assert (answer["role"], answer["status"], answer["content"]) == ("assistant", "failed", "")
    assert answer["error"]["code"] and answer["error"]["message"]
    models.answers(lambda asked: Turn("better"))
    assert chat.ask("Again")["content"] == "better"


def test_a_key_says_a_thing_once(chat):
    first = chat.say("one", key="k1")
    assert chat.say("one", key="k1") == first
    problem(chat.api.post(f"{chat.path}/messages", json={"content": "other"}, headers={"Idempotency-Key": "k1"}), 422)
    chat.await_messages(2)
    assert chat.say("one", key="k1") == first and chat.messages()["total"] == 2


def test_many_messages_at_once_begin_one_turn(models, chat):
    models.answers(lambda asked: Turn("slow", wait_s=3))
    found = []

    def say(number):
        found.append(chat.api.post(f"{chat.path}/messages", json={"content": f"m{number}"}).status_code)

    threads = [threading.Thread(target=say, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [202] + [409] * 7
    assert [one["seq"] for one in chat.await_messages(2)] == [1, 2]


# ---- attached flows ------------------------------------------------------------------------------------------------------

def flow_of(team, value, input_schema=None):
    flow = Flow().output(value)
    if input_schema:
        flow.schemas["input_schema"] = input_schema
    made = team.create(flow, name="attached")
    checked(team.post(f"flows/{made}/publish", json={}), 201)
    return made


def test_an_attached_flow_runs_first_and_is_heard(team, models, chat):
    flow = flow_of(team, {"total": ex(".inputs.a + .inputs.b")})
    begun = chat.say("What is the sum?", attached_flow_id=flow, inputs={"a": 2, "b": 40})
    said, gave, answer = chat.await_messages(3)
    assert (said["attached_flow_id"], said["execution_id"]) == (flow, begun["execution_id"])
    assert (gave["role"], gave["status"], gave["content"]) == ("flow", "done", '{"total":42}')
    assert gave["execution_id"] == begun["execution_id"] != answer["execution_id"]
    assert answer["content"] == "Answer 1" and "42" in last_question(models) and "What is the sum?" in last_question(models)


def test_a_flow_that_fails_ends_the_turn(team, models, chat):
    flow = flow_of(team, ex('error("broken on purpose")'))
    chat.say("Try", attached_flow_id=flow)
    said, gave, answer = chat.await_messages(3)
    assert [one["status"] for one in (gave, answer)] == ["failed", "failed"]
    assert "broken on purpose" in str(gave["error"]) and answer["error"] == gave["error"]
    assert not models.asked


def test_inputs_are_checked_against_the_flow(team, chat):
    flow = flow_of(team, "x", input_schema={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
    answer = chat.api.post(f"{chat.path}/messages", json={"content": "go", "attached_flow_id": flow, "inputs": {"n": "many"}})
    assert fault_paths(answer) == ["inputs.n"]
    assert chat.messages()["total"] == 0
    chat.say("go", attached_flow_id=flow, inputs={"n": 1})
    chat.await_messages(3)


def test_a_flow_takes_the_right_to_run_it(stack, team, models):
    flow = flow_of(team, "secret")
    checked(team.put(f"flows/{flow}/sharing", json={"visibility": "private"}), 200)
    other = stack.user(team, "executor", "talker")
    chat = Chat(other, agent_id=agent(team, provider(team, models), "Guide"))
    body = {"content": "go", "attached_flow_id": flow}
    problem(other.post(f"{chat.path}/messages", json=body), 404)
    checked(team.put(f"flows/{flow}/sharing", json={"shares": [{"user_id": other.user_id, "access": "view"}]}), 200)
    problem(other.post(f"{chat.path}/messages", json=body), 403)
    assert chat.messages()["total"] == 0


def test_stopping_between_flow_and_partner(team, chat):
    flow = team.create(Flow().add("pause", "wait", seconds=60).output("x", after="pause"), name="slow one")
    chat.say("go", attached_flow_id=flow)
    checked(chat.api.post(f"{chat.path}/stop"), 202)
    assert [(one["role"], one["status"]) for one in chat.await_messages(3)] == [
        ("user", "done"), ("flow", "stopped"), ("assistant", "stopped")]


# ---- whose they are -------------------------------------------------------------------------------------------------------

def test_a_chat_is_its_makers_own(stack, team, models, chat):
    chat.ask("my secret word is heron")
    other_admin, viewer = stack.user(team, "admin", "second"), stack.user(team, "viewer", "onlooker")
    for somebody in (other_admin, viewer):
        for method, path in (("GET", chat.path), ("GET", f"{chat.path}/messages"), ("GET", f"{chat.path}/stream")):
            problem(somebody.request(method, path), 404)
        assert checked(somebody.get("chat/sessions"), 200).json()["sessions"] == []
    problem(other_admin.delete(chat.path), 404)
    problem(other_admin.post(f"{chat.path}/messages", json={"content": "x"}), 404)
    problem(viewer.post("chat/sessions", json={"agent_id": chat.session["agent_id"]}), 403)


def test_the_runs_of_a_chat_are_not_for_everybody(stack, team, models, chat):
    chat.ask("my secret word is heron")
    eid = chat.messages()["messages"][0]["execution_id"]
    editor = stack.user(team, "editor", "curious")
    problem(editor.get(f"executions/{eid}"), 404)
    assert eid not in editor.get("executions", params={"source": "chat"}).text
    assert eid in team.get("executions", params={"source": "chat"}).text
    problem(team.post(f"executions/{eid}/retry", json={}), 409)


# ---- sessions -------------------------------------------------------------------------------------------------------------

def test_titles_come_from_the_first_message(team, models, chat):
    assert chat.session["title"] == ""
    chat.ask("How do I get from the old harbour to the northern lighthouse without a car?\nPlease be brief.")
    shown = checked(team.get(chat.path), 200).json()["session"]
    assert shown["title"] == "How do I get from the old harbour to the northern…" and shown["messages"] == 2
    renamed = checked(team.put(chat.path, json={"title": "Lighthouse"}), 200).json()["session"]
    chat.ask("Another thing")
    assert renamed["title"] == checked(team.get(chat.path), 200).json()["session"]["title"] == "Lighthouse"
    problem(team.put(chat.path, json={"title": "x"}, headers={"If-Match": '"1"'}), 412)


def test_lists_are_searched_and_paged(stack, models):
    api = stack.tenant()
    one = agent(api, provider(api, models), "Guide")
    made = [Chat(api, agent_id=one, title=f"About {word}").id for word in ("bread", "Butter", "cheese")]
    page = checked(api.get("chat/sessions", params={"limit": 2}), 200).json()
    assert [s["id"] for s in page["sessions"]] == made[:0:-1] and page["total"] == 3 and page["page_info"]["pages"] == 2
    found = checked(api.get("chat/sessions", params={"q": "butt"}), 200).json()["sessions"]
    assert [s["id"] for s in found] == [made[1]]


@pytest.mark.parametrize("body, status", [
    ({}, 422), ({"agent_id": "x"}, 400), ({"title": "x" * 201}, 400), ({"nobody": 1}, 400),
    ({"agent_id": "01900000-0000-7000-8000-000000000000"}, 422), ({"crew_id": "01900000-0000-7000-8000-000000000000"}, 422)])
def test_what_is_no_session(team, body, status):
    problem(team.post("chat/sessions", json=body), status)


def test_a_chat_has_one_partner(team, models, chat):
    agent_id = chat.session["agent_id"]
    answer = team.post("chat/sessions", json={"agent_id": agent_id, "crew_id": crew(team, [agent_id], [])})
    assert fault_paths(answer) == ["crew_id"]


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": "x" * 65537}, {"content": 1}, {"content": "x", "more": 1},
                                  {"content": "x", "inputs": []}, {"content": "x", "attached_flow_id": "no"}, {"content": "\0"}])
def test_what_is_no_message(chat, body):
    problem(chat.api.post(f"{chat.path}/messages", json=body), 400)
    assert chat.messages()["total"] == 0


def test_a_partner_that_is_gone_answers_nobody(team, models, chat):
    chat.ask("Hello")
    who = chat.session["agent_id"]
    checked(team.put(f"agents/{who}", json={"state": "archived"}), 200)
    assert "archived" in problem(chat.api.post(f"{chat.path}/messages", json={"content": "x"}), 409)["detail"]
    problem(team.post("chat/sessions", json={"agent_id": who}), 409)
    checked(team.delete(f"agents/{who}"), 204)
    assert "deleted" in problem(chat.api.post(f"{chat.path}/messages", json={"content": "x"}), 409)["detail"]
    assert chat.messages()["total"] == 2


# ---- history ------------------------------------------------------------------------------------------------------------------

def test_history_moves_to_the_document_server(stack, models, chat):
    for number in range(6):
        chat.ask(f"{number} " + "y" * 12000)
    assert shipped(stack, chat, 12) == list(range(1, 13))
    wait_until(lambda: stack.sql("SELECT min(seq) FROM control.chat_message WHERE session = %s", chat.id)[0][0] > 1,
               "old messages leaving PostgreSQL")
    page = chat.messages(limit=100)
    assert [one["seq"] for one in page["messages"]] == list(range(1, 13)) and page["page_info"]["next_cursor"] is None
    assert [one["content"][:1] for one in page["messages"][::2]] == list("012345")
    first = chat.messages(limit=5)
    rest = chat.messages(limit=5, cursor=first["page_info"]["next_cursor"])
    assert [one["seq"] for one in first["messages"] + rest["messages"]] == list(range(1, 11))
    assert chat.messages(cursor="999999")["messages"] == []


def test_a_deleted_chat_leaves_nothing(stack, team, models, chat):
    chat.ask("Remember me")
    shipped(stack, chat, 2)
    models.say("slow", wait_s=30)
    eid = chat.say("still there?")["execution_id"]
    checked(team.delete(chat.path), 204)
    problem(team.get(chat.path), 404)
    assert team.wait(eid)["execution"]["status"] == "cancelled"
    shipped(stack, chat, 0)
    for table in ("chat_session", "chat_message", "chat_turn", "chat_key"):
        column = "id" if table == "chat_session" else "session"
        assert stack.sql(f"SELECT count(*) FROM control.{table} WHERE {column} = %s", chat.id)[0][0] == 0


def test_chats_go_with_their_person(stack, team, models):
    leaver = stack.user(team, "executor", "leaver")
    chat = Chat(leaver, agent_id=agent(team, provider(team, models), "Guide"))
    chat.ask("Bye")
    shipped(stack, chat, 2)
    checked(team.delete(f"users/{leaver.user_id}"), 204)
    shipped(stack, chat, 0)


def test_a_run_that_waits_for_a_person_is_answered_with_approvals(team, models, chat):
    flow = team.create(Flow().add("ask", "approval", message="May it?", roles=["admin"]).output("yes", after=("ask", "approved")))
    begun = chat.say("go", attached_flow_id=flow)
    with chat.open().accepted() as stream:
        chat_path = f"approvals?execution_id={begun['execution_id']}&status=pending"
        waiting = wait_until(lambda: checked(team.get(chat_path), 200).json()["approvals"], "the question", 30)
        checked(team.post(f"approvals/{waiting[0]['id']}/decide", json={"decision": "approve"}), 200)
        assert stream.until_message(3)["status"] == "done"
        assert any(one["type"] == "node" and one["data"].get("status") == "waiting" for one in stream.seen)


def test_a_crew_with_nothing_to_do_says_so(team, models):
    """A crew without tasks is no partner that could answer; the turn ends, and tells why."""
    chat = Chat(team, crew_id=crew(team, [agent(team, provider(team, models))], []))
    answer = chat.ask("Hello")
    assert answer["status"] == "failed" and answer["error"]["message"]
