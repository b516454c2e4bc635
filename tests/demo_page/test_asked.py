import pytest

from taskodec.demo.asked import Asked, own_tasks
from taskodec.errors import UsageError


def test_what_is_asked_goes_through_a_file(tmp_path):
    asked = Asked("a “name”.png", ("cls", "/x/edges.py:loss"), 0.4)
    asked.write(tmp_path / "asked")
    assert Asked.read(tmp_path / "asked") == asked


def test_files_of_the_command_line(tmp_path, monkeypatch):
    (tmp_path / "edges.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert own_tasks(["cls", "edges.py:loss", f"{tmp_path}/edges.py:loss"]) == {
        "edges.py:loss": f"{tmp_path}/edges.py:loss"
    }
    for wrong, said in [("edges.py", "expected a name"), ("none.py:loss", "there is no file none.py")]:
        with pytest.raises(UsageError, match=said):
            own_tasks([wrong])
    for folder in ("b", "a,b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "edges.py").write_text("")
    with pytest.raises(UsageError, match=r"there is another edges\.py:loss"):
        own_tasks(["edges.py:loss", "b/edges.py:loss"])
    with pytest.raises(UsageError, match="a comma in a path"):
        own_tasks(["a,b/edges.py:loss"])
