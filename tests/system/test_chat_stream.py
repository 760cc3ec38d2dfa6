"""Chats over their WebSocket: one order of messages and events, resume, logins, and clients that keep no rules."""

import json
import os
import socket
import threading

import pytest

from kit.chat import BINARY, CLOSE, PING, PONG, TEXT, Chat, Closed, Socket, frame, seqs
from kit.client import Api, checked
from kit.model_server import ModelServer, Turn
from kit.models import agent, provider
from kit.waiting import Late, wait_until


@pytest.fixture(scope="module")
def team(stack):
    return stack.tenant()


@pytest.fixture
def models():
    with ModelServer() as server:
        server.answers(lambda asked: Turn(f"Answer number {len(server.asked)} in a few pieces"))
        yield server


@pytest.fixture
def chat(team, models):
    return Chat(team, agent_id=agent(team, provider(team, models), "Guide"))


def types(frames):
    return [one["type"] for one in frames]


def tokens(frames):
    return "".join(one["data"]["text"] for one in frames if one["type"] == "token")


# ---- what a person sees ------------------------------------------------------------------------------------------------

def test_a_turn_over_the_socket(chat):
    with chat.open().accepted() as stream:
        assert stream.next() == {"type": "ready", "seq": "0"}
        stream.send(type="message", id="m1", content="Hello there")
        answer = stream.until_message(2)
        assert answer["content"] == "Answer number 1 in a few pieces"
        accepted = next(one for one in stream.seen if one["type"] == "accepted")
        assert accepted["id"] == "m1" and accepted["result"]["seq"] == 1
        shown = [one for one in stream.seen if one["type"] not in ("accepted", "ready")]
        assert types(shown)[0] == types(shown)[-1] == "message" and types(shown)[-2] == "end"
        assert tokens(shown) == answer["content"]
        assert {one["execution_id"] for one in shown[1:-1]} == {accepted["result"]["execution_id"]}
        assert seqs(shown) == sorted(set(seqs(shown)))


def test_two_sockets_and_http_see_the_same(chat):
    with chat.open().accepted() as one, chat.open().accepted() as other:
        chat.say("over HTTP")
        for stream in (one, other):
            stream.until_message(2)
        assert [f for f in one.seen if "seq" in f] == [f for f in other.seen if "seq" in f]


def test_frames_that_are_asked_twice(chat):
    with chat.open().accepted() as stream:
        stream.send(type="message", id="same", content="once")
        first = stream.until(lambda one: one["type"] == "accepted")
        stream.send(type="message", id="same", content="once")
        assert stream.until(lambda one: one["type"] == "accepted") == first
        stream.until_message(2)
    assert chat.messages()["total"] == 2


def test_stop_over_the_socket(models, chat):
    models.say("slow", wait_s=30)
    with chat.open().accepted() as stream:
        stream.send(type="message", content="go")
        stream.until_message(1)
        stream.send(type="stop", id="s")
        assert stream.until(lambda one: one["type"] == "accepted" and one["id"] == "s")["result"]["status"] in ("stopping", "stopped")
        assert stream.until_message(2)["status"] == "stopped"
        stream.send(type="stop", id="again")
        refused = stream.until(lambda one: one["type"] == "error")
        assert (refused["id"], refused["status"]) == ("again", 409) and refused["problem"]["detail"]


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "1", "{}", '{"type": 1}', '{"type": "dance"}', '{"type": "message"}',
                                  '{"type": "message", "content": ""}', '{"type": "message", "content": "x", "more": 1}',
                                  '{"type": "message", "content": "x", "id": 7}', '{"type": "ping", "id": ""}',
                                  '{"type": "message", "content": "x", "attached_flow_id": "no"}'])
def test_frames_that_are_wrong_are_told_so(chat, text):
    with chat.open().accepted() as stream:
        stream.raw(frame(TEXT, text.encode()))
        assert stream.until(lambda one: one["type"] == "error")["status"] == 400
        stream.send(type="ping", id="p")
        assert stream.until(lambda one: one["type"] == "pong")["id"] == "p"
    assert chat.messages()["total"] == 0


def test_a_viewer_watches_and_says_nothing(stack, team, models):
    person = stack.user(team, "executor", "demoted")
    chat = Chat(person, agent_id=agent(team, provider(team, models), "Guide"))
    with chat.open().accepted() as stream:
        checked(team.put(f"users/{person.user_id}", json={"role": "viewer"}), 200)

        def refused():
            stream.send(type="message", content="x")
            return stream.until(lambda one: one["type"] in ("error", "accepted"))["type"] == "error"
        wait_until(refused, "the role of now", 20)


# ---- resume -----------------------------------------------------------------------------------------------------------------

def test_a_stream_goes_on_from_every_place(models, chat):
    with chat.open().accepted() as stream:
        for content in ("one", "two"):
            stream.send(type="message", content=content)
            stream.until(lambda one, wanted=content: one["type"] == "message" and one["message"]["role"] == "assistant")
        whole = [one for one in stream.seen if "seq" in one and one["type"] != "ready"]
    assert len(whole) > 8
    for place in range(len(whole) - 1):
        with chat.open(after=whole[place]["seq"]).accepted() as stream:
            assert stream.next() == {"type": "ready", "seq": whole[place]["seq"]}
            stream.until_message(4)
            assert stream.seen[1:] == whole[place + 1:], place
    with chat.open(after="0").accepted() as stream:
        stream.until_message(4)
        assert stream.seen[1:] == whole


def test_a_connection_that_breaks_in_mid_turn_loses_nothing(models, chat):
    gate = threading.Event()
    models.say("The long answer that comes in many small pieces of text", pause_s=0.02, gate=gate)
    seen = []
    with chat.open().accepted() as stream:
        stream.send(type="message", content="go")
        stream.until_message(1)
        gate.set()
        last = stream.until(lambda one: one["type"] == "token")["seq"]
        seen += [one for one in stream.seen if "seq" in one and one["type"] != "ready"]
    for _ in range(50):
        with chat.open(after=last).accepted() as stream:
            try:
                for _ in range(4):
                    stream.next(2)
            except Late:
                pass
            fresh = [one for one in stream.seen if "seq" in one and one["type"] != "ready"]
            seen += fresh
            last = seen[-1]["seq"]
        if any(one["type"] == "message" and one["message"]["seq"] == 2 for one in seen):
            break
    assert seqs(seen) == sorted(set(seqs(seen))) and "reset" not in types(seen)
    assert tokens(seen) == seen[-1]["message"]["content"] == "The long answer that comes in many small pieces of text"


def test_events_that_are_gone_are_told_and_messages_come(stack, models, chat):
    with chat.open().accepted() as stream:
        stream.send(type="message", content="go")
        stream.until_message(2)
        token = next(one for one in stream.seen if one["type"] == "token")
    stack.redis().delete("ev:{%s}" % token["execution_id"])
    with chat.open(after=token["seq"]).accepted() as stream:
        assert stream.until_message(2)["role"] == "assistant"
        assert [(one["type"], one["seq"]) for one in stream.seen[1:]] == [("reset", "1"), ("message", "2")]
        assert stream.seen[1]["execution_id"] == token["execution_id"]


def test_a_place_that_never_was(chat):
    with chat.open(after="77.5-5").accepted() as stream:
        assert stream.until(lambda one: one["type"] == "reset")["seq"] == "0"
        chat.say("hello")
        stream.until_message(2)


@pytest.mark.parametrize("after", ["x", "-1", "1.", "1.5", "1.5-", "1.5-5-5", "1234567890", "1.1234567890123456-1", "."])
def test_a_place_that_is_none(chat, after):
    with chat.open(after=after) as stream:
        assert stream.status == 400


def test_messages_come_while_redis_is_away(stack, models, chat):
    """Redis restarts empty in the middle of a turn: the answer comes all the same."""
    gate = threading.Event()
    models.say("patient", gate=gate)
    with chat.open().accepted() as stream:
        stream.send(type="message", content="go")
        stream.until_message(1)
        stack.redis().flushall()
        gate.set()
        assert stream.until_message(2)["content"] == "patient"


# ---- the handshake -------------------------------------------------------------------------------------------------------------

def bearer(api):
    return {"Authorization": f"Bearer {api.access}"}


def test_a_browser_offers_its_token_as_a_subprotocol(chat):
    offered = {"Sec-WebSocket-Protocol": f"windlass.v1, bearer.{chat.api.access}", "Origin": chat.api.url}
    with chat.open(headers=offered).accepted() as stream:
        assert stream.headers["sec-websocket-protocol"] == "windlass.v1" and chat.api.access not in str(stream.headers)
        stream.send(type="ping")
        stream.until(lambda one: one["type"] == "pong")
    for wrong in ("windlass.v1", "windlass.v1, bearer.", "windlass.v1, bearer.nonsense", "bearer"):
        with chat.open(headers={"Sec-WebSocket-Protocol": wrong}) as stream:
            assert stream.status == 401


def test_the_token_of_a_subprotocol_opens_nothing_else(chat):
    answer = Api(chat.api.url).get(chat.path, headers={"Sec-WebSocket-Protocol": f"bearer.{chat.api.access}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("origin, status", [(None, 101), ("own", 101), ("OWN", 101), ("http://evil.example", 403), ("null", 403), ("", 403),
                                            ("http://127.0.0.1", 403), ("own/", 403), ("own.evil.example", 403)])
def test_pages_of_other_sites_get_nowhere(chat, origin, status):
    own = chat.api.url.rstrip("/")
    if origin is not None:
        origin = own.upper() if origin == "OWN" else origin.replace("own", own)
    with chat.open(headers={**bearer(chat.api), "Origin": origin}) as stream:
        assert stream.status == status


@pytest.mark.parametrize("change, status", [
    ({"upgrade": None}, 426), ({"upgrade": "h2c"}, 426), ({"version": "8"}, 426), ({"version": None}, 426), ({"Connection": "close"}, 426),
    ({"Sec-WebSocket-Key": None}, 400), ({"Sec-WebSocket-Key": "short"}, 400), ({"Sec-WebSocket-Key": "!" * 24}, 400),
    ({"Sec-WebSocket-Key": "A" * 200}, 400)])
def test_handshakes_that_are_none(chat, change, status):
    named = {name: change[name] for name in ("upgrade", "version") if name in change}
    headers = {**bearer(chat.api), **{name: value for name, value in change.items() if name not in named}}
    with chat.open(headers=headers, **named) as stream:
        assert stream.status == status
        if status == 426:
            assert stream.headers["upgrade"] == "websocket" and stream.headers["sec-websocket-version"] == "13"


def test_without_a_token_nothing_opens(stack, chat):
    with chat.open(headers={}) as stream:
        assert stream.status == 401
    other = stack.tenant()
    with chat.open(other) as stream:
        assert stream.status == 404


def test_frames_behind_the_handshake_are_heard(chat):
    early = frame(TEXT, json.dumps({"type": "ping", "id": "early"}).encode())
    with chat.open(early=early + early[:5]).accepted() as stream:
        assert stream.until(lambda one: one["type"] == "pong")["id"] == "early"
        stream.raw(early[5:])
        assert stream.until(lambda one: one["type"] == "pong")["id"] == "early"


# ---- frames ----------------------------------------------------------------------------------------------------------------------

def test_fragments_with_pings_between_them(chat):
    text = json.dumps({"type": "message", "content": "größer " * 3}).encode()
    with chat.open().accepted() as stream:
        stream.next()
        stream.raw(frame(TEXT, text[:20], fin=False))
        stream.raw(frame(PING, b"are you there"))
        assert stream.any_frame() == (PONG, b"are you there")
        for byte in text[20:-1]:
            stream.raw(frame(0, bytes([byte]), fin=False))
        stream.raw(frame(0, text[-1:]))
        assert stream.until_message(1)["content"] == "größer " * 3


def test_frames_that_come_byte_by_byte(chat):
    with chat.open().accepted() as stream:
        for byte in frame(TEXT, b'{"type":"ping"}'):
            stream.raw(bytes([byte]))
        stream.until(lambda one: one["type"] == "pong")


def test_a_close_is_answered(chat):
    with chat.open().accepted() as stream:
        stream.raw(frame(CLOSE, (1000).to_bytes(2, "big") + b"bye"))
        assert stream.closes() == 1000
        with pytest.raises(Closed):
            stream.any_frame()


HOSTILE = {
    "unmasked": (frame(TEXT, b'{"type":"ping"}', masked=False), 1002),
    "reserved bits": (frame(TEXT, b'{"type":"ping"}', reserved=4), 1002),
    "an opcode that is none": (frame(3, b"x"), 1002),
    "a control opcode that is none": (frame(11, b"x"), 1002),
    "a long ping": (frame(PING, b"x" * 126), 1002),
    "a ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a text in a text": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "more than is taken": (frame(TEXT, b"x", length=600 * 1024), 1009),
    "64 bits of length": (frame(TEXT, b"x", length=2 ** 62), 1009),
    "a length without end": (frame(TEXT, b"x", length=2 ** 64 - 1), 1002),
    "no UTF-8": (frame(TEXT, b'{"type": "\xff"}'), 1007),
    "UTF-8 that ends early": (frame(TEXT, "größer".encode()[:3]), 1007),
    "surrogates": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "bytes": (frame(BINARY, b"\x00\x01"), 1003),
    "a close code that is none": (frame(CLOSE, (999).to_bytes(2, "big")), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1005),
    "a close reason that is no UTF-8": (frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"), 1007),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_frames_that_break_the_rules_close_the_socket(chat, what):
    sent, code = HOSTILE[what]
    with chat.open().accepted() as stream:
        stream.raw(sent)
        assert stream.closes() == code
    assert chat.messages()["total"] == 0


def test_fragments_without_end_are_bounded(chat):
    with chat.open().accepted() as stream:
        stream.raw(frame(TEXT, b"x" * 60000, fin=False))
        with pytest.raises((Closed, OSError)) as ended:
            for _ in range(40):
                stream.raw(frame(0, b"x" * 60000, fin=False))
            stream.closes()
            raise Closed(1009)
        assert ended.value


def test_a_flood_of_frames_is_cut(chat):
    with chat.open().accepted() as stream:
        flood = frame(PING, b"") * 3000
        try:
            stream.raw(flood)
        except OSError:
            pass
        try:
            while True:
                opcode, payload = stream.any_frame()
                if opcode == CLOSE:
                    assert int.from_bytes(payload[:2], "big") == 1008
                    break
        except Closed as closed:
            assert closed.code == 1006
    chat.ask("still here?")


def test_random_bytes_harm_nobody(chat):
    for number in range(30):
        with chat.open().accepted() as stream:
            try:
                stream.raw(os.urandom(200 + number))
                stream.raw(frame(number % 16, os.urandom(number), fin=number % 2 == 0, reserved=number % 3))
                stream.peer.shutdown(socket.SHUT_WR)
                stream.closes()
            except OSError:
                pass
    assert chat.ask("still here?")["status"] == "done"


# ---- ends --------------------------------------------------------------------------------------------------------------------------

def test_a_login_that_ends_ends_its_streams(stack, team, models):
    person = stack.user(team, "executor", "leaving")
    chat = Chat(person, agent_id=agent(team, provider(team, models), "Guide"))
    with chat.open().accepted() as stream:
        checked(person.post("auth/logout", json={"refresh_token": person.refresh_token}), 204)
        assert stream.closes(30) == 4401


def test_somebody_who_is_disabled_is_cut_off(stack, team, models):
    person = stack.user(team, "executor", "disabled")
    chat = Chat(person, agent_id=agent(team, provider(team, models), "Guide"))
    with chat.open().accepted() as stream:
        checked(team.put(f"users/{person.user_id}", json={"state": "disabled"}), 200)
        assert stream.closes(30) == 4401


def test_a_deleted_chat_closes_its_streams(team, chat):
    with chat.open().accepted() as stream:
        stream.next()
        checked(team.delete(chat.path), 204)
        assert stream.closes(30) == 4404


def test_an_api_key_talks(stack, team, models):
    key = Api(team.url)
    key.access = checked(team.post("api-keys", json={"name": "talker", "role": "executor"}), 201).json()["key"]
    chat = Chat(key, agent_id=agent(team, provider(team, models), "Guide"))
    with chat.open().accepted() as stream:
        stream.send(type="message", content="by key")
        assert stream.until_message(2)["status"] == "done"


def test_sockets_of_a_person_are_bounded(stack, team, models):
    person = stack.user(team, "executor", "greedy")
    chat = Chat(person, agent_id=agent(team, provider(team, models), "Guide"))
    opened = []
    try:
        for _ in range(200):
            opened.append(chat.open())
            if opened[-1].status == 429:
                break
        assert opened[-1].status == 429 and opened[-1].headers["retry-after"]
    finally:
        for stream in opened:
            stream.close()


def test_a_client_that_does_not_read_holds_up_nobody(models, chat):
    models.answers(lambda asked: Turn("word " * 4000))
    deaf = chat.open().accepted()
    deaf.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        with chat.open().accepted() as stream:
            for _ in range(3):
                stream.send(type="message", content="go on")
                stream.until(lambda one: one["type"] == "message" and one["message"]["role"] == "assistant")
    finally:
        deaf.close()
