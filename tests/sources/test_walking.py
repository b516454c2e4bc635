import itertools
import os

import pytest

from taskodec.errors import UsageError
from taskodec.sources.entries import Broken, Entry
from taskodec.sources.walking import Inputs

SUFFIXES = frozenset({".png"})


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t/b.png", "t/a.PNG", "t/.hidden.png", "t/n.txt", "t/s/c.png", "t/s/u/d.png", "t/.git/e.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "t" / "s" / "round").symlink_to(tmp_path / "t")
    return tmp_path


def keys(*given, recursive=False):
    return [(element.name, getattr(element, "key", None)) for element in Inputs(given, SUFFIXES, recursive).elements()]


def test_folders_are_gone_through_at_any_depth_and_never_in_a_circle(tree):
    assert keys("t") == [("t/a.PNG", "a.PNG"), ("t/b.png", "b.png")]
    assert keys("t", recursive=True) == [
        ("t/a.PNG", "a.PNG"),
        ("t/b.png", "b.png"),
        ("t/s/c.png", "s/c.png"),
        ("t/s/u/d.png", "s/u/d.png"),
    ]


def test_a_stream_of_names_is_no_list(tree, monkeypatch):
    """The first name is there before the second folder is looked at."""
    looked, scandir = [], os.scandir

    def counted(place):
        looked.append(str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", counted)
    stream = Inputs(["t"], SUFFIXES, True).elements()
    assert next(stream).key == "a.PNG"
    assert looked == ["t"]


def test_a_list_may_be_endless(tree, monkeypatch):
    monkeypatch.setattr("taskodec.sources.walking._lines", lambda name: (f"t/{n}.png" for n in itertools.count()))
    stream = Inputs(["@list"], SUFFIXES).elements()
    assert [entry.key for entry in itertools.islice(stream, 3)] == ["0.png", "1.png", "2.png"]


def test_a_folder_that_cannot_be_read_does_not_end_the_others(tree, monkeypatch):
    scandir = os.scandir

    def refused(place):
        if str(place) == "t/s":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refused)
    *_, last = Inputs(["t"], SUFFIXES, True).elements()
    assert isinstance(last, Broken)
    assert str(last.error) == "cannot read folder t/s: Permission denied"
    monkeypatch.setattr(os, "scandir", lambda place: refused("t/s"))
    with pytest.raises(UsageError, match="cannot read folder t: Permission denied"):
        list(Inputs(["t"], SUFFIXES, True).elements())


def test_a_folder_without_pictures_says_where_to_look(tree):
    (tree / "t" / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"holds no file of type \.png; --recursive looks into the folders below"):
        keys("t/empty")
    with pytest.raises(UsageError, match=r"holds no file of type \.png$"):
        keys("t/empty", recursive=True)


def test_lists_hold_names_of_any_bytes(tree):
    odd = b"t/\xff\x1b[2J line.png"
    lines = b"\xef\xbb\xbft/b.png\r\n\nt/ spaced .png\n" + odd + b"\nt\n-\nt/empty\nlast.png"
    (tree / "list.txt").write_bytes(lines)
    (tree / "t" / "empty").mkdir()
    found = list(Inputs(["@list.txt"], SUFFIXES).elements())
    names = [element.name for element in found if isinstance(element, Entry)]
    assert names == ["t/b.png", "t/ spaced .png", os.fsdecode(odd), "t/a.PNG", "t/b.png", "last.png"]
    assert [str(element.error) for element in found if isinstance(element, Broken)] == [
        "list.txt: a line that names no file: '-'",
        "folder t/empty holds no file of type .png; --recursive looks into the folders below too",
    ]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("t/s/c.png", "t/s/c.png"),
        ("./t//s/c.png", "t/s/c.png"),
        ("/data/c.png", "data/c.png"),
        ("t/../c.png", "c.png"),
        ("../c.png", None),
        ("memory://x/y/c.png", "x/y/c.png"),
    ],
)
def test_names_in_a_list_keep_their_folders_where_that_is_asked(tree, line, key):
    if line.startswith("memory"):
        fsspec = pytest.importorskip("fsspec")
        fsspec.filesystem("memory").pipe_file("/x/y/c.png", b"1")
    (tree / "list.txt").write_text(line)
    (found,) = Inputs(["@list.txt"], SUFFIXES, True).elements()
    if key is None:
        assert "lead upwards" in str(found.error)
        return
    assert found.key == key
    assert next(Inputs(["@list.txt"], SUFFIXES).elements()).key == "c.png"


def test_what_is_no_list_is_refused(tree):
    (tree / "empty.txt").write_text("\n\n")
    (tree / "binary.txt").write_bytes(bytes(range(32, 128)) * 1000)
    for name, message in (("none", "cannot read the list none"), ("empty", "names nothing"), ("binary", "no list")):
        with pytest.raises(UsageError, match=message):
            keys(f"@{name}.txt")


def test_what_is_alone_can_become_one_file(tree):
    assert Inputs(["t/b.png"], SUFFIXES).alone
    assert Inputs(["-"], SUFFIXES).alone
    for given in (["t"], ["@list"], ["a.tar"], ["t/b.png", "t/a.PNG"]):
        assert not Inputs(given, SUFFIXES).alone


def test_a_file_named_like_a_list_or_a_dash_is_given_with_its_folder(tree):
    (tree / "@x.png").touch()
    (tree / "-").touch()
    (entry,) = Inputs(["./@x.png"], SUFFIXES).elements()
    assert entry.path.name == "@x.png"
    (entry,) = Inputs(["./-"], SUFFIXES).elements()
    assert entry.path == tree / "-"
