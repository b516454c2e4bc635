import pytest

from taskodec.errors import UsageError
from taskodec.files.atomic import IMAGE_SUFFIXES
from taskodec.files.plans import expand, plan
from taskodec.images.sets import list_images

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
