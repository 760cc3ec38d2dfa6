"""What root writes into folders of other accounts: never through a link that such an account planted."""

import os

import pytest
from place import StackError, folder_for, write_for

ME = (os.geteuid(), os.getegid())


def test_a_planted_link_is_replaced_and_not_followed(tmp_path):
    target = tmp_path / "shadow"
    target.write_text("precious")
    target.chmod(0o640)
    planted = tmp_path / "hba.conf"
    planted.symlink_to(target)
    write_for(planted, "local all all peer\n", ME)
    assert target.read_text() == "precious"
    assert target.stat().st_mode & 0o777 == 0o640
    assert not planted.is_symlink() and planted.read_text() == "local all all peer\n"
    assert planted.stat().st_mode & 0o777 == 0o600


def test_a_file_is_written_anew_each_time(tmp_path):
    write_for(tmp_path / "ident.conf", "one long text\n", None)
    write_for(tmp_path / "ident.conf", "two\n", None)
    assert (tmp_path / "ident.conf").read_text() == "two\n"


def test_a_link_in_a_folders_place_is_refused(tmp_path):
    (tmp_path / "etc").mkdir()
    before = (tmp_path / "etc").stat()
    (tmp_path / "supervisor-1").symlink_to(tmp_path / "etc")
    with pytest.raises(StackError, match="not a folder"):
        folder_for(tmp_path / "supervisor-1", ME)
    assert (tmp_path / "etc").stat().st_uid == before.st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to own a folder as somebody else")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    folder_for(tmp_path / "supervisor-1", (64000, 64000))
    assert (tmp_path / "supervisor-1").stat().st_uid == 64000
    folder_for(tmp_path / "supervisor-1", (64000, 64000))
    os.chown(tmp_path / "supervisor-1", 64001, 64001)
    with pytest.raises(StackError, match="somebody else"):
        folder_for(tmp_path / "supervisor-1", (64000, 64000))
