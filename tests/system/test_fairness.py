"""A quiet tenant beside a noisy one: neither its built-in nodes nor its tools wait behind the other's burst."""

import concurrent.futures
import time

import pytest

from kit.flows import Flow, ex, of

pytestmark = pytest.mark.alone


def tools():
    return Flow().code("c", "import time; time.sleep(0.15); print(1)").output(ex(of("c")))


def values():
    flow = Flow()
    for number in range(20):
        flow.transform(f"t{number}", ex("[range(2000)] | add"))
    return flow.output(1)


@pytest.mark.parametrize("flow, burst", [(tools, 150), (values, 80)])
def test_a_quiet_tenant_overtakes_a_burst(stack, flow, burst):
    noisy, quiet = stack.tenant(), stack.tenant()
    noisy_flow, quiet_flow = noisy.create(flow()), quiet.create(flow())
    quiet.wait(quiet.start(quiet_flow))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda _: noisy.start(noisy_flow), range(burst)))
    begun = time.monotonic()
    assert quiet.wait(quiet.start(quiet_flow))["execution"]["status"] == "succeeded"
    took = time.monotonic() - begun
    left = stack.sql("SELECT count(*) FROM control.dispatch WHERE tenant = %s", noisy.tenant)[0][0]
    assert all(noisy.wait(eid, 90)["execution"]["status"] == "succeeded" for eid in ids)
    whole = time.monotonic() - begun
    assert left > 0, f"the burst was over in {whole:.1f} s, before the quiet run: it proves nothing"
    assert took < max(1.0, whole / 4), f"the quiet run took {took:.1f} s of the burst's {whole:.1f} s"
