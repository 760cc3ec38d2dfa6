"""The flows of docs/flows, run as their pages say, with real input and looked at closely."""

import collections
import json
import pathlib
import re

import pytest

from kit.cli import ROOT, Cli
from kit.client import checked
from kit.http_server import HttpServer
from kit.waiting import wait_until

FLOWS = ROOT / "docs" / "flows"
LICENCE = pathlib.Path("/usr/share/common-licenses/GPL-3")


@pytest.fixture(scope="module")
def owner(stack):
    """The admin of a tenant of this module's own."""
    return stack.tenant()


@pytest.fixture(scope="module")
def cli(stack, owner, tmp_path_factory):
    return Cli(tmp_path_factory.mktemp("flows"), stack.urls["web"], WINDLASS_TOKEN=owner.access)


def run(cli, name, *words, code=0, **inputs):
    """Follow a flow of docs/flows to its end: (outputs, what was shown)."""
    given = [word for key, value in inputs.items() for word in ("--input", f"{key}={value}")]
    done = cli("run", FLOWS / name / "flow.yaml", *given, *words, "--follow", code=code, timeout=90)
    return (json.loads(done.stdout) if done.stdout else None), done.stderr


def states(shown):
    """The last state of each node that was shown."""
    return {name: state for state, name in re.findall(r"^(\w+) +([\w-]+)(?:  .*)?$", shown, re.MULTILINE)}


class Server(HttpServer):
    """An HTTP server of the test's own: `pages` maps a path to (status, body), or to a list that is used up."""

    protocol = "HTTP/1.0"
    methods = ("GET",)

    def __init__(self, pages):
        super().__init__()
        self.pages, self.asked = pages, collections.Counter()

    def answer(self, request):
        self.asked[request.path] += 1
        page = self.pages.get(request.path, (404, {}))
        status, body = page.pop(0) if isinstance(page, list) else page
        return status, {}, body


# ---- text-report -----------------------------------------------------------------------------------
def test_text_report_of_a_licence(cli):
    outputs, shown = run(cli, "text-report", text=f"@{LICENCE}")
    text = LICENCE.read_text()
    lines, words = outputs["lines"], outputs["words"]
    assert lines == {"lines": len(text.splitlines()), "empty": sum(not line.strip() for line in text.splitlines()),
                     "longest": max(len(line.encode()) for line in text.splitlines()),
                     "matches": sum(bool(re.search("licen[cs]e", line, re.IGNORECASE)) for line in text.splitlines())}
    counts = collections.Counter(re.findall(r"[a-z]+", text.lower()))
    assert words["top"][0] == {"word": "license", "count": counts["license"]} and len(words["top"]) == 5
    assert words["count"] > 5000 and words["reader"] == "university"
    assert f"{words['count']} words" in outputs["report"] and f"and {lines['lines']} lines" in outputs["report"]
    assert states(shown)["words"] == states(shown)["lines"] == "succeeded"


def test_text_report_takes_its_inputs_and_any_text(cli, tmp_path):
    nasty = 'a "quoted" \\ back\\\\slash\ttab \u0001 ü€😀\n\nC:\\new "x"\nlast line without end'
    (tmp_path / "nasty.txt").write_text(nasty)
    outputs, _ = run(cli, "text-report", text=f"@{tmp_path / 'nasty.txt'}", pattern=r'\\new "x', top=1)
    assert outputs["lines"]["matches"] == 1 and outputs["lines"]["lines"] == 4 and outputs["lines"]["empty"] == 1
    assert len(outputs["words"]["top"]) == 1
    shown = cli("run", FLOWS / "text-report" / "flow.yaml", "--input", "text=", code=6).stderr
    assert "inputs" in shown        # minLength of the input_schema
    cli("run", FLOWS / "text-report" / "flow.yaml", "--input", "top=many", code=2)


def test_text_report_of_a_package_log(cli):
    """The other real text that every Debian has, and a large one."""
    log = pathlib.Path("/var/log/dpkg.log")
    if not log.exists() or log.stat().st_size == 0:
        log = LICENCE
    outputs, _ = run(cli, "text-report", text=f"@{log}", pattern=" installed ")
    assert outputs["lines"]["lines"] == log.read_text().count("\n")


# ---- http-status-report -------------------------------------------------------------------------------
def test_http_status_report(cli):
    pages = {"/healthz": (200, {}), "/readyz": [(503, {}), (503, {}), (200, {})], "/metrics": (200, {})}
    with Server(pages) as server:
        outputs, shown = run(cli, "http-status-report", url=server.url)
        assert outputs["healthy"] is True and outputs["summary"] == f"all 3 pages of {server.url} answer"
        assert server.asked == {"/healthz": 1, "/readyz": 3, "/metrics": 1}
        assert "attempt 3" in shown and states(shown)["alarm"] == "skipped"


def test_http_status_report_of_a_server_that_is_ill(cli):
    with Server({"/a": (200, {"x": 1})}) as server:
        outputs, shown = run(cli, "http-status-report", url=server.url, paths='["/a", "/b", "/c"]')
        assert outputs["healthy"] is False and outputs["summary"] == f"2 of 3 pages of {server.url} fail: /b, /c"
        assert [page["ok"] for page in outputs["pages"]] == [True, False, False]
        assert outputs["pages"][0]["fault"] is None and outputs["pages"][1]["fault"].startswith("http_status: ")
        assert server.asked["/b"] == 3 and states(shown)["praise"] == "skipped"
        url = server.url
    outputs, _ = run(cli, "http-status-report", url=url)        # nobody listens any more
    assert outputs["healthy"] is False and all(page["fault"].startswith("http: ") for page in outputs["pages"])
    assert cli("run", FLOWS / "http-status-report" / "flow.yaml", "-i", "url=ftp://x", code=6).stderr


# ---- csv-cleanup ---------------------------------------------------------------------------------------
def test_csv_cleanup_of_the_example(cli):
    outputs, shown = run(cli, "csv-cleanup", csv=f"@{FLOWS / 'csv-cleanup' / 'orders.csv'}")
    assert outputs["verdict"] == "1 of 6 rows left out"
    assert outputs["rejected"] == [{"line": 4, "faults": ['"linus@example" is no e-mail address']}]
    assert outputs["orders"][0] == {"id": "A-1", "email": "ada@example.org", "quantity": 2, "price": 9.5}
    assert len(outputs["orders"]) == 5 and states(shown)["take-some"] == "succeeded"


GOOD_CSV = "id,email,quantity,price\nA-1,a@example.org,1,2.50\nB-2,b@example.org,10,3\n"


@pytest.mark.parametrize("text, verdict, orders, taken", [
    (GOOD_CSV, "all rows are good", 2, "take"),
    (GOOD_CSV + "A-1,c@example.org,1,1\nC,d,0,x\n,,,\n", "refused: only 2 of 4 rows are good", 0, "refuse"),
    ("id,email,quantity,price\n", "refused: only 0 of 0 rows are good", 0, "refuse"),
    ("no csv at all", "refused: only 0 of 0 rows are good", 0, "refuse"),
    ("", "refused: only 0 of 0 rows are good", 0, "refuse"),
])
def test_csv_cleanup_judges(cli, tmp_path, text, verdict, orders, taken):
    (tmp_path / "x.csv").write_text(text)
    outputs, shown = run(cli, "csv-cleanup", csv=f"@{tmp_path / 'x.csv'}")
    assert (outputs["verdict"], len(outputs["orders"])) == (verdict, orders) and states(shown)[taken] == "succeeded"


# ---- log-alert -------------------------------------------------------------------------------------------
LINES = ['INFO up', 'WARNING "disk" \\ 90%\tfull', 'an ERROR: no é route', 'libgpg-error-dev is no error of ours',
         'terror is none', '[fatal] x']


@pytest.mark.parametrize("log, more, severity, message", [
    (LINES, {"page_at": 2, "service": "mail"}, "page", "mail: 3 errors in 6 lines. First: an ERROR: no é route"),
    (LINES[:3], {}, "mail", "the service: 1 errors, 1 warnings. First: an ERROR: no é route"),
    (LINES[:2], {}, "mail", 'the service: 0 errors, 1 warnings. First: WARNING "disk" \\ 90% full'),
    (LINES[:1] + LINES[4:5], {}, "none", "the service: nothing in 2 lines"),
    ([], {}, "none", "the service: nothing in 0 lines"),
])
def test_log_alert(cli, tmp_path, log, more, severity, message):
    (tmp_path / "x.log").write_text("".join(line + "\n" for line in log))
    outputs, _ = run(cli, "log-alert", log=f"@{tmp_path / 'x.log'}", **more)
    assert (outputs["severity"], outputs["message"]) == (severity, message)
    assert outputs["counts"]["lines"] == len(log)


# ---- invoice-totals ----------------------------------------------------------------------------------------
INVOICES = f"@{FLOWS / 'invoice-totals' / 'invoices.json'}"


def test_invoice_totals_with_rates_of_a_server(cli):
    with Server({"/rates": [(500, {}), (200, {"rates": {"USD": 0.5, "GBP": 2}})]}) as server:
        outputs, shown = run(cli, "invoice-totals", invoices=INVOICES, rates_url=f"{server.url}/rates")
        assert server.asked["/rates"] == 2
    assert outputs["ok"] is True and outputs["rates_from"] == "the server"
    assert [row["converted"] for row in outputs["invoices"]] == [60.97, 125, 30] and outputs["total"] == 215.97
    assert states(shown)["given"] == "skipped"


def test_invoice_totals_without_a_server(cli):
    outputs, shown = run(cli, "invoice-totals", invoices=INVOICES)
    assert outputs["ok"] is True and outputs["rates_from"] == "the inputs" and outputs["total"] == 308.52
    assert states(shown)["fetch"] == "failed" and states(shown)["live"] == "skipped"


def test_invoice_totals_that_cannot_be_added_up(cli):
    outputs, shown = run(cli, "invoice-totals", "--input", 'rates:={"USD": 1}', invoices=INVOICES)
    assert outputs["ok"] is False and "log of node totals" in outputs["reason"]
    assert "totals | invoice 2026-003: there is no rate from GBP to EUR" in shown and states(shown)["sums"] == "skipped"


# ---- page-watch ----------------------------------------------------------------------------------------------
def test_page_watch(cli, owner, effects):
    good, bad, flaky = (effects.url + path for path in ("/text", "/status/500", f"/flaky/watch-{owner.slug}/1"))
    outputs, shown = run(cli, "page-watch", "--input", f"urls:={json.dumps([good, bad, flaky])}", "--input", "pause_s:=0.1")
    assert outputs["well"] == [good, flaky]
    assert [one["url"] for one in outputs["bad"]] == [bad] and "500" in outputs["bad"][0]["why"]


def test_page_watch_of_no_pages(cli):
    outputs, _ = run(cli, "page-watch", "--input", "urls:=[]")
    assert outputs == {"well": [], "bad": []}


# ---- expense-approval ----------------------------------------------------------------------------------------
def test_small_expenses_pass(cli):
    outputs, _ = run(cli, "expense-approval", "--input", 'lines:=[{"what": "tea", "sum": 3}]', who="Ada")
    assert outputs == {"paid": True, "reason": "within the limit", "sum": 3}


@pytest.mark.parametrize("decision, paid, reason", [("approve", True, "approved: fine"), ("reject", False, "rejected: fine")])
def test_somebody_decides_about_large_expenses(cli, owner, decision, paid, reason):
    report = f"lines=@{FLOWS / 'expense-approval' / 'report.json'}"
    cli("run", FLOWS / "expense-approval" / "flow.yaml", "--input", "who=Ada", "--input", report)
    pending = lambda: checked(owner.get("approvals?status=pending"), 200).json()["approvals"]  # noqa: E731
    (approval,) = wait_until(pending, "the approval")
    assert approval["message"] == "Ada spent 384.5: train to Lyon 148.5, hotel, two nights 236. Pay it?"
    checked(owner.post(f"approvals/{approval['id']}/decide", json={"decision": decision, "comment": "fine"}), 200)
    done = owner.wait(approval["execution_id"])["execution"]
    assert done["outputs"] == {"paid": paid, "reason": reason, "sum": 384.5}, done


# ---- all of them ---------------------------------------------------------------------------------------------
def test_every_flow_has_schemas_a_page_and_a_test(cli):
    names = {folder.name for folder in FLOWS.iterdir() if folder.is_dir()}
    assert len(names) == 7
    page, tests = (FLOWS / "README.md").read_text(), pathlib.Path(__file__).read_text()
    for name in names:
        assert f"({name}/flow.yaml)" in page and f'run(cli, "{name}"' in tests
        cli("apply", FLOWS / name / "flow.yaml", "--publish")
    flows = {flow["name"]: flow for flow in cli.json("flows")["flows"]}
    assert names <= set(flows) and all(flows[name]["status"] == "published" for name in names)


def test_a_template_runs_as_its_file_does(stack, cli):
    """The same flow from the file by the CLI, and from the server's templates by the API."""
    text = "One two. Three four five! Licence granted.\n" * 20
    admin = stack.tenant()
    flow = checked(admin.post("templates/text-report/use"), 201).json()["flow"]
    eid = admin.start(flow["id"], {"text": text}, version="draft")
    outputs = admin.wait(eid, 60)["execution"]["outputs"]
    assert outputs["words"]["count"] == 140 and outputs["lines"]["lines"] == 20
    assert run(cli, "text-report", text=text)[0] == outputs
