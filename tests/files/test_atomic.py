import os
from pathlib import Path

import pytest

from taskodec.errors import TaskodecError
from taskodec.files.atomic import read_limited, write_atomic


def test_writes_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "out.tkd"
    write_atomic(path, b"first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tkd"]


def test_permissions_follow_the_umask(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_atomic(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.tkd"
    path.write_bytes(b"old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(TaskodecError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tkd"]


def test_a_link_keeps_pointing_at_its_target(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("place", ["missing/out", "."])
def test_impossible_places_are_named(place, tmp_path):
    with pytest.raises(TaskodecError, match="cannot write"):
        write_atomic(tmp_path / place, b"")


def test_devices_are_not_replaced():
    with pytest.raises(TaskodecError, match="not a regular file"):
        write_atomic(Path(os.devnull), b"")


def test_no_more_is_read_than_a_file_may_have(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    for endless in (path, Path("/dev/zero")):
        if endless.exists():
            with pytest.raises(ValueError, match="larger than the limit of 4 bytes"):
                read_limited(endless, 4)
    with pytest.raises(OSError, match="none"):
        read_limited(tmp_path / "none", 4)
