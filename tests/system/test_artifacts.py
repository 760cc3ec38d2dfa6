"""Artifacts: the files that code nodes leave, kept in a folder or in a bucket, listed, downloaded, counted, deleted."""

import concurrent.futures
import hashlib
import json
import os
import re
import signal
import socket
import time
import uuid
from urllib.parse import unquote

import httpx
import pytest

from kit.client import checked, problem
from kit.flows import Flow, ex, of
from kit.s3 import Place, S3Server
from kit.stack import SHORT_LEASES, Stack
from kit.waiting import wait_until

pytestmark = pytest.mark.long
WRITE = """
import json, os, sys
for name, text in json.load(sys.stdin).items():
    path = os.path.join("/work/out", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(text)
print(json.dumps("done"))
"""
BIG = "import os\nopen('/work/out/big.bin', 'wb').write(bytes(range(256)) * 4096 * 12)\nprint(1)"
BIG_BYTES = bytes(range(256)) * 4096 * 12


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def s3_stack(s3):
    with Stack("artifacts-s3", env={**SHORT_LEASES, "WINDLASS_S3_URL": s3.url}) as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def place(request):
    if request.param == "folder":
        return Place(request.getfixturevalue("stack"))
    return Place(request.getfixturevalue("s3_stack"), request.getfixturevalue("s3"))


@pytest.fixture
def admin(place):
    return place.stack.tenant()


def code(source, **data):
    return Flow().code("c", source, **data).output(ex(of("c")))


def write(admin, files, seconds=60):
    """Run a node that leaves these files; the execution."""
    answer = admin.run(code(WRITE, input=ex(".inputs")), files, seconds)
    assert answer["execution"]["status"] == "succeeded", answer["execution"]["error"]
    return answer


def run_source(admin, source, **data):
    return admin.run(code(source, **data), seconds=60)


def listed(admin, **params):
    return checked(admin.get("artifacts", params=params), 200).json()["artifacts"]


def content(admin, artifact, status=200, **headers):
    return checked(admin.get(f"artifacts/{artifact['id']}/content", headers={k.replace("_", "-"): v for k, v in headers.items()}),
                   status)


def fault(answer):
    assert answer["execution"]["status"] == "failed", answer["execution"]
    return answer["node"]["c"]["error"]


def test_files_are_listed_described_and_downloaded(place, admin):
    files = {"report.txt": "hello", "data/rows.csv": "a,b\n1,2\n", "empty.json": "", "Größe 日本.md": "# x"}
    answer = write(admin, files)
    eid = answer["execution"]["id"]
    found = listed(admin, execution_id=eid)
    assert {artifact["name"]: artifact["size"] for artifact in found} == {
        name: len(text.encode()) for name, text in files.items()}
    receipt = answer["node"]["c"]["receipt"]["artifacts"]
    assert [item["name"] for item in receipt] == sorted(files, key=str.encode)
    assert {item["id"] for item in receipt} == {artifact["id"] for artifact in found}
    for artifact in found:
        text = files[artifact["name"]].encode()
        assert artifact["execution_id"] == eid and artifact["node_id"] == "c"
        assert artifact["sha256"] == hashlib.sha256(text).hexdigest()
        assert checked(admin.get(f"artifacts/{artifact['id']}"), 200).json()["artifact"] == artifact
        got = content(admin, artifact)
        assert got.content == text and got.headers["ETag"] == f'"{artifact["sha256"]}"'
    types = {artifact["name"]: artifact["content_type"] for artifact in found}
    assert types["report.txt"] == "text/plain" and types["data/rows.csv"] == "text/csv"
    assert place.keys(admin.tenant) == sorted(f"{admin.tenant}/{eid}/{artifact['id']}" for artifact in found)
    assert place.used(admin.tenant) == place.recount(admin.tenant) == sum(len(text.encode()) for text in files.values())


def test_a_node_without_files_leaves_nothing(place, admin):
    answer = run_source(admin, "print(1)")
    assert answer["execution"]["status"] == "succeeded" and "artifacts" not in answer["node"]["c"]["receipt"]
    assert listed(admin) == [] and place.keys(admin.tenant) == []


def upload(api, name, data, status=201):
    return checked(api.post("artifacts", params={"name": name}, content=data), status)


def test_what_is_uploaded_is_an_artifact_like_any_other(place, admin):
    data = "Ünïcode & bytes\n".encode() + bytes(range(256))
    answer = upload(admin, "docs/Handbuch für alle.md", data)
    artifact = answer.json()["artifact"]
    assert answer.headers["Location"] == f"/api/v1/artifacts/{artifact['id']}"
    assert (artifact["kind"], artifact["execution_id"], artifact["node_id"]) == ("upload", None, None)
    assert (artifact["content_type"], artifact["size"]) == ("text/markdown", len(data))
    assert artifact["sha256"] == hashlib.sha256(data).hexdigest()
    assert checked(admin.get(f"artifacts/{artifact['id']}"), 200).json()["artifact"] == artifact
    assert content(admin, artifact).content == data
    assert place.keys(admin.tenant) == [f"{admin.tenant}/uploads/{artifact['id']}"]
    assert place.used(admin.tenant) == place.recount(admin.tenant) == len(data)
    empty = upload(admin, "docs/Handbuch für alle.md", b"").json()["artifact"]  # another one of that name
    assert empty["size"] == 0 and content(admin, empty).content == b""
    assert [one["id"] for one in listed(admin, kind="upload")] == [empty["id"], artifact["id"]] and listed(admin, kind="output") == []
    viewer, editor = place.stack.user(admin, "viewer"), place.stack.user(admin, "editor")
    assert content(viewer, artifact).content == data
    problem(viewer.delete(f"artifacts/{artifact['id']}"), 403)
    checked(editor.delete(f"artifacts/{artifact['id']}"), 204)
    assert place.used(admin.tenant) == 0
    wait_until(lambda: place.keys(admin.tenant) == [f"{admin.tenant}/uploads/{empty['id']}"], "the object's removal", 60)
    log = lambda: checked(admin.get("audit-log", params={"resource_type": "artifact"}), 200).json()["entries"]  # noqa: E731
    wait_until(lambda: sorted(one["action"] for one in log()) == ["artifact.create", "artifact.create", "artifact.delete"],
               "the audit log", 20)


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a//b", "a\\b", "a\x07b", "x" * 256, "a/" * 8 + "b", "a\u202eb"])
def test_a_name_that_is_none_is_refused(admin, name):
    assert admin.post("artifacts", params={"name": name}, content=b"x").status_code in (400, 422)
    assert listed(admin) == []


def test_an_upload_has_to_fit_into_the_storage_and_a_body(place, admin):
    place.stack.sql("UPDATE control.quota SET max_storage_gb = 1 WHERE tenant = %s", admin.tenant)
    place.stack.sql("INSERT INTO control.usage_storage VALUES (%s, %s)", admin.tenant, (1 << 30) - 1000)
    said = problem(admin.post("artifacts", params={"name": "big.txt"}, content=b"x" * 1001), 429)
    assert "storage" in said["detail"] and place.keys(admin.tenant) == [] and listed(admin) == []
    upload(admin, "fits.txt", b"x" * 1000)
    assert place.used(admin.tenant) == 1 << 30
    problem(admin.post("artifacts", params={"name": "more.txt"}, content=b"x"), 429)
    problem(admin.post("artifacts", params={"name": "huge.txt"}, content=b"x" * ((16 << 20) + 1)), 413)
    assert [one["name"] for one in listed(admin)] == ["fits.txt"]


def test_uploads_at_once_are_counted_exactly(place, admin):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: admin.post("artifacts", params={"name": f"{n}.txt"}, content=b"x" * 1000), range(40)))
    assert {answer.status_code for answer in answers} <= {201, 503}
    stored = sum(answer.status_code == 201 for answer in answers)
    assert stored and place.used(admin.tenant) == place.recount(admin.tenant) == 1000 * stored
    assert len(listed(admin, limit=100)) == stored


def test_pages_and_filters(place, admin):
    first = write(admin, {f"f{number}": "x" for number in range(5)})["execution"]["id"]
    second = write(admin, {f"g{number}": "x" for number in range(4)})["execution"]["id"]
    assert len(listed(admin)) == 9
    assert {artifact["name"] for artifact in listed(admin, execution_id=second)} == {"g0", "g1", "g2", "g3"}
    assert len(listed(admin, execution_id=first, node_id="c")) == 5 and listed(admin, node_id="other") == []
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = checked(admin.get("artifacts", params=params), 200).json()
        assert len(page["artifacts"]) <= 2
        seen += [artifact["id"] for artifact in page["artifacts"]]
        cursor = page["page_info"]["next_cursor"]
        if not cursor:
            break
    assert len(seen) == 9 == len(set(seen)) and seen == [artifact["id"] for artifact in listed(admin, limit=100)]
    for bad in ("x", "1_2", "99999999999999999_" + "f" * 36, "1_" + "-" * 36):
        problem(admin.get("artifacts", params={"cursor": bad}), 400)
    problem(admin.get("artifacts", params={"execution_id": "x"}), 400)


def test_ranges_and_conditions(place, admin):
    artifact = run_source(admin, BIG)["node"]["c"]["receipt"]["artifacts"][0]
    size = len(BIG_BYTES)
    whole = content(admin, artifact)
    assert whole.content == BIG_BYTES and whole.headers["Accept-Ranges"] == "bytes"
    etag = whole.headers["ETag"]
    for asked, first, last in (("bytes=0-0", 0, 0), ("bytes=100-199", 100, 199), ("bytes=-7", size - 7, size - 1),
                               (f"bytes={size - 1}-", size - 1, size - 1), ("bytes=1048575-1048577", 1048575, 1048577),
                               (f"bytes=5-{size * 2}", 5, size - 1)):
        part = content(admin, artifact, 206, Range=asked)
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["Content-Length"] == str(last - first + 1) and part.content == BIG_BYTES[first:last + 1]
    for outside in (f"bytes={size}-", "bytes=-0", "bytes=99999999999999999999999-"):
        answer = admin.get(f"artifacts/{artifact['id']}/content", headers={"Range": outside})
        problem(answer, 416)
        assert answer.headers["Content-Range"] == f"bytes */{size}"
    for ignored in ("bytes=5-1", "bytes=0-1,4-5", "chapters=1-2", "bytes=a-b", "bytes="):
        assert content(admin, artifact, 200, Range=ignored).headers["Content-Length"] == str(size)
    for condition in (etag, "*", f'"other", W/{etag}'):
        answer = content(admin, artifact, 304, If_None_Match=condition)
        assert answer.content == b"" and answer.headers["ETag"] == etag and "Content-Length" not in answer.headers
    assert content(admin, artifact, 200, If_None_Match='"other"').content == BIG_BYTES
    assert content(admin, artifact, 206, Range="bytes=0-3", If_Range=etag).content == BIG_BYTES[:4]
    assert content(admin, artifact, 200, Range="bytes=0-3", If_Range='"other"').content == BIG_BYTES
    head = checked(admin.request("HEAD", f"artifacts/{artifact['id']}/content"), 200)
    assert head.headers["Content-Length"] == str(size) and head.content == b""


def test_a_download_is_never_rendered(place, admin):
    names = {'a"b;c.html': "<script>", "日本.svg": "<svg/>", "x" * 240 + ".txt": "long"}
    write(admin, names)
    for artifact in listed(admin):
        headers = content(admin, artifact).headers
        assert headers["Content-Type"] == "application/octet-stream" and headers["X-Content-Type-Options"] == "nosniff"
        shown = headers["Content-Disposition"]
        assert re.fullmatch(r"attachment; filename=\"[\w. -]+\"; filename\*=UTF-8''[A-Za-z0-9_.%-]+", shown, re.ASCII)
        assert unquote(shown.rpartition("''")[2]) == artifact["name"]


def test_deleting_takes_row_object_and_room(place, admin):
    write(admin, {"a": "12345", "b": "1"})
    one, other = sorted(listed(admin), key=lambda artifact: artifact["name"])
    checked(admin.delete(f"artifacts/{one['id']}"), 204)
    problem(admin.get(f"artifacts/{one['id']}"), 404)
    problem(admin.get(f"artifacts/{one['id']}/content"), 404)
    problem(admin.delete(f"artifacts/{one['id']}"), 404)
    assert [artifact["id"] for artifact in listed(admin)] == [other["id"]]
    assert place.used(admin.tenant) == place.recount(admin.tenant) == 1
    wait_until(lambda: len(place.keys(admin.tenant)) == 1, "the removal of the object", 20)
    assert content(admin, other).content == b"1"
    wait_until(lambda: place.stack.sql("SELECT count(*) FROM control.object_trash WHERE tenant = %s",
                                       admin.tenant) == [(0,)], "an empty trash", 20)
    entries = wait_until(lambda: checked(admin.get("audit-log", params={"action": "artifact.delete"}), 200).json()["entries"],
                         "the entry in the audit log", 20)
    assert [entry["resource_id"] for entry in entries] == [one["id"]] and entries[0]["metadata"]["name"] == "a"


def test_roles_and_other_tenants(place, admin):
    write(admin, {"secret.txt": "mine"})
    artifact = listed(admin)[0]
    stranger = place.stack.tenant()
    assert listed(stranger) == [] and listed(stranger, execution_id=artifact["execution_id"]) == []
    for answer in (stranger.get(f"artifacts/{artifact['id']}"), stranger.get(f"artifacts/{artifact['id']}/content"),
                   stranger.delete(f"artifacts/{artifact['id']}"), stranger.get(f"artifacts/{uuid.uuid4()}/content")):
        problem(answer, 404)
    viewer = place.stack.user(admin, "viewer")
    assert content(viewer, artifact).content == b"mine"
    problem(viewer.delete(f"artifacts/{artifact['id']}"), 403)
    nobody = place.stack.api()
    for answer in (nobody.get("artifacts"), nobody.get(f"artifacts/{artifact['id']}/content")):
        problem(answer, 401)
    problem(admin.get("artifacts/not-an-id/content"), 400)
    assert content(admin, artifact).content == b"mine"


def test_a_tenants_own_sql_reaches_no_other_rows(place, admin):
    """Even inside the transaction of one tenant, another's rows and the shared tables stay shut."""
    write(admin, {"x": "x"})
    other = place.stack.tenant()
    with place.stack.postgres() as connection:
        for statement in (f"SELECT * FROM t_{admin.tenant}.artifacts", "SELECT * FROM control.object_trash",
                          "SELECT * FROM control.usage_storage", "DELETE FROM artifacts",
                          f"SELECT control.artifacts_drop_tenant({admin.tenant})",
                          "SELECT control.artifacts_commit('{}')"):
            with connection.transaction(force_rollback=True):
                connection.execute(f"SET LOCAL ROLE t_{other.tenant}")
                connection.execute(f"SET LOCAL search_path = t_{other.tenant}")
                with pytest.raises(Exception, match="permission denied"):
                    connection.execute(statement)
    assert len(listed(admin)) == 1


@pytest.mark.parametrize("source, error, sentence", [
    ("for i in range(65): open(f'/work/out/{i}', 'w').close()\nprint(1)", "output_cap", "more files"),
    ("for i in range(10000): open(f'/work/out/{i}', 'w').close()\nprint(1)", "output_cap", "more files"),
    ("open('/work/out/large.bin', 'wb').write(b'x' * (17 << 20))\nprint(1)", "output_cap", "large.bin"),
    ("import os\nos.makedirs('/work/out/' + 'd/' * 9)\nprint(1)", "output_cap", "nested"),
    ("open(b'/work/out/bad\\xff\\n', 'w').close()\nprint(1)", "artifact_name", "UTF-8"),
    ("open('/work/out/\\u202egpj.exe', 'w').close()\nprint(1)", "artifact_name", "name"),
])
def test_what_may_not_come_out_fails_the_node(place, admin, source, error, sentence):
    seen = fault(run_source(admin, source))
    assert seen["code"] == error and sentence in seen["message"], seen
    assert listed(admin) == [] and place.keys(admin.tenant) == [] and place.used(admin.tenant) == 0


def test_links_and_devices_are_passed_over_and_said_so(place, admin):
    answer = run_source(admin, "import os\nos.symlink('/etc/passwd', '/work/out/p')\nos.mkfifo('/work/out/f')\n"
                               "open('/work/out/real', 'w').write('r')\nprint(1)")
    assert answer["node"]["c"]["receipt"]["files_passed_over"] == 2
    assert [artifact["name"] for artifact in listed(admin)] == ["real"]


def test_a_program_that_fails_leaves_no_artifacts(place, admin):
    assert fault(run_source(admin, "open('/work/out/a', 'w').write('x')\nraise SystemExit(3)"))["code"] == "exit"
    assert fault(run_source(admin, "open('/work/out/a', 'w').write('x')\nprint('no json')"))["code"] == "output_not_json"
    assert listed(admin) == [] and place.keys(admin.tenant) == []


def test_the_storage_quota_is_exact_under_parallel_runs(place, admin):
    flow = admin.create(code("open('/work/out/f', 'wb').write(b'x' * 1000)\nprint(1)"))
    limit = 10 << 30
    assert place.stack.sql("SELECT max_storage_gb FROM control.quota WHERE tenant = %s", admin.tenant) == [(10,)]
    place.stack.sql("INSERT INTO control.usage_storage VALUES (%s, %s)", admin.tenant, limit - 3500)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: admin.run(flow, seconds=90), range(8)))
    good = [end for end in ends if end["execution"]["status"] == "succeeded"]
    assert len(good) == 3 and len(listed(admin)) == 3
    for end in ends:
        if end not in good:
            assert fault(end)["code"] == "storage_quota" and "10240 MiB" in fault(end)["message"]
    assert place.used(admin.tenant) == limit - 500
    wait_until(lambda: len(place.keys(admin.tenant)) == 3, "only what counts in the store", 30)
    checked(admin.delete(f"artifacts/{listed(admin)[0]['id']}"), 204)
    assert admin.run(flow, seconds=60)["execution"]["status"] == "succeeded"


def item(name, text=b""):
    return {"id": str(uuid.uuid4()), "name": name, "size": len(text), "sha256": hashlib.sha256(text).hexdigest(),
            "content_type": "text/plain"}


def test_an_attempt_again_replaces_and_an_old_one_changes_nothing(place, admin):
    """The functions behind it, called for an execution that is under way as supervisors would."""
    eid = admin.start(code("import time\ntime.sleep(120)\nprint(1)"))
    wait_until(lambda: admin.status(eid) == "running", "the start of the execution")
    epoch = place.stack.sql("SELECT epoch FROM control.dispatch WHERE eid = %s", eid)[0][0]

    def call(function, items, of_epoch=epoch):
        request = {"tenant": admin.tenant, "eid": eid, "epoch": of_epoch, "node": "c", "items": items}
        return place.stack.sql(f"SELECT control.artifacts_{function}(%s)", json.dumps(request))[0][0]["outcome"]

    first, second = [item("a", b"12345"), item("b")], [item("a", b"123")]
    assert call("begin", first) == "ok" and call("commit", first) == "ok"
    assert place.used(admin.tenant) == 5 and len(listed(admin)) == 2
    assert call("begin", second) == "ok" and call("commit", second) == "ok"
    assert [artifact["id"] for artifact in listed(admin)] == [second[0]["id"]] and place.used(admin.tenant) == 3
    late = [item("a", b"1")]
    assert call("commit", late) == "late" and call("begin", late, epoch - 1) == "gone"
    assert call("begin", late) == "ok" and call("commit", late, epoch + 1) == "gone"
    assert [artifact["id"] for artifact in listed(admin)] == [second[0]["id"]] and place.used(admin.tenant) == 3
    wait_until(lambda: place.stack.sql("SELECT count(*) FROM control.object_trash WHERE tenant = %s", admin.tenant) == [(0,)],
               "an empty trash", 20)
    assert call("commit", []) == "ok" and listed(admin) == [] and place.used(admin.tenant) == 0
    checked(admin.cancel(eid), 202)
    admin.wait(eid)
    assert call("begin", [item("late", b"x")]) == "gone" and call("commit", []) == "gone"


def test_what_was_written_and_never_registered_goes_away(place, admin):
    key = f"{admin.tenant}/{uuid.uuid4()}/{uuid.uuid4()}"
    write(admin, {"keep": "x"})
    path = place.path(key)
    path.parent.mkdir(parents=True)
    path.write_text("left behind")
    for folder in (path.parent, path):
        os.chown(folder, place.path(place.keys(admin.tenant)[0]).stat().st_uid, -1)
    place.stack.sql("INSERT INTO control.object_trash (key, tenant) VALUES (%s, %s)", key, admin.tenant)
    wait_until(lambda: not path.exists(), "the removal of the object", 20)
    assert len(place.keys(admin.tenant)) == 1 and content(admin, listed(admin)[0]).content == b"x"


def test_retention_and_the_end_of_a_tenant_leave_no_objects(place, admin):
    first = write(admin, {"a": "1", "b": "22"})["execution"]["id"]
    write(admin, {"c": "333"})
    assert place.stack.sql("SELECT control.artifacts_drop_execution(%s, %s)", admin.tenant, first) == [(2,)]
    assert [artifact["name"] for artifact in listed(admin)] == ["c"] and place.used(admin.tenant) == 3
    wait_until(lambda: len(place.keys(admin.tenant)) == 1, "the removal of an execution's objects", 20)
    assert place.stack.sql("SELECT control.artifacts_drop_tenant(%s)", admin.tenant) == [(1,)]
    assert listed(admin) == [] and place.used(admin.tenant) == 0
    wait_until(lambda: place.keys(admin.tenant) == [], "the removal of a tenant's objects", 20)


def test_an_object_that_is_gone_is_told(place, admin):
    write(admin, {"a": "1"})
    place.path(place.keys(admin.tenant)[0]).unlink()
    problem(admin.get(f"artifacts/{listed(admin)[0]['id']}/content"), 404)


def test_slow_readers_do_not_hold_up_the_server(place, admin):
    """Ten clients ask for 12 MiB each and read nothing; others are served, and later they get every byte."""
    artifact = run_source(admin, BIG)["node"]["c"]["receipt"]["artifacts"][0]
    host, port = place.stack.urls["web"].removeprefix("http://").split(":")
    slow = []
    for _ in range(10):
        sock = socket.create_connection((host, int(port)), timeout=60)
        sock.sendall(f"GET /api/v1/artifacts/{artifact['id']}/content HTTP/1.1\r\nHost: {host}\r\n"
                     f"Authorization: Bearer {admin.access}\r\n\r\n".encode())
        assert sock.recv(1) == b"H"
        slow.append(sock)
    for _ in range(20):
        began = time.monotonic()
        assert len(listed(admin)) == 1
        assert time.monotonic() - began < 5
    assert content(admin, artifact).content == BIG_BYTES
    for number, sock in enumerate(slow):
        if number % 2:
            sock.close()
            continue
        text = b"H" + b"".join(iter(lambda: sock.recv(1 << 20), b""))
        head, _, body = text.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and body == BIG_BYTES
        sock.close()
    assert content(admin, artifact).content == BIG_BYTES


def test_downloads_are_bounded(place, admin):
    artifact = run_source(admin, BIG)["node"]["c"]["receipt"]["artifacts"][0]
    host, port = place.stack.urls["web"].removeprefix("http://").split(":")
    socks, refused = [], 0
    for _ in range(80):
        sock = socket.create_connection((host, int(port)), timeout=60)
        sock.sendall(f"GET /api/v1/artifacts/{artifact['id']}/content HTTP/1.1\r\nHost: {host}\r\n"
                     f"Authorization: Bearer {admin.access}\r\n\r\n".encode())
        refused += b" 503 " in sock.recv(64)
        socks.append(sock)
    assert refused >= 80 - 2 * 16
    for sock in socks:
        sock.close()
    wait_until(lambda: admin.get(f"artifacts/{artifact['id']}/content").status_code == 200, "room for downloads", 20)


def test_a_bucket_that_is_away_and_back(s3_stack, s3):
    admin = s3_stack.tenant()
    write(admin, {"a": "1"})
    artifact = listed(admin)[0]
    s3.kill()
    try:
        answer = admin.get(f"artifacts/{artifact['id']}/content", timeout=60)
        assert problem(answer, 503) and int(answer.headers["Retry-After"]) > 0
        eid = admin.start(code("open('/work/out/b', 'w').write('2')\nprint(1)"))
        checked(admin.delete(f"artifacts/{artifact['id']}"), 204)
        wait_until(lambda: s3_stack.sql("SELECT count(*) FROM control.object_trash WHERE key LIKE %s", f"%/{eid}/%")[0][0],
                   "the first try to store the file", 30)
    finally:
        s3.start()
    assert admin.wait(eid, 90)["execution"]["status"] == "succeeded"
    assert [found["name"] for found in listed(admin)] == ["b"] and content(admin, listed(admin)[0]).content == b"2"
    wait_until(lambda: len([key for key in s3.keys() if key.startswith(f"{admin.tenant}/")]) == 1,
               "the removal of what was deleted meanwhile", 150)


def test_a_supervisor_that_dies_while_it_stores_leaves_one_of_each(s3_stack, s3):
    """The bucket stands still, so some files are stored and none is registered when the supervisor is killed."""
    place, admin = Place(s3_stack, s3), s3_stack.tenant()
    flow = admin.create(code("import os, time\nfor i in range(20): open(f'/work/out/{i}', 'wb').write(os.urandom(1000))\nprint(1)"))
    s3.process.send_signal(signal.SIGSTOP)
    try:
        eid = admin.start(flow)
        wait_until(lambda: s3_stack.sql("SELECT count(*) FROM control.object_trash WHERE key LIKE %s", f"%/{eid}/%") == [(20,)],
                   "the beginning of the upload", 30)
        old = s3_stack.pid("supervisor-1")
        s3_stack.kill("supervisor-1", signal.SIGKILL)
        s3_stack.await_dead(old)
    finally:
        s3.process.send_signal(signal.SIGCONT)
    assert admin.wait(eid, 60)["execution"]["status"] == "succeeded"
    found = listed(admin, limit=100)
    assert sorted(artifact["name"] for artifact in found) == sorted(map(str, range(20)))
    assert place.used(admin.tenant) == place.recount(admin.tenant) == 20000
    left = s3_stack.sql("SELECT key FROM control.object_trash WHERE tenant = %s", admin.tenant)
    assert set(place.keys(admin.tenant)) <= {key for key, in left} | {f"{admin.tenant}/{eid}/{artifact['id']}" for artifact in found}
    s3_stack.sql("UPDATE control.object_trash SET due = now() WHERE tenant = %s", admin.tenant)
    wait_until(lambda: len(place.keys(admin.tenant)) == 20, "the removal of what the first attempt had stored", 30)
    for artifact in found:
        assert hashlib.sha256(content(admin, artifact).content).hexdigest() == artifact["sha256"]


def test_a_server_that_is_told_to_stop_finishes_its_downloads(s3_stack):
    admin = s3_stack.tenant()
    artifact = run_source(admin, BIG)["node"]["c"]["receipt"]["artifacts"][0]
    host, port = s3_stack.urls["web"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(f"GET /api/v1/artifacts/{artifact['id']}/content HTTP/1.1\r\nHost: {host}\r\n"
                     f"Authorization: Bearer {admin.access}\r\n\r\n".encode())
        text = sock.recv(1)
        old = s3_stack.pid("web")
        s3_stack.kill("web", signal.SIGTERM)
        text += b"".join(iter(lambda: sock.recv(1 << 20), b""))
    assert text.partition(b"\r\n\r\n")[2] == BIG_BYTES
    s3_stack.await_dead(old)
    wait_until(lambda: admin.get("artifacts").status_code == 200, "the server again", 30, forgive=(httpx.TransportError,))


def test_the_buckets_secret_is_nowhere_to_be_read(s3_stack):
    admin = s3_stack.tenant()
    answer = run_source(admin, "import os\nprint(len([n for n in os.environ if 'WINDLASS' in n]))")
    assert answer["execution"]["outputs"] == 0
    for log in (s3_stack.home / "log").iterdir():
        text = log.read_text(errors="replace")
        assert "with+everything" not in text and "with%2Beverything" not in text, log
