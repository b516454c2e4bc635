"""What cannot be written is said before anything is made, and where it can, nothing is left."""

import pytest

from taskodec.errors import TaskodecError, UsageError
from taskodec.sources.trials import check_folder, check_target


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "file").write_bytes(b"there")
    (tmp_path / "nowhere").symlink_to("none")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to("folder")
    return tmp_path


@pytest.mark.parametrize("name", ["", "folder", "way", "folder/a/ü b/c", "way/a"])
def test_folders_that_are_there_or_can_be_made(place, name):
    before = everything(place)
    check_folder(str(place / name))
    check_target(str(place / name / "a.tkd"))
    assert everything(place) == before


@pytest.mark.parametrize("name", ["file", "file/a", "nowhere", "nowhere/a", "loop", "loop/a", "x" * 300])
def test_folders_that_cannot_be(place, name):
    before = everything(place)
    for check, target in ((check_folder, place / name), (check_target, place / name / "a.tkd")):
        with pytest.raises(TaskodecError, match="cannot make folder"):
            check(str(target))
    assert everything(place) == before


def test_an_output_that_is_there_stays_as_it_is(place):
    check_target(str(place / "file"))
    assert (place / "file").read_bytes() == b"there"
    with pytest.raises(UsageError, match="no regular file"):
        check_target(str(place / "folder"))
    with pytest.raises(TaskodecError, match="File name too long"):
        check_target(str(place / ("x" * 300)))


def test_a_system_that_refuses_without_saying_so_in_its_rights(place, monkeypatch):
    """As /proc does, or a share for whom root is nobody."""

    def refuse(path):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("taskodec.files.atomic._locked", refuse)
    with pytest.raises(TaskodecError, match=r"cannot write to folder .*: Operation not permitted"):
        check_folder(str(place))
    with pytest.raises(TaskodecError, match=r"cannot make folder .*new: Operation not permitted"):
        check_folder(str(place / "new"))


def test_folders_at_urls(place):
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    from fsspec.implementations.memory import MemoryFileSystem

    before = everything(place)
    check_folder(f"file://{place}/new/folder")
    with pytest.raises(TaskodecError, match="cannot make folder"):
        check_folder(f"file://{place}/file/new")
    assert everything(place) == before
    check_folder("memory://bucket/streams")
    check_target("memory://bucket/a.tkd")
    assert not MemoryFileSystem.store
