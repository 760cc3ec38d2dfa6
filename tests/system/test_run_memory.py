"""What one run may cost its supervisor: its nodes see large inputs, and wait in hundreds for a thread."""

import pathlib

from kit.flows import Flow, ex, of

NODES = 200
INPUT_MB = 3
GROWTH_MB = 250  # a copy of the inputs for each waiting node would be 600


def peak_mb(stack):
    for name in stack.names("supervisor"):
        status = pathlib.Path(f"/proc/{stack.pid(name)}/status").read_text()
        yield int(status.partition("VmHWM:")[2].split()[0]) // 1024


def test_nodes_that_wait_hold_no_copy_of_what_they_see(admin, stack):
    flow = Flow()
    for number in range(NODES):
        flow.transform(f"t{number}", ex(".inputs.n + 1"), after="start")
    flow.add("end", "join", after=[f"t{number}" for number in range(NODES)], mode="all")
    flow.output(ex(of("end") + " | length"))
    before = max(peak_mb(stack))
    answer = admin.run(flow, {"n": 1, "text": "x" * (INPUT_MB << 20)}, seconds=120)
    assert answer["execution"]["outputs"] == NODES
    assert max(peak_mb(stack)) - before < GROWTH_MB
