import json

import pytest

TASK = """
from taskodec import Task
from taskodec.contracts import Findings, Found


class Sees(Task):
    name = "sees"

    def __init__(self, what="something"):
        self.what = what

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return (x_hat - reference).square().mean()

    def findings(self, x):
        return Findings([Found(self.what, 0.5, (1, 1, 20, 20))])


def blind(x_hat, x):
    raise RuntimeError("cannot see")
"""


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TASK)
    return path


QUICK = ["--set", "codec=tiny", "--quality", "2", "--steps", "2", "--set", "task.lmbda=100"]


def test_the_command(run, picture, task, tmp_path):
    page = tmp_path / "page.html"
    code, out, err = run("report", picture, "--task", f"{task}:Sees", *QUICK, "-o", page)
    assert (code, err) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert out == f"{page}: a page of {len(text.encode()):,} bytes\n"
    assert "photo.png" in text
    assert "something" in text


def test_judges_and_their_options(run, picture, task, tmp_path):
    page = tmp_path / "page.html"
    call = ["report", picture, "--task", f"{task}:Sees", *QUICK, "-o", page]
    code, _, err = run(*call, "--judge", f"{task}:Sees", "--judge-set", "what=a badger")
    assert (code, err) == (0, "")
    assert "a badger" in page.read_text(encoding="utf-8")
    code, _, err = run(*call, "--judge-set", "what=a stoat", "--force")
    assert (code, err) == (0, "")
    assert "a stoat" in page.read_text(encoding="utf-8")


def test_judges_have_names_as_those_of_eval(run, picture, task, tmp_path):
    page = tmp_path / "page.html"
    call = ["report", picture, "--task", f"{task}:Sees", *QUICK, "-o", page]
    judges = ["--judge", f"left={task}:Sees", "--judge", f"right={task}:Sees", "--judge", "human"]
    code, _, err = run(*call, *judges, "--judge-set", "left.what=a badger", "--judge-set", "right.what=a stoat")
    assert (code, err) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert all(word in text for word in ("a badger", "a stoat", ">left<", ">right<"))
    for wrong, said in (
        (["--judge-set", "what=x"], "say of which judge, as in left.what=x"),
        (["--judge", "left=human"], "'left' is another judge"),
        (["--judge-set", "rihgt.what=x"], "right"),
    ):
        code, _, err = run(*call, *judges, *wrong, "--force")
        assert code == 2
        assert said in err


def test_several_pictures_and_json(run, pictures, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = run("report", pictures, "--task", "human", *QUICK, "-o", page, "--json")
    assert code == 0
    assert json.loads(out) == {"output": str(page), "bytes": page.stat().st_size, "pictures": 2}
    text = page.read_text(encoding="utf-8")
    assert 'href="#p2"' in text


def test_pages_that_are_there(run, picture, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    code, _, err = run("report", picture, "--task", "human", *QUICK, "-o", page)
    assert code == 2
    assert "already there: overwrite with --force" in err
    assert page.read_text() == "mine"
    assert run("report", picture, "--task", "human", *QUICK, "-o", page, "--force", "--quiet")[:2] == (0, "")
    assert page.read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(
    ("output", "problem"),
    [("in", "is a folder: give a file"), ("page.png", "pages are no pictures"), ("no/photo", "")],
)
def test_where_a_page_can_be(run, picture, tmp_path, output, problem):
    code, _, err = run("report", picture, "--task", "human", *QUICK, "--steps", "0", "-o", tmp_path / output)
    assert code == (2 if problem else 0)
    assert problem in err


def test_no_page_over_an_input(run, picture):
    code, _, err = run("report", picture, "--task", "human", *QUICK, "-o", picture, "--force")
    assert code == 2
    assert "is an input" in err


def test_what_is_no_picture_is_left_out(run, picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    page = tmp_path / "page.html"
    code, _, err = run("report", bad, "--task", "human", *QUICK, "-o", page)
    assert code == 1
    assert f"error: {bad}" in err
    assert not page.exists()
    code, _, err = run("report", bad, picture, "--task", "human", *QUICK, "-o", page)
    assert code == 1
    assert "Left out" in page.read_text(encoding="utf-8")


def test_a_task_that_fails_leaves_nothing(run, picture, task, tmp_path):
    page = tmp_path / "page.html"
    code, _, err = run("report", picture, "--task", f"{task}:blind", *QUICK, "-o", page)
    assert code == 1
    assert "cannot see" in err
    assert "Traceback" not in err
    assert not page.exists()


def test_a_name_that_is_markup(run, picture, tmp_path):
    nasty = picture.with_name("<script>alert(1)<&script>.png")
    picture.rename(nasty)
    page = tmp_path / "page.html"
    assert run("report", nasty, "--task", "human", *QUICK, "-o", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_without_the_extra(run, picture, without):
    without("jinja2")
    code, _, err = run("report", picture)
    assert code == 2
    assert "pip install 'taskodec[report]'" in err


def test_a_folder_of_a_run(run, pictures, task, tmp_path):
    folder = tmp_path / "run"
    methods = ["--methods", "original,plain", "--qualities", "1,2", "--jobs", "1", "--resamples", "20"]
    code, _, err = run(
        "eval", "--task", f"{task}:Sees", "--set", "codec=tiny", "--data", pictures, "-o", folder, *methods
    )
    assert code == 0, err
    at_once = (folder / "report.html").read_text(encoding="utf-8")
    page = tmp_path / "later.html"
    code, _, err = run("report", folder, "-o", page)
    assert (code, err) == (0, "")
    assert page.read_text(encoding="utf-8") == at_once
    assert "All 6 rows" in at_once
    assert "rate_task_loss.svg" in at_once
    assert json.loads((folder / "run.json").read_text())["calls"][0]["settings"]["codec"]["name"] == "tiny"
    code, _, err = run("report", folder, "-o", page)
    assert code == 2
    assert "--force" in err


def test_a_run_without_a_summary(run, tmp_path):
    (tmp_path / "rows.jsonl").write_text("")
    code, _, err = run("report", tmp_path, "-o", tmp_path / "page.html")
    assert code == 2
    assert "no summary yet" in err


@pytest.mark.parametrize("name", ["summary.json", "ablation.json", "suite.json", "speed.json", "determinism.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cases": []}', '{"codecs": 3}', "\x00"])
def test_summaries_that_are_none(run, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    code, _, err = run("report", tmp_path, "-o", tmp_path / "page.html")
    if code:
        assert err.startswith("error: ")
        assert not (tmp_path / "page.html").exists()
    else:
        assert (name, content) == ("determinism.json", "")
