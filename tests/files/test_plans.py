import io
import sys
from pathlib import Path

import pytest

from taskodec.errors import UsageError
from taskodec.files.atomic import IMAGE_SUFFIXES
from taskodec.files.inputs import STANDARD
from taskodec.files.plans import Job, expand, how_to_go_on, make_folder, plan, settle
from taskodec.images.sets import list_images
from taskodec.pixels.whole import flaw
from taskodec.stream.bitstream import Header, Stream

SUFFIXES = frozenset({".png"})
WHOLE = Stream(Header("lite", b"abcd", 2, 2, 3), b"payload").to_bytes()


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, io.StringIO())


def planned(inputs, output):
    return plan([Path(path) for path in inputs], output, ".tkd", suffixes=SUFFIXES)


def test_standard_input_and_output_take_the_place_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").mkdir()  # a folder of that name changes nothing
    assert planned(["-"], "-") == [Job(STANDARD, STANDARD)]
    assert planned(["-"], "a.tkd") == [Job(STANDARD, Path("a.tkd"))]
    assert planned(["a.png"], "-") == [Job(Path("a.png"), STANDARD)]
    assert planned(["a.png"], "./-") == [Job(Path("a.png"), tmp_path / "-" / "a.tkd")]
    make_folder(Job(STANDARD, STANDARD))


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["-", "-"], "out/", "can be read once"),
        (["-", "a.png"], "out/", "has no name for its output"),
        (["-"], None, "has no name for its output"),
        (["-"], "out/", "has no name for its output"),
        (["a.png", "b.png"], "-", "takes the result of one file"),
        (["FOLDER"], "-", "takes the result of one file"),
    ],
)
def test_what_they_cannot_be_is_refused(tmp_path, inputs, output, message):
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=message):
        planned([tmp_path if path == "FOLDER" else path for path in inputs], output)


@pytest.mark.parametrize(("name", "inputs", "output"), [("stdin", ["-"], "-"), ("stdout", ["a.png"], "-")])
def test_a_terminal_gives_and_takes_no_bytes(monkeypatch, name, inputs, output):
    monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    with pytest.raises(UsageError, match="which is a terminal here"):
        planned(inputs, output)


def jobs_in(folder, *names):
    return [Job(folder / f"{name}.png", folder / f"{name}.tkd") for name in names]


def test_existing_outputs_are_refused_replaced_or_kept(tmp_path):
    whole, cut, new, standard = *jobs_in(tmp_path, "whole", "cut", "new"), Job(STANDARD, STANDARD)
    jobs = [whole, cut, new, standard]
    whole.target.write_bytes(WHOLE)
    cut.target.write_bytes(WHOLE[:-1])
    with pytest.raises(UsageError, match=r"whole\.tkd, .*cut\.tkd already there: .*--force.*--skip-existing"):
        settle(jobs, flaw, force=False, skip_existing=False)
    assert settle(jobs, flaw, force=True, skip_existing=False).todo == jobs
    found = settle(jobs, flaw, force=False, skip_existing=True)
    assert (found.todo, found.kept) == ([cut, new, standard], [whole])
    (note,) = found.notes
    assert note.startswith(f"{cut.target} is not whole (the CRC32 does not fit")
    with pytest.raises(UsageError, match="give one of them"):
        settle(jobs, flaw, force=True, skip_existing=True)


def test_what_a_killed_run_has_left_is_removed_and_never_kept(tmp_path):
    leftover = tmp_path / f".{'0' * 32}.tmp"
    leftover.write_bytes(WHOLE)
    (job,) = jobs_in(tmp_path, "a")
    settle([job], flaw, force=True, skip_existing=False)
    assert leftover.exists()
    assert settle([job], flaw, force=False, skip_existing=True).todo == [job]
    assert not leftover.exists()


TAKEN = ("a.JPG", "b.png", "c.avif", "d.jp2", "e.mpo", "f.pgm")
LEFT_OUT = ("._a.JPG", ".b.png", "Thumbs.db", "desktop.ini", "notes.txt", "g.eps", "h.pdf", "i.tkd", "png", ".png")


@pytest.fixture
def folder(tmp_path):
    """What file managers leave in folders of photographs."""
    for name in (*TAKEN, *LEFT_OUT):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "j.png").mkdir()
    return tmp_path


def test_hidden_files_and_other_files_of_a_folder_are_left_out(folder):
    assert [path.name for path in expand(folder, IMAGE_SUFFIXES)] == list(TAKEN)
    assert [path.name for path in list_images([folder])] == list(TAKEN)
    jobs = plan([folder], None, ".tkd", suffixes=IMAGE_SUFFIXES)
    assert [job.source.name for job in jobs] == list(TAKEN)


def test_a_hidden_file_that_is_named_is_tried(folder):
    assert expand(folder / "._a.JPG", IMAGE_SUFFIXES) == [folder / "._a.JPG"]
    assert list_images([folder / "._a.JPG"]) == [folder / "._a.JPG"]


def test_a_folder_of_hidden_files_holds_none(tmp_path):
    (tmp_path / "._a.png").write_bytes(b"")
    with pytest.raises(UsageError, match="holds no file of type"):
        expand(tmp_path, IMAGE_SUFFIXES)


def test_how_to_go_on_is_said_where_it_is_so():
    assert how_to_go_on(True, force=False, skip_existing=False).endswith("with --skip-existing makes the rest")
    assert how_to_go_on(True, force=False, skip_existing=True) == "; the same call goes on"
    assert how_to_go_on(True, force=True, skip_existing=False) == ""  # what is there may be of another call
    assert how_to_go_on(False, force=False, skip_existing=False) == ""


@pytest.mark.parametrize("force", [True, False])
def test_what_no_file_can_replace_is_refused_before_any_work(tmp_path, force):
    (tmp_path / "a.tkd").mkdir()
    for target in (tmp_path / "a.tkd", Path("/dev/null"), Path("/dev/stdout")):
        if not target.is_file():
            with pytest.raises(UsageError, match=r"no regular file; give a file, or -o -"):
                settle([Job(tmp_path / "a.png", target)], flaw, force=force, skip_existing=not force)
