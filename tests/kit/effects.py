"""An HTTP server that remembers who called it when: the outside world of a flow, with its effects counted."""

import collections
import time
import urllib.parse

from kit.http_server import HttpServer


class EffectServer(HttpServer):
    """Serves on a free loopback port in a thread of its own. Use as a context manager.

    /effect/<execution>/<node>/<number>?delay=S   counts a visit, answers {"visit": n}
    /status/<code>       that status with a JSON body; 3xx with Location: /echo
    /flaky/<key>/<n>     503 for the first n calls of that key, then 200
    /slow/<seconds>      answers late
    /echo                method, path, headers and body of the request
    /text /empty /reset  plain text, no body, a connection that is cut
    /bytes/<n>           a body of n bytes
    """

    def __init__(self, host="127.0.0.1"):
        super().__init__(host)
        self.visits = collections.defaultdict(list)
        self.calls = collections.Counter()

    def effect_url(self, node_id, number=0, delay_s=0.0):
        """A URL for an http node; the execution's id is filled in by an expression."""
        return f"{self.url}/effect/{{{{ .execution.id }}}}/{node_id}/{number}?delay={delay_s}"

    def answer(self, request):
        path = urllib.parse.urlsplit(request.path)
        parts = path.path.strip("/").split("/")
        with self.lock:
            self.calls[parts[0]] += 1
        answer = getattr(self, f"answer_{parts[0]}", None)
        if not answer:
            return 404, {}, {"error": "no such path"}
        return answer(request, parts[1:], dict(urllib.parse.parse_qsl(path.query)))

    def answer_effect(self, request, parts, query):
        execution, node, number = parts[0], parts[1], int(parts[2])
        with self.lock:
            self.visits[execution].append((time.monotonic(), node, number,
                                           request.headers.get("Idempotency-Key")))
            count = sum(1 for visit in self.visits[execution] if visit[1] == node)
        time.sleep(float(query.get("delay", 0)))
        return 200, {}, {"visit": count}

    def answer_status(self, _, parts, __):
        status = int(parts[0])
        return status, {"Location": "/echo"} if 300 <= status < 400 else {}, {"status": status}

    def answer_flaky(self, _, parts, __):
        with self.lock:
            self.calls["flaky/" + parts[0]] += 1
            number = self.calls["flaky/" + parts[0]]
        return 503 if number <= int(parts[1]) else 200, {}, {"call": number}

    def answer_slow(self, _, parts, __):
        time.sleep(float(parts[0]))
        return 200, {}, {"slept": float(parts[0])}

    def answer_echo(self, request, _, query):
        return 200, {}, {"method": request.command, "path": request.path, "query": query, "headers": request.fields,
                         "body": request.body.decode("utf-8", "replace")}

    def answer_text(self, *_):
        return 200, {"Content-Type": "text/plain"}, b"plain text"

    def answer_empty(self, *_):
        return 204, {}, b""

    def answer_bytes(self, _, parts, __):
        return 200, {"Content-Type": "application/octet-stream"}, b"x" * int(parts[0])

    def answer_reset(self, request, *_):
        request.close_connection = True
        request.connection.shutdown(2)

    def visited(self, execution, node=None):
        """The visits of one execution, in order of arrival: (time, node, number, key)."""
        with self.lock:
            return [visit for visit in self.visits[execution] if node is None or visit[1] == node]

    def going_back(self, executions):
        """Those of the executions, chains (see flows.effects), in which a node was called again after a later one: a
        finished node re-ran. Others than one's own are nobody's business: a process that was stopped and woke may still
        send what it had begun, long after its test."""
        with self.lock:
            found = []
            for execution in executions:
                visits = self.visits.get(execution, [])
                numbers = [number for _, _, number, _ in sorted(visits)]
                if any(later < earlier for earlier, later in zip(numbers, numbers[1:])):
                    found.append((execution, numbers))
            return found
