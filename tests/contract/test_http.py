"""Requests as attackers and broken clients send them: each gets one clear answer, nothing is taken for a second
request, and the server serves others meanwhile."""

import json
import socket
import threading
import time

import pytest

from kit.client import checked
from raw_http import Raw

LOGIN = json.dumps({"email": "a@example.test", "password": "wrong password"}).encode()


@pytest.fixture
def raw(stack):
    with Raw(stack.urls["web"]) as connection:
        yield connection


def refused(raw, *statuses):
    """The answer is one of `statuses`, a problem, and the connection ends behind it."""
    answer = raw.answer()
    assert answer is not None and answer.status in statuses, answer and (answer.status, answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.body)
    assert body["status"] == answer.status
    assert len(body["request_id"]) == 36 and body["request_id"] == answer.headers["x-request-id"]
    assert raw.closed()


def test_a_plain_request_keeps_the_connection(raw):
    for _ in range(3):
        assert raw.request().answer().status == 200


@pytest.mark.parametrize("headers, status", [
    (["Transfer-Encoding: chunked"], 411),
    (["Content-Length: 5", "Transfer-Encoding: chunked"], 411),
    (["Transfer-Encoding: chunked", "Content-Length: 5"], 411),
    (["Content-Length: 5", "Content-Length: 5"], 400),
    (["Content-Length: 5", "Content-Length: 6"], 400),
    (["Content-Length: +5"], 400),
    (["Content-Length: -5"], 400),
    (["Content-Length: 5x"], 400),
    (["Content-Length: 0x5"], 400),
    (["Content-Length: 99999999999999999999"], 400),
    (["Content-Length:"], 400),
])
def test_a_body_whose_length_is_unclear_is_refused(raw, headers, status):
    raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json", *headers, body=b"0\r\n\r\n")
    refused(raw, status)


@pytest.mark.parametrize("method, status", [("GET", 400), ("HEAD", 400), ("DELETE", 405), ("OPTIONS", 204)])
def test_a_body_where_none_belongs_is_not_taken_for_a_request(raw, method, status):
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    raw.request(method, "/healthz", f"Content-Length: {len(smuggled)}", body=smuggled)
    while b"\r\n\r\n" not in raw.buffer:
        assert raw.fill()
    assert raw.buffer.startswith(f"HTTP/1.1 {status} ".encode())
    while raw.fill():
        pass
    assert raw.buffer.count(b"HTTP/1.1 ") == 1


def test_a_body_that_follows_later_is_not_taken_for_a_request(raw):
    raw.request("GET", "/healthz", "Content-Length: 40")
    refused(raw, 400)


@pytest.mark.parametrize("head", [
    b"GET /healthz HTTP/1.1\nHost: x\n\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nAuthorization: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n: nameless\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nSpace : y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHostile: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET /healthz\r\nHost: x\r\n\r\n",
    b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
])
def test_a_head_that_is_malformed_is_refused(raw, head):
    raw.send(head)
    refused(raw, 400)


def test_another_version_of_http_is_refused(raw):
    raw.send(b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n")
    refused(raw, 505)


@pytest.mark.parametrize("header", ["X-Empty:", "X-Tab: a\tb", "X-Bytes: caf\xe9", "X-Pad:   \t padded \t "])
def test_header_values_that_clients_do_send_pass(raw, header):
    assert raw.request("GET", "/healthz", header).answer().status == 200


def test_a_hundred_headers_pass_and_more_are_refused_whole(raw):
    assert raw.request("GET", "/healthz", *(f"X-{n}: y" for n in range(99))).answer().status == 200
    raw.request("GET", "/healthz", *(f"X-{n}: y" for n in range(120)))
    refused(raw, 431)


def test_a_head_that_is_too_large_is_refused(raw):
    raw.request("GET", "/healthz", f"X-Large: {'y' * 20000}")
    refused(raw, 431)


def test_a_path_that_is_too_long_is_refused(raw):
    raw.request("GET", "/" + "x" * 3000)
    refused(raw, 414)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(raw):
    raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json", "Content-Length: 99999999")
    refused(raw, 413)


def test_more_bytes_than_the_length_says_do_not_hang_a_worker(stack, raw):
    raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json", "Content-Length: 2",
                body=b"{}" + b"x" * 100000)
    answer = raw.answer()
    assert answer.status == 400 and answer.headers["connection"] == "close"
    for _ in range(8):      # whichever worker takes it
        checked(stack.api().get("/healthz"), 200)


def test_pipelined_requests_are_answered_one_by_one(raw):
    """The first is answered and the connection closed behind it: the client sends the second again."""
    raw.send(f"GET /healthz HTTP/1.1\r\nHost: {raw.host}\r\n\r\n".encode() * 2)
    answer = raw.answer()
    assert answer.status == 200 and answer.headers["connection"] == "close"
    assert raw.closed()


def test_a_request_that_comes_while_another_is_worked_on_waits(raw):
    """A body in two packets, the next request right behind it: two answers in order."""
    raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json", f"Content-Length: {len(LOGIN)}",
                body=LOGIN[:10])
    time.sleep(0.05)        # so that the body comes in a packet of its own
    raw.send(LOGIN[10:])
    assert raw.answer().status == 401
    assert raw.request().answer().status == 200


def test_expect_100_continue_is_answered(raw):
    raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json", f"Content-Length: {len(LOGIN)}",
                "Expect: 100-continue")
    assert raw.answer().status == 100
    raw.send(LOGIN)
    assert raw.answer().status == 401


def test_a_post_without_a_length_has_no_body(raw):
    raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json")
    answer = raw.answer()
    assert answer.status == 400 and b"needs a body" in answer.body


def test_http_1_0_is_answered_and_closed(raw):
    raw.send(b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n")
    assert raw.answer().status == 200
    assert raw.closed()


def test_head_has_the_head_alone(raw):
    raw.request("HEAD", "/healthz").request("HEAD", "/healthz")
    while not raw.buffer.endswith(b"\r\n\r\n"):
        assert raw.fill()
    assert b'"status"' not in raw.buffer


@pytest.mark.parametrize("path, status", [
    ("/healthz/", 404), ("//healthz", 404), ("/healthz%00", 404), ("/%68ealthz", 404), ("/../healthz", 404),
    ("/api/v1/flows/%2e%2e/x", 404), ("http://other.example/healthz", 404), ("*", 404), ("/healthz?x=1", 400),
    ("/healthz?%zz", 400),
])
def test_paths_are_taken_literally(raw, path, status):
    assert raw.request("GET", path).answer().status == status


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_a_body_that_is_not_declared_json_is_refused(raw, content_type):
    headers = [f"Content-Type: {content_type}"] if content_type else []
    raw.request("POST", "/api/v1/auth/login", *headers, f"Content-Length: {len(LOGIN)}", body=LOGIN)
    assert raw.answer().status == 415


@pytest.mark.parametrize("body", [
    b"", b"{", b"nul", b'{"email":', b'{"email":"a","email":"b"}', b"{}{}", b'"\xff"', b'{"a":"\x00"}', b"[" * 60000,
    b'{"a":' * 5000, b"\xef\xbb\xbf{}", b"NaN", b"[1,]", b"{'a':1}", b"null", b"[]", b"1e999999",
])
def test_a_body_that_is_not_the_right_json_is_refused(stack, body):
    answer = stack.api().post("auth/login", content=body, headers={"Content-Type": "application/json"})
    checked(answer, 400)
    assert answer.json()["status"] == 400 and answer.headers["content-type"] == "application/problem+json"


def test_every_answer_forbids_caching_and_sniffing(raw):
    for path in ("/healthz", "/nothing", "/api/v1/flows"):
        headers = raw.request("GET", path).answer().headers
        assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["server"] == "windlass" and "strict-transport-security" not in headers


def test_slow_heads_hold_nobody_up(stack):
    """Two hundred connections that send a byte now and then; others are served at once."""
    held = [Raw(stack.urls["web"]) for _ in range(200)]
    try:
        for connection in held:
            connection.send(b"GET /healthz HTT")
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            checked(stack.api().get("/healthz"), 200)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2
    finally:
        for connection in held:
            connection.socket.close()


def test_clients_that_hang_up_in_the_middle_do_no_harm(stack, admin):
    """Connections cut with a reset while their requests are worked on."""
    def cut():
        with Raw(stack.urls["web"]) as raw:
            raw.request("GET", "/api/v1/flows", f"Authorization: Bearer {admin.access}")
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        with Raw(stack.urls["web"]) as raw:
            raw.request("POST", "/api/v1/auth/login", "Content-Type: application/json",
                        f"Content-Length: {len(LOGIN)}", body=LOGIN)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    pid = stack.pid("web")
    threads = [threading.Thread(target=lambda: [cut() for _ in range(15)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(8):
        checked(admin.get("flows"), 200)
    assert stack.pid("web") == pid
