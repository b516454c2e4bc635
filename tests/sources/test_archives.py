import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from taskodec.errors import TaskodecError
from taskodec.sources.archives import ArchiveWriter, is_archive, is_whole, members, outside
from taskodec.sources.entries import Broken, End, Entry


def wanted(name):
    return name.endswith(".png")


def archive_of(path, *files, mode="w", links=()):
    with tarfile.open(path, mode) as archive:
        for name, data in files:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
        for name, kind, target in links:
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, target
            archive.addfile(about)
    return str(path)


def read(name, most=10**6):
    return list(members(name, wanted, most))


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("A.TGZ", "w:gz")])
def test_members_come_one_after_the_other(tmp_path, name, mode):
    path = archive_of(tmp_path / name, ("0001.png", b"one"), ("0001.cls", b"7"), ("d/0002.png", b"two"), mode=mode)
    assert is_archive(path)
    one, label, two, end = read(path)
    assert (one.name, one.key, one.data, one.copied) == (f"{path}/0001.png", "0001.png", b"one", False)
    assert (label.key, label.data, label.copied) == ("0001.cls", b"7", True)
    assert (two.key, two.archive) == ("d/0002.png", path)
    assert isinstance(end, End)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "d/../../a.png", "..", "d\\a.png", "d/"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    assert outside(name)
    path = archive_of(tmp_path / "a.tar", (name, b"x"), ("b.png", b"fine"))
    if name == "d/":  # tarfile drops the slash
        return
    bad, fine, _ = read(path)
    assert isinstance(bad, Broken)
    assert "must be relative" in str(bad.error)
    assert not bad.archive
    assert fine.data == b"fine"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_not_followed(tmp_path, kind):
    path = archive_of(tmp_path / "a.tar", ("b.png", b"x"), links=[("a.png", kind, "/etc/passwd")])
    _, bad, end = read(path)
    assert "not followed" in str(bad.error)
    assert isinstance(end, End)


def test_folders_in_archives_are_nothing(tmp_path):
    path = archive_of(tmp_path / "a.tar", links=[("d", tarfile.DIRTYPE, "")])
    assert [type(element) for element in read(path)] == [End]


def test_a_member_beyond_the_limit_is_left_out(tmp_path):
    path = archive_of(tmp_path / "a.tar", ("a.png", b"12345"), ("b.png", b"1"))
    big, small, _ = read(path, most=4)
    assert "holds 5 bytes, the limit is 4" in str(big.error)
    assert small.data == b"1"


@pytest.mark.parametrize("cut", [512 * 3 - 200, 512 * 2, 512 * 3 + 100, 512 * 2 + 100, 100])
def test_an_archive_that_was_cut_gives_what_is_whole_and_says_so(tmp_path, cut):
    """Within a member, between two members, within a header."""
    path = archive_of(tmp_path / "a.tar", ("a.png", b"first"), ("b.png", b"x" * 600))
    with Path(path).open("r+b") as file:
        file.truncate(cut)
    *before, last = read(path)
    assert isinstance(last, Broken)
    assert last.archive == path
    assert "cannot be read on after" in str(last.error)
    assert [entry.data for entry in before] == ([b"first"] if cut >= 1024 else [])


def test_a_damaged_or_missing_archive_is_one_error(tmp_path):
    packed = archive_of(tmp_path / "a.tar.gz", ("a.png", bytes(range(256)) * 100), mode="w:gz")
    data = bytearray((tmp_path / "a.tar.gz").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "a.tar.gz").write_bytes(data[: len(data) * 3 // 4])
    (tmp_path / "text.tar").write_text("no archive at all")
    for path in (packed, str(tmp_path / "text.tar"), str(tmp_path / "none.tar")):
        (only,) = read(path)
        assert isinstance(only, Broken)
        assert isinstance(only.error, TaskodecError)


def test_the_same_members_are_the_same_bytes_and_webdataset_reads_them(tmp_path):
    made = []
    for _ in range(2):
        buffer = io.BytesIO()
        writer = ArchiveWriter(buffer)
        for key, data in (("0001.tkd", b"one"), ("0001.cls", b"7"), ("x" * 150 + "é.tkd", b"two")):
            writer.add(key, data)
        writer.close()
        made.append(buffer.getvalue())
    assert made[0] == made[1]
    path = tmp_path / "a.tar"
    path.write_bytes(made[0])
    assert is_whole(path)
    path.with_name("cut.tar").write_bytes(made[0][:-10240])
    assert not is_whole(path.with_name("cut.tar"))
    pytest.importorskip("webdataset")
    code = (
        "import sys, webdataset\n"
        "found = webdataset.WebDataset(sys.argv[1], shardshuffle=False, empty_check=False)\n"
        "print([(s['__key__'][:5], sorted(k for k in s if k[0] != '_')) for s in found])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('0001', ['cls', 'tkd']), ('xxxxx', ['tkd'])]"


def test_an_archive_at_a_url(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    archive_of(tmp_path / "a.tar", ("a.png", b"remote"))
    fsspec.filesystem("memory").pipe_file("/arch/a.tar", (tmp_path / "a.tar").read_bytes())
    entry, end = read("memory://arch/a.tar")
    assert isinstance(entry, Entry)
    assert (entry.data, end.archive) == (b"remote", "memory://arch/a.tar")
    (gone,) = read("memory://arch/none.tar")
    assert "there is no such object" in str(gone.error)
