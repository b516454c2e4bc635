import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskodec.errors import TaskodecError
from taskodec.files import atomic as files
from taskodec.files.atomic import clean_leftovers, read_limited, write_atomic

KILLED = """
import os, signal, sys
from pathlib import Path
from taskodec.files.atomic import write_atomic
Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), b"new")
"""


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


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(f"/dev/fd/{os.pipe()[1]}")):
        with pytest.raises(TaskodecError, match="not a regular file"):
            write_atomic(path, b"")


def test_a_killed_write_leaves_what_the_next_run_removes_and_nothing_else(tmp_path):
    path = tmp_path / "out.tkd"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "mine.tmp").touch()
    (tmp_path / ".hidden.tmp").touch()
    clean_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden.tmp", "mine.tmp", "out.tkd"]
    clean_leftovers(tmp_path / "nowhere")


def test_what_is_being_written_is_no_leftover(tmp_path, monkeypatch):
    replace = Path.replace

    def cleaned(self, target):
        clean_leftovers(tmp_path)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cleaned)
    write_atomic(tmp_path / "out.tkd", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["out.tkd"]


def test_a_file_that_is_cleaned_away_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    flock, cleaned = files.fcntl.flock, []

    def late(file, operation):
        if not cleaned:
            cleaned.append(Path(file.name))
            cleaned[0].unlink()
        flock(file, operation)

    monkeypatch.setattr(files.fcntl, "flock", late)
    write_atomic(tmp_path / "out.tkd", b"content")
    assert (tmp_path / "out.tkd").read_bytes() == b"content"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tkd"]


def test_a_limit_of_file_sizes_is_a_typed_error(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(TaskodecError, match="File too large"):
            write_atomic(tmp_path / "out.tkd", b"content")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanishes_is_a_typed_error(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    opened = Path.open

    def vanish(self, *mode):
        file = opened(self, *mode)
        self.unlink()
        folder.rmdir()
        return file

    monkeypatch.setattr(files, "_locked", lambda path: vanish(path, "xb"))
    with pytest.raises(TaskodecError, match=r"cannot write .*a\.tkd: No such file or directory"):
        write_atomic(folder / "a.tkd", b"content")


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
