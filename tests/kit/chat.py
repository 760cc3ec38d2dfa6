"""Chats: sessions, and a WebSocket client that can also send what no client may."""

import base64
import contextlib
import hashlib
import json
import os
import socket
import struct
import time
import urllib.parse

from kit.client import checked
from kit.waiting import Late, wait_until

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    """The server closed: .code is 1005 without a code, 1006 without a close frame."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}")
        self.code, self.reason = code, reason


def frame(opcode, payload=b"", fin=True, masked=True, reserved=0, length=None):
    """The bytes of a frame; `length`: what its head says in place of the truth, always in 64 bits."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    size = len(payload) if length is None else length
    mark = 0x80 if masked else 0
    if length is not None or size > 65535:
        head += bytes([mark | 127]) + struct.pack(">Q", size)
    elif size > 125:
        head += bytes([mark | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mark | size])
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


class Socket:
    """A connection that asked for an upgrade; .status and .headers are the answer's."""

    def __init__(self, url, path, headers=None, early=b"", version="13", upgrade="websocket"):
        where = urllib.parse.urlsplit(url)
        self.peer = socket.create_connection((where.hostname, where.port), timeout=20)
        self.key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": where.netloc, "Upgrade": upgrade, "Connection": "Upgrade", "Sec-WebSocket-Version": version,
                 "Sec-WebSocket-Key": self.key, **(headers or {})}
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        self.peer.sendall(head.encode() + b"\r\n" + early)
        self.rest, self.seen = b"", []
        answer = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = int(answer[0].split()[1])
        self.headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in answer[1:] if ":" in line}

    def accepted(self):
        assert self.status == 101, (self.status, self.headers)
        assert self.headers["sec-websocket-accept"] == base64.b64encode(
            hashlib.sha1((self.key + GUID).encode()).digest()).decode()
        return self

    def more(self):
        found = self.peer.recv(65536)
        if not found:
            raise Closed(1006)
        self.rest += found

    def read_until(self, end):
        while end not in self.rest:
            self.more()
        found, self.rest = self.rest.split(end, 1)
        return found + end

    def exactly(self, count):
        while len(self.rest) < count:
            self.more()
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def raw(self, data):
        self.peer.sendall(data)

    def send(self, **members):
        self.raw(frame(TEXT, json.dumps(members).encode()))

    def any_frame(self, timeout=20.0):
        """(opcode, payload) of the next frame of any kind."""
        self.peer.settimeout(timeout)
        try:
            first, second = self.exactly(2)
            assert first & 0x80 and not first & 0x70 and not second & 0x80, "a server's frames are whole and bare"
            size = second & 127
            if size > 125:
                size = int.from_bytes(self.exactly(2 if size == 126 else 8), "big")
            return first & 15, self.exactly(size)
        except socket.timeout:
            raise Late("nothing came over the WebSocket") from None
        except ConnectionError:
            raise Closed(1006) from None

    def next(self, timeout=20.0):
        """The next JSON; pings are answered. Closed when the server closes."""
        while True:
            opcode, payload = self.any_frame(timeout)
            if opcode == TEXT:
                found = json.loads(payload)
                self.seen.append(found)
                return found
            if opcode == PING:
                self.raw(frame(PONG, payload))
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                with contextlib.suppress(OSError):
                    self.raw(frame(CLOSE, payload[:2]))
                raise Closed(code, payload[2:].decode())

    def until(self, wanted, timeout=30.0):
        """The first frame that fits, and all before it stay in .seen."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = self.next(max(0.1, end - time.monotonic()))
            if wanted(found):
                return found
        raise Late(f"not among what came: {self.seen[-5:]}")

    def until_message(self, seq, timeout=60.0):
        return self.until(lambda one: one["type"] == "message" and one["message"]["seq"] == seq, timeout)["message"]

    def closes(self, timeout=20.0):
        """The code that the server closes with."""
        try:
            while True:
                self.next(timeout)
        except Closed as closed:
            return closed.code

    def close(self):
        with contextlib.suppress(OSError):
            self.peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Chat:
    """One session of `api`'s person."""

    def __init__(self, api, **body):
        self.api = api
        self.session = checked(api.post("chat/sessions", json=body), 201).json()["session"]
        self.id = self.session["id"]
        self.path = f"chat/sessions/{self.id}"

    def say(self, content, key=None, status=202, **more):
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.api.post(f"{self.path}/messages", json={"content": content, **more}, headers=headers)
        return checked(answer, status).json()

    def messages(self, **params):
        return checked(self.api.get(f"{self.path}/messages", params=params), 200).json()

    def await_messages(self, count, timeout=60):
        """The messages, as soon as there are so many and nothing is being answered."""
        def found():
            page = self.messages(limit=100)
            return page["messages"] if page["total"] >= count and page["turn"] is None else None
        return wait_until(found, f"{count} messages of a chat", timeout)

    def ask(self, content, **more):
        """The answer to a message."""
        seq = self.say(content, **more)["seq"]
        return self.await_messages(seq + 1)[-1]

    def open(self, api=None, after=None, headers=None, **more):
        return Socket((api or self.api).url, f"/api/v1/{self.path}/stream" + (f"?after={after}" if after is not None else ""),
                      headers={"Authorization": f"Bearer {(api or self.api).access}"} if headers is None else headers, **more)


def seqs(frames):
    """The places of frames in order, as numbers that can be compared."""
    found = []
    for one in frames:
        if "seq" in one and one["type"] not in ("ready", "reset"):
            number, _, event = one["seq"].partition(".")
            found.append((int(number), *(map(int, event.split("-")) if event else (0, 0))))
    return found
