"""Steady load in the background of a fault, every accepted id remembered."""

import threading
import time
import uuid

import httpx

from kit.waiting import wait_until

TRIED_AGAIN = (429, 500, 502, 503)
GIVE_UP_S = 60


class Load:
    """Starts executions of one flow from a few threads until the block ends.

    Each start has an Idempotency-Key and is tried with that key until it is accepted, as a careful client
    does: whatever dies in between, it is one execution. `accepted` maps keys to ids in order of acceptance.
    """

    def __init__(self, api, flow_id, threads=4, per_second=40, inputs=None):
        self.api, self.flow_id, self.inputs = api, flow_id, inputs or {}
        self.pause = threads / per_second
        self.accepted, self.lock = {}, threading.Lock()
        self.refused, self.broken, self.wrong = [], 0, []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(GIVE_UP_S + 30)

    def work(self):
        while not self.ended.is_set():
            begun = time.monotonic()
            key = uuid.uuid4().hex
            eid = self.start(key)
            if eid:
                with self.lock:
                    self.accepted[key] = eid
            self.ended.wait(max(0.0, self.pause - (time.monotonic() - begun)))

    def start(self, key):
        """One execution, whatever it takes; None after a minute."""
        deadline = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline:
            try:
                answer = self.api.execute(self.flow_id, self.inputs, key=key)
            except httpx.HTTPError:
                self.broken += 1
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                return answer.json()["execution_id"]
            if answer.status_code not in TRIED_AGAIN and not (answer.status_code == 409 and answer.headers.get("Retry-After")):
                self.wrong.append((answer.status_code, answer.text[:300]))
                return None
            self.refused.append((answer.status_code, answer.headers.get("Retry-After")))
            time.sleep(0.1)
        self.wrong.append((0, f"key {key} was not accepted within {GIVE_UP_S} s"))
        return None

    def ids(self):
        with self.lock:
            return list(self.accepted.values())

    def await_accepted(self, more, seconds=30):
        """Until `more` executions beyond those of now are accepted."""
        wanted = len(self.accepted) + more
        wait_until(lambda: len(self.accepted) >= wanted, f"{more} more accepted executions", seconds)
        return self.ids()[-1]

    def check_answers(self):
        """Nothing but success and temporary refusals came back, and those said when to come again."""
        assert not self.wrong, f"answers that a client cannot work with: {self.wrong[:5]}"
        silent = [refusal for refusal in self.refused if refusal[0] == 503 and not refusal[1]]
        assert not silent, "503 without Retry-After"
