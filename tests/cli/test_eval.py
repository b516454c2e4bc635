import json
import shutil

import pytest

TASK = """
from taskodec import Task
from taskodec.contracts import MeanEvaluator


def loss(x_hat, x):
    return (x_hat - x).abs().mean()


class Sharp(Task):
    name = "sharp"

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return (x_hat - reference).square().mean()

    def metrics(self, x_hat, x):
        return {"closeness": 1 - float((x_hat - x).abs().mean())}

    def evaluator(self, labels=None):
        return MeanEvaluator(self, {"closeness": True})
"""


JUDGE = """
import torch
from taskodec import Task
from taskodec.tasks.classification_metrics import ClassificationEvaluator


class Flat(Task):
    name = "flat"

    def prepare(self, x):
        return x.mean()

    def loss(self, x_hat, reference):
        return (x_hat.mean() - reference).square()

    def evaluator(self, labels=None):
        return ClassificationEvaluator(lambda x: torch.arange(9.0, 0.0, -1.0)[None], labels)
"""


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TASK)
    return path


def test_the_command(run, pictures, task, tmp_path):
    out_dir = tmp_path / "out"
    call = ["eval", "--task", f"{task}:Sharp", "--data", pictures, "--codec", "tiny", "-o", out_dir, "--jobs", 1]
    call += ["--methods", "original,plain,ttft:quick,jpeg", "--set", "ttft.steps=2", "--resamples", 20]
    code, out, err = run(*call)
    assert (code, err) == (0, "")
    for words in ("sharp over 2 images", "closeness", "task_loss (low is good)", "Against anchors", "original"):
        assert words in out
    plots = {f"rate_{metric}.{kind}" for metric in ("closeness", "task_loss") for kind in ("png", "svg")}
    assert {p.name for p in out_dir.iterdir()} == {
        "rows.jsonl",
        "summary.json",
        "report.md",
        "report.html",
        "run.json",
        *plots,
    }
    assert "# Evaluation of sharp" in (out_dir / "report.md").read_text()

    lines = (out_dir / "rows.jsonl").read_bytes()
    assert lines.count(b"\n") == 2 * (1 + 4 + 4 + 10)
    code, out, _ = run(*call, "--json")
    report = json.loads(out)
    assert code == 0
    assert report == json.loads((out_dir / "summary.json").read_text())
    assert list(report["metrics"].items()) == [("closeness", True), ("task_loss", False)]
    assert (report["images"], report["resamples"], len(report["points"])) == (2, 20, 19)
    assert {(c["method"], c["anchor"]) for c in report["comparisons"]} == {
        ("ttft:quick", "plain"),
        ("jpeg", "plain"),
        ("plain", "jpeg"),
        ("ttft:quick", "jpeg"),
    }
    assert (out_dir / "rows.jsonl").read_bytes() == lines

    code, out, _ = run(*call, "--images", 1, "--quiet")
    assert (code, out) == (0, "")
    assert json.loads((out_dir / "summary.json").read_text())["images"] == 1
    assert (out_dir / "rows.jsonl").read_bytes() == lines


def test_report_only_sums_up_whole_images(run, pictures, task, tmp_path):
    out_dir = tmp_path / "out"
    call = ["eval", "--task", f"{task}:loss", "--data", pictures, "--codec", "tiny", "-o", out_dir, "--jobs", 1]
    call += ["--methods", "plain", "--qualities", "1,2", "--resamples", 0]
    code, _, err = run(*call, "--report-only")
    assert (code, "measure first" in err) == (2, True)
    assert run(*call)[0] == 0
    rows = out_dir / "rows.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:3]))
    code, out, _ = run(*call, "--report-only")
    assert (code, "loss over 1 image" in out, "1 images left out" in out) == (0, True, True)
    assert len(rows.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "FOLDER", "--methods", "plane"], "did you mean 'plain'"),
        (["--data", "FOLDER", "--methods", "pretrained"], "no adapter that was trained for codec 'tiny'"),
        (["--data", "FOLDER", "--methods", "plain", "--qualities", "9"], "quality 9 does not exist"),
        (["--data", "FOLDER", "--methods", "plain", "--qualities", "x"], "expected numbers"),
        (["--data", "FOLDER", "--methods", "plain", "--labels", "no.tsv"], "judged without labels"),
        (["--data", "FOLDER", "--methods", "ttft@no.safetensors"], "no.safetensors: cannot be read"),
        (["--data", "FOLDER", "--methods", "plain", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["--data", "FOLDER", "--data", "FOLDER", "--methods", "plain"], "rename"),
        (["--data", "nowhere.png", "--methods", "plain"], "nowhere.png"),
        (["--methods", "plain"], "Missing option"),
    ],
)
def test_wrong_calls_say_why_and_exit_with_2(arguments, words, run, pictures, task, tmp_path):
    given = [pictures if a == "FOLDER" else a for a in arguments]
    code, _, err = run("eval", "--task", f"{task}:loss", "--codec", "tiny", *given, "-o", tmp_path / "out")
    assert words in " ".join(err.split())
    assert code == 2
    assert not list(tmp_path.glob("out/*"))


def test_a_task_that_fails_is_one_line(run, picture, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def loss(x_hat, x):\n    return 1 / 0\n")
    call = ["--data", picture, "--codec", "tiny", "--methods", "plain", "--jobs", 1, "-o", tmp_path / "out"]
    code, _, err = run("eval", "--task", f"{path}:loss", *call)
    assert code == 2
    assert "plain, quality 1" in err
    assert "photo.png: task 'loss': its loss raised ZeroDivisionError" in err
    assert len(err.splitlines()) == 1


def test_a_data_set_in_folders_framed_and_chosen(run, picture, tmp_path):
    """As ImageNet comes: a folder for each class, names in a list, short side and middle; labels are the folders."""
    for i, name in enumerate(("n01440764", "n01443537", "n01484850")):
        (tmp_path / "val" / name).mkdir(parents=True)
        shutil.copy(picture, tmp_path / "val" / name / f"{i}{picture.suffix}")
    (tmp_path / "list.txt").write_text("2\n0\n")
    (tmp_path / "judge.py").write_text(JUDGE)
    call = ["eval", "--task", f"{tmp_path / 'judge.py'}:Flat", "--data", tmp_path / "val", "--labels", tmp_path / "val"]
    call += ["--only", tmp_path / "list.txt", "--codec", "tiny", "--jobs", 1, "--resamples", 0, "-o", tmp_path / "out"]
    call += ["--methods", "plain", "--qualities", "1", "--set", "data.resize=32", "--set", "data.center_crop=24"]
    assert run(*call)[::2] == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [(row["image"][0], row["record"]["label"]) for row in rows] == [("0", 0), ("2", 2)]
    assert {(row["width"], row["height"]) for row in rows} == {(24, 24)}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["points"][0]["figures"]["top1"]["value"] == 0.5
    call[-1] = "data.center_crop=16"
    assert run(*call)[0] == 0  # other pictures: no row holds
    assert len((tmp_path / "out" / "rows.jsonl").read_text().splitlines()) == 4


def test_data_that_is_not_there_says_what_to_give(run, task, tmp_path):
    code, _, err = run("eval", "--task", f"{task}:Sharp", "--data", tmp_path / "no" / "val", "-o", tmp_path / "out")
    assert code == 2
    assert "does not exist; give image files, folders of images, or COCO's JSON" in err


@pytest.mark.filterwarnings("ignore:LPIPS is left out")
def test_another_task_may_judge(run, pictures, task, tmp_path):
    """Pictures, rates and the loss are those of the task they are sent for; the records are the judge's."""
    call = ["eval", "--task", f"{task}:Sharp", "--data", pictures, "--codec", "tiny", "--jobs", 1, "--images", 1]
    call += ["--methods", "plain,ttft", "--qualities", "2", "--set", "ttft.steps=3", "--resamples", 0, "--quiet"]

    def rows(name, *more):
        assert run(*call, "-o", tmp_path / name, *more)[0] == 0
        lines = (tmp_path / name / "rows.jsonl").read_text().splitlines()
        return {row["method"]: row for row in map(json.loads, lines)}

    own, other = rows("own"), rows("other", "--judge", "human", "--judge-set", "metric=mse")
    assert list(own) == list(other) == ["plain", "ttft"]
    for name, row in own.items():
        assert (row["bytes"], row["task_loss"]) == (other[name]["bytes"], other[name]["task_loss"])
        assert row["settings"] != other[name]["settings"]
        assert "closeness" in row["record"]
        assert "psnr" in other[name]["record"]
    again = rows("again", "--judge", "human", "--judge-set", "metric=ms-ssim")
    assert again["plain"]["settings"] != other["plain"]["settings"]


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_without_methods_what_has_no_adapter_is_left_out_at_once(run, picture, task, tmp_path, monkeypatch):
    """The note comes before any way to send a picture is made; the same call again measures nothing."""
    call = ["eval", "--task", f"{task}:loss", "--data", picture, "--codec", "tiny", "-o", tmp_path / "out", "--jobs", 1]
    call += ["--quality", "2", "--steps", "1", "--preset", "latents", "--resamples", 0]
    code, _, err = run(*call)
    assert code == 0
    assert err.startswith("note: pretrained is left out: there is no adapter that was trained for codec 'tiny'")
    assert len(err.splitlines()) == 1
    assert [row["method"] for row in rows_of(tmp_path / "out")] == ["original", "plain", "ttft"]
    monkeypatch.setattr("taskodec.evaluation.lab.Compressor.compress", None)
    assert run(*call)[0] == 0
    monkeypatch.setattr("taskodec.evaluation.lab.Compressor", None)
    code, _, err = run(*call, "--methods", "plain,pretrained")
    assert code == 2
    assert "error: method 'pretrained': there is no adapter that was trained for codec 'tiny' and task 'loss'" in err
    assert "pretrained@FILE.safetensors" in err


def test_options_of_tuning_are_those_of_compress(run, picture, task, tmp_path):
    call = [
        "eval",
        "--task",
        f"{task}:loss",
        "--data",
        picture,
        "--codec",
        "tiny",
        "--jobs",
        1,
        "--methods",
        "plain,ttft",
    ]
    call += ["--resamples", 0, "--quiet", "-o", tmp_path / "out"]
    assert run(*call, "-q", "3", "--steps", "2", "--preset", "latents", "--seed", "5", "--time-budget", "1000")[0] == 0
    rows = {row["method"]: row for row in rows_of(tmp_path / "out")}
    assert {name: (row["quality"], row["steps"]) for name, row in rows.items()} == {"plain": (3, 0), "ttft": (3, 2)}
    code, _, err = run(*call, "--quality", "3", "--qualities", "1,2")
    assert (code, "give it or --qualities" in err) == (2, True)
    code, _, err = run(*call, "--steps", "-1")
    assert (code, "ttft.steps = -1 (from argument steps)" in err) == (2, True)


def test_a_stop_says_what_there_is(run, picture, task, tmp_path, monkeypatch):
    call = ["eval", "--task", f"{task}:loss", "--data", picture, "--codec", "tiny", "--methods", "plain", "-q", "1"]
    call += ["--jobs", 1, "--resamples", 0, "-o", tmp_path / "out"]

    def stop(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("taskodec.evaluation.lab.Lab.jobs", stop)
        assert run(*call) == (130, "", "stopped; nothing was measured yet\n")
    monkeypatch.setattr("taskodec.evaluation.summary.summarise", stop)
    rows = tmp_path / "out" / "rows.jsonl"
    assert run(*call) == (130, "", f"stopped; {rows} has what was measured, the same call goes on\n")
