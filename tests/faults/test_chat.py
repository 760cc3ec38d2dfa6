"""Whoever dies in the middle of a turn: each message gets its answer, in order, once, here and in the document server."""

import itertools
import json
import signal
import threading
import time

import httpx
import pytest

from kit.chat import Chat, Closed
from kit.client import Unexpected
from kit.flows import Flow, ex
from kit.model_server import ModelServer, Turn
from kit.models import agent, provider
from kit.waiting import Late, wait_until

CHATS, MESSAGES = 6, 4
AWAY = (httpx.HTTPError, Unexpected, AssertionError)


@pytest.fixture
def models():
    with ModelServer() as server:
        server.answers(lambda asked: Turn("Heard: " + asked.last.rpartition("#")[2][:4], wait_s=0.2))
        yield server


def patient(action):
    """Try until the server answers with what is wanted; conflicts and outages pass."""
    end = time.monotonic() + 120
    while True:
        try:
            return action()
        except AWAY:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Talker(threading.Thread):
    """Says its messages one behind the other, each until it is taken, and awaits each answer."""

    def __init__(self, chat, flow):
        super().__init__(daemon=True)
        self.chat, self.flow, self.error = chat, flow, None

    def run(self):
        try:
            for number in range(MESSAGES):
                attached = {"attached_flow_id": self.flow, "inputs": {"n": number}} if self.flow else {}
                taken = patient(lambda: self.chat.say(f"Message #{number:04}", key=f"m{number}", **attached))
                wait_until(lambda: self.answered(taken["seq"]), f"the answer to message {number}", 120, forgive=AWAY)
        except Exception as error:  # noqa: BLE001 shown by the test
            self.error = error

    def answered(self, seq):
        page = self.chat.messages(limit=100)
        return page["turn"] is None and page["total"] > seq


def test_every_message_has_one_answer_whoever_dies(stack, models):
    admin = stack.tenant()
    who = agent(admin, provider(admin, models, max_retries=2), "Guide")
    flow = admin.create(Flow().output({"twice": ex(".inputs.n * 2")}), name="twice")
    talkers = [Talker(Chat(admin, agent_id=who), flow if number % 2 else None) for number in range(CHATS)]
    for talker in talkers:
        talker.start()
    victims = itertools.cycle(["supervisor-1", "scheduler-1", "web", "supervisor-2", "scheduler-2", "web"])
    for name in victims:
        if not any(talker.is_alive() for talker in talkers):
            break
        stack.kill(name, signal.SIGKILL)
        asked = len(models.asked)
        wait_until(lambda: len(models.asked) > asked or not any(talker.is_alive() for talker in talkers), "progress", 120)
    for talker in talkers:
        talker.join(150)
        assert talker.error is None and not talker.is_alive(), talker.error
    for talker in talkers:
        turn = ["user", "flow", "assistant"] if talker.flow else ["user", "assistant"]
        messages = talker.chat.await_messages(MESSAGES * len(turn))
        assert [one["seq"] for one in messages] == list(range(1, MESSAGES * len(turn) + 1))
        assert [one["role"] for one in messages] == turn * MESSAGES
        said = [one["content"] for one in messages if one["role"] == "user"]
        assert said == [f"Message #{number:04}" for number in range(MESSAGES)]
        for number, one in enumerate(m for m in messages if m["role"] == "assistant"):
            assert one["status"] == "done", one
        for number, one in enumerate(m for m in messages if m["role"] == "flow"):
            assert json.loads(one["content"]) == {"twice": number * 2}
        with stack.documents("chat_messages") as kept:
            wait_until(lambda: kept.count_documents({"s": talker.chat.id}) == len(messages), "the history", 30)
            stored = sorted((one["q"], json.loads(one["j"])["content"]) for one in kept.find({"s": talker.chat.id}))
        assert stored == [(one["seq"], one["content"]) for one in messages]
    assert stack.sql("SELECT count(*) FROM control.chat_turn")[0][0] == 0


def test_a_stream_survives_its_server(stack, models):
    """A client that comes back with the place it was at sees each frame once, whichever worker died."""
    admin = stack.tenant()
    chat = Chat(admin, agent_id=agent(admin, provider(admin, models), "Guide"))
    models.answers(lambda asked: Turn("A long answer in many small pieces, which takes its time", pause_s=0.05))
    seen, after, kills = [], "0", 0
    chat.say("Talk to me")
    while not any(one["type"] == "message" and one["message"]["seq"] == 2 for one in seen):
        try:
            with chat.open(after=after).accepted() as stream:
                while True:
                    one = stream.next(10)
                    if "seq" in one and one["type"] != "ready":
                        seen.append(one)
                        after = one["seq"]
                    if one["type"] == "token" and kills < 3:
                        kills += 1
                        stack.kill("web", signal.SIGKILL)
                    if one["type"] == "message" and one["message"]["seq"] == 2:
                        break
        except (Closed, OSError, Late):
            continue
    assert kills == 3
    places = [one["seq"] for one in seen]
    assert len(places) == len(set(places)) and "reset" not in [one["type"] for one in seen]
    told = "".join(one["data"]["text"] for one in seen if one["type"] == "token")
    assert told == seen[-1]["message"]["content"] == "A long answer in many small pieces, which takes its time"
