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
    ],
    ids=["no-limits", "no-pids", "word", "relative", "no-size", "unknown", "proc", "list", "files"],
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
