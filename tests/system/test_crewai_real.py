"""The real package crewai, from PyPI, in a sandbox: a program that knows nothing of Windlass, and what the run keeps of it."""

import json

from kit.flows import Flow, ex, of
from kit.stack import ROOT, Stack

FACTS = """
import importlib.metadata, json, os, socket
import crewai, chromadb
try:
    socket.create_connection(("192.0.2.1", 443), 2)
    reached = True
except OSError:
    reached = False
try:
    open("/usr/local/lib/mark", "w")
    written = True
except OSError:
    written = False
print(json.dumps({"version": importlib.metadata.version("crewai"), "path": crewai.__file__, "reached": reached,
                  "written": written, "home": os.path.expanduser("~"), "variables": dict(os.environ)}))
"""


def good(answer):
    assert answer["execution"]["status"] == "succeeded", (answer["execution"]["error"], answer["node"], answer["logs"])
    return answer["execution"]["outputs"]


def pinned():
    lines = (ROOT / "tools" / "setup" / "requirements-crewai.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("crewai=="))


def test_the_profile_has_the_package_and_nothing_of_it_calls_home(admin):
    answer = admin.run(Flow().code("c", FACTS, profile="crewai").output(ex(of("c"))), seconds=120)
    facts = good(answer)
    assert facts["version"] == pinned() and facts["path"].startswith("/usr/local/lib/python3.")
    assert not facts["reached"] and not facts["written"] and facts["home"] == "/work"
    variables = facts["variables"]
    assert (variables["CREWAI_DISABLE_TELEMETRY"], variables["OTEL_SDK_DISABLED"], variables["CREWAI_TRACING_ENABLED"]) == \
        ("true", "true", "false")
    receipt = answer["node"]["c"]["receipt"]
    assert receipt["profile"] == "crewai" and receipt["memory_peak"] < 512 << 20


def test_a_host_without_the_package_says_what_installs_it():
    with Stack("no-environments", env={"WINDLASS_ENVIRONMENTS_DIR": "/nonexistent"}) as stack:
        answer = stack.tenant().run(Flow().code("c", FACTS, profile="crewai").output(1))
    error = answer["node"]["c"]["error"]
    assert answer["execution"]["status"] == "failed" and error["code"] == "sandbox"
    assert "not installed on this host" in error["message"] and "make crewai-profile" in error["message"]
