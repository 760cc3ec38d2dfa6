"""The policies are what their schemas say, and the warden and the schemas agree on what is wrong."""

import copy
import errno
import json
import pathlib

import jsonschema_rs
import pytest

from sandbox_kit import wait_until

POLICIES = pathlib.Path(__file__).resolve().parents[2] / "policies"
KINDS = {"sandbox": "profile.schema.json", "seccomp": "list.schema.json"}


def documents():
    for kind, schema in KINDS.items():
        for path in sorted((POLICIES / kind).glob("*.json")):
            if not path.name.endswith(".schema.json"):
                yield pytest.param(path, POLICIES / kind / schema, id=f"{kind}/{path.stem}")


@pytest.mark.parametrize("path, schema", list(documents()))
def test_policies_keep_to_their_schema(path, schema):
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text()))
    assert [error.message for error in validator.iter_errors(json.loads(path.read_text()))] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("limits"),
        lambda p: p["limits"].pop("pids"),
        lambda p: p["limits"]["pids"].update(default="many"),
        lambda p: p["binds"].append("relative"),
        lambda p: p["tmpfs"].append({"path": "/x"}),
        lambda p: p.update(network=True),
        lambda p: p.update(proc="none"),
        lambda p: p.update(seccomp="../default"),
        lambda p: p.update(open_files=1),
        lambda p: p.update(environment={"name": "x", "made_by": "make x"}),
        lambda p: p.update(environment={"name": "../x", "path": "/usr/local", "made_by": "make x"}),
        lambda p: p.update(environment={"name": "x", "path": "usr", "made_by": "make x"}),
        lambda p: p.update(environment={"name": "x", "path": "/usr/local", "made_by": "make x", "source": "/root"}),
        lambda p: p.update(variables={"lower": "x"}),
        lambda p: p.update(variables={"UPPER": 1}),
        lambda p: p.update(variables={"UPPER": "x" * 513}),
    ],
    ids=["no-limits", "no-pids", "word", "relative", "no-size", "unknown", "proc", "list", "files", "environment-path",
         "environment-name", "environment-relative", "environment-source", "variable-name", "variable-number",
         "variable-length"],
)
def test_schema_and_warden_refuse_the_same_profiles(built, new_warden, tmp_path, change):
    profile = json.loads((POLICIES / "sandbox/host.json").read_text())
    wrong = copy.deepcopy(profile)
    change(wrong)
    validator = jsonschema_rs.validator_for(json.loads((POLICIES / "sandbox/profile.schema.json").read_text()))
    assert validator.is_valid(profile) and not validator.is_valid(wrong)
    for kind in KINDS:
        (tmp_path / kind).mkdir()
    (tmp_path / "seccomp/default.json").write_text((POLICIES / "seccomp/default.json").read_text())
    (tmp_path / "sandbox/host.json").write_text(json.dumps(wrong))
    with pytest.raises(AssertionError, match="sandbox profile 'host'"):
        new_warden(policies_dir=str(tmp_path))


def test_a_folder_the_host_lacks_is_named(new_warden, tmp_path):
    profile = json.loads((POLICIES / "sandbox/host.json").read_text())
    profile["binds"].append("/no/such/folder")
    for kind in KINDS:
        (tmp_path / kind).mkdir()
    (tmp_path / "seccomp/default.json").write_text((POLICIES / "seccomp/default.json").read_text())
    (tmp_path / "sandbox/host.json").write_text(json.dumps(profile))
    with pytest.raises(AssertionError, match="/no/such/folder, which this host lacks"):
        new_warden(policies_dir=str(tmp_path))


def test_a_sandbox_that_cannot_be_made_is_refused_and_leaves_nothing(new_warden, tmp_path):
    profile = json.loads((POLICIES / "sandbox/host.json").read_text())
    profile["tmpfs"].append({"path": "/usr/no-such-folder", "size_kb": 64})
    for kind in KINDS:
        (tmp_path / kind).mkdir()
    (tmp_path / "seccomp/default.json").write_text((POLICIES / "seccomp/default.json").read_text())
    (tmp_path / "sandbox/host.json").write_text(json.dumps(profile))
    warden = new_warden(policies_dir=str(tmp_path))
    for _ in range(3):
        result = warden.run(["/bin/true"])
        assert result["error"] == errno.EPROTO and "crun could not make a sandbox: mkdir" in result["text"]
    wait_until(lambda: not warden.sandboxes() and not children(warden.pid))
    assert warden.stop() == 0


def children(pid):
    """All child processes, the dead that were not waited for included."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


@pytest.fixture
def with_environment(tmp_path):
    """Policies with a profile `own` that wants an environment, and the folder where environments lie."""
    profile = json.loads((POLICIES / "sandbox/host.json").read_text())
    profile["tmpfs"] = [row for row in profile["tmpfs"] if row["path"] != "/usr/local"]
    profile.update(environment={"name": "own", "path": "/usr/local", "made_by": "make own"},
                   variables={"OF_THE_PROFILE": "a \"b\"", "OF_BOTH": "profile"})
    for kind in KINDS:
        (tmp_path / "policies" / kind).mkdir(parents=True)
    (tmp_path / "policies/seccomp/default.json").write_text((POLICIES / "seccomp/default.json").read_text())
    (tmp_path / "policies/sandbox/own.json").write_text(json.dumps(profile))
    (tmp_path / "environments").mkdir()
    tmp_path.chmod(0o700)   # what the warden shows need not be reached by the sandbox's user
    return {"policies_dir": str(tmp_path / "policies"), "environments_dir": str(tmp_path / "environments")}


def put_environment(settings, mark):
    folder = pathlib.Path(settings["environments_dir"]) / "own"
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    (folder / "lib/tool").write_text("#!/bin/bash\necho $OF_THE_PROFILE, $OF_BOTH; touch /usr/local/x || echo kept\n")
    (folder / "lib/tool").chmod(0o755)
    (folder / "made-from").write_text(mark)
    for path in (folder, folder / "lib"):
        path.chmod(0o755)


def test_an_environment_is_shown_read_only_with_the_profiles_variables(new_warden, with_environment):
    put_environment(with_environment, "one")
    warden = new_warden(**with_environment)
    first = warden.run(["/usr/local/lib/tool"], profile="own", env={"OF_BOTH": "run"})
    assert first["output"] == 'a "b", run\nkept\n'
    assert warden.stop() == 0
    put_environment(with_environment, "two")
    second = new_warden(**with_environment).run(["/usr/local/lib/tool"], profile="own")
    assert second["output"] == 'a "b", profile\nkept\n'
    # the receipt tells them apart
    assert first["receipt"]["profile_hash"] != second["receipt"]["profile_hash"]


def test_a_profile_whose_environment_is_not_there_is_refused_with_what_makes_it(new_warden, with_environment):
    folder = pathlib.Path(with_environment["environments_dir"]) / "own"
    for made in (False, True):
        if made:
            folder.mkdir()   # half made: without its mark
        warden = new_warden(**with_environment)
        refused = warden.run(["/bin/true"], profile="own")
        assert refused["error"] == errno.ENOENT
        assert refused["text"] == "the sandbox profile 'own' is not installed on this host; 'make own' makes it"
        assert warden.stop() == 0


def test_a_profile_with_a_root_of_its_own_shows_that_tree(new_warden, tmp_path):
    profile = json.loads((POLICIES / "sandbox/host.json").read_text())
    tree = tmp_path / "tree"
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/local").mkdir()
    (tree / "usr/mark").write_text("own\n")
    profile.update(rootfs=str(tree), binds=["/usr"], proc="processes", masked=[], readonly=[])
    policies = tmp_path / "policies"
    for kind in KINDS:
        (policies / kind).mkdir(parents=True)
    (policies / "seccomp/default.json").write_text((POLICIES / "seccomp/default.json").read_text())
    (policies / "sandbox/own.json").write_text(json.dumps(profile))
    for folder in (tmp_path, *tmp_path.parents[:-2], *tree.rglob("*")):
        folder.chmod(folder.stat().st_mode | 0o055)
    warden = new_warden(policies_dir=str(policies))
    # a program of its own: static, for the tree has no libraries
    init = pathlib.Path(__file__).resolve().parents[2] / "build/bin/windlass-init"
    (tree / "usr/init").write_bytes(init.read_bytes())
    (tree / "usr/init").chmod(0o755)
    missing = warden.run(["/usr/bin/python3"], profile="own")
    assert missing["exit_code"] == 127
    found = warden.run(["/usr/init"], profile="own")
    assert found["exit_code"] == 0 and found["receipt"]["profile"] == "own"
    assert warden.run(["/bin/true"])["error"] == 2  # the profile host is not in this folder
