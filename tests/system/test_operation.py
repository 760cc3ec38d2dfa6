"""The server as an operator and an attacker see it: probes, metrics, malformed requests."""

import socket

import pytest

from kit.client import checked, problem


def raw(stack, data, seconds=10):
    """Send bytes, read until the server closes or is silent; the bytes that came."""
    port = int(stack.urls["web"].rsplit(":", 1)[1])
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(data)
        client.settimeout(seconds)
        try:
            while chunk := client.recv(65536):
                got += chunk
                if b"\r\n\r\n" in got and b"connection: close" not in got.lower():
                    break
        except (TimeoutError, ConnectionResetError):
            pass
    return got


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else None


def test_health_and_readiness(stack):
    assert checked(stack.api().get("/healthz"), 200).json() == {"status": "ok"}
    ready = checked(stack.api().get("/readyz"), 200).json()
    assert ready == {"status": "ready", "checks": {"postgres": True, "redis": True, "draining": False}}


def test_metrics_are_prometheus_text(stack):
    answer = checked(stack.api().get("/metrics"), 200)
    assert answer.headers["Content-Type"].startswith("text/plain")
    names = set()
    for line in answer.text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            float(value)
            names.add(name.split("{")[0])
    assert any(name.startswith("windlass_") for name in names), names


def test_the_servers_document_is_its_specification(stack):
    document = checked(stack.api().get("openapi.json"), 200).json()
    assert document["openapi"].startswith("3.0") and "/api/v1/flows/{id}/execute" in document["paths"]


def test_unknown_paths_and_methods(stack, admin):
    problem(admin.get("nothing-here"), 404)
    problem(admin.get("/"), 404) if admin.get("/").status_code != 200 else None
    answer = admin.request("PATCH", "flows")
    problem(answer, 405)
    assert "GET" in answer.headers["Allow"] and "POST" in answer.headers["Allow"]


def test_every_answer_has_a_request_id_of_its_own(admin):
    ids = {problem(admin.get("nothing-here"), 404)["request_id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("request_bytes", [
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(300)) + b"\r\n",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"GARBAGE\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n", b"GET /healthz\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
])
def test_malformed_requests_get_an_error_and_the_server_lives(stack, request_bytes):
    answer = raw(stack, request_bytes)
    assert answer == b"" or 400 <= status(answer) < 600, answer[:300]
    assert status(answer) != 500, answer[:300]
    checked(stack.api().get("/healthz"), 200)


def test_two_requests_in_one_packet_are_both_answered_or_the_second_refused(stack):
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(stack, one + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", seconds=3)
    assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.1 ") <= 2


def test_a_body_that_never_ends_holds_nobody(stack):
    port = int(stack.urls["web"].rsplit(":", 1)[1])
    stuck = []
    for _ in range(50):
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        client.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                       b"Content-Length: 1000\r\n\r\n{")
        stuck.append(client)
    try:
        for _ in range(10):
            checked(stack.api().get("/healthz", timeout=5), 200)
    finally:
        for client in stuck:
            client.close()


def test_no_worker_died_in_the_session(stack):
    """Runs last in this file: whatever was sent above, the server did not crash."""
    log = stack.log("web")
    for word in ("SIGSEGV", "SIGABRT", "signal 11", "signal 6", "AddressSanitizer"):
        assert word not in log, log[-2000:]
