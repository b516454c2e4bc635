"""Who judges in `taskodec eval`."""

import json
from pathlib import Path

import pytest

from taskodec.cli.judges import read_judges, task_of_method
from taskodec.errors import UsageError
from taskodec.settings.model import TaskSettings

CLS = TaskSettings(name="cls", options={"loss": "outputs"})
BOTH = TaskSettings(name="cls,det", options={"cls": {"loss": "outputs"}, "det": {"loss": "outputs", "weights": "w"}})

TASKS = """
import torch
from taskodec import Task
from taskodec.contracts import MeanEvaluator
from taskodec.tasks.classification_metrics import ClassificationEvaluator


class Base(Task):
    power = 1.0

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return (x_hat - reference).abs().pow(self.power).mean()


class Mean(Base):
    name = "mean"


class Square(Base):
    name = "square"
    power = 2.0

    def __init__(self, wanted=0.0):
        self.wanted = wanted

    def evaluator(self, labels=None):
        def predict(x):
            return torch.stack([x.mean() - self.wanted, x.new_tensor(0.0)])[None]

        return ClassificationEvaluator(predict, labels)


class Silent(Base):
    name = "silent"

    def evaluator(self, labels=None):
        return MeanEvaluator(self, {})


class Broken(Base):
    name = "broken"

    def evaluator(self, labels=None):
        found = super().evaluator(labels)
        found.observe = lambda name, x_hat, x: [].pop()
        return found
"""


def test_a_single_judge_takes_the_place_of_the_task():
    assert read_judges(CLS, (), (), ()).instead is None
    found = read_judges(CLS, ["det"], ["weights=w"], ["boxes.json"])
    assert (found.instead, found.beside) == (TaskSettings(name="det", options={"weights": "w"}), ())
    assert found.labels == Path("boxes.json")
    assert read_judges(CLS, (), ["input.scale=2"], ()).instead == TaskSettings(
        name="cls", options={"input": {"scale": 2}}
    )


def test_judges_with_names_judge_besides():
    found = read_judges(
        CLS,
        ["lite2=cls", "det"],
        ["lite2.network=efficientnet_lite2", "det.input.scale=2", "lite2.input.short=8"],
        ["val.tsv", "det=boxes.json"],
    )
    assert found.instead is None
    assert found.labels == Path("val.tsv")
    lite2, det = found.beside
    assert (lite2.name, lite2.task.name, lite2.labels) == ("lite2", "cls", None)
    assert lite2.task.options == {"loss": "outputs", "network": "efficientnet_lite2", "input": {"short": 8}}
    assert (det.name, det.labels) == ("det", Path("boxes.json"))
    assert det.task.options == {"loss": "outputs", "input": {"scale": 2}}


def test_one_judge_with_a_name_needs_it_nowhere_else():
    found = read_judges(CLS, ["lite2=cls"], ["network=efficientnet_lite2"], ())
    assert found.beside[0].task.options["network"] == "efficientnet_lite2"


def test_a_judge_may_be_several_tasks():
    (judge,) = read_judges(CLS, ["both=cls,det"], ["both.det.weights=w"], ()).beside
    assert judge.task == BOTH


def test_labels_are_of_parts_too():
    assert read_judges(BOTH, (), (), ["cls=a", "det=b"]).labels == {"cls": Path("a"), "det": Path("b")}
    assert read_judges(CLS, (), (), ["cls=a"]).labels == Path("a")


@pytest.mark.parametrize(
    ("judges", "options", "labels", "message"),
    [
        (["a=cls", "a=det"], (), (), "'a' is another judge; name it otherwise, as in --judge other=det"),
        (["cls", "det"], (), (), "'cls' is the task that files are made for; name it otherwise"),
        (["a=cls", "b=det"], ["network=x"], (), "say of which judge, as in a.network=x; judges: a, b"),
        (["lite=cls", "b=det"], ["lita.network=x"], (), "did you mean 'lite'"),
        (["a=cls", "b=cls,cls"], (), (), "--judge b: cls is there twice"),
        (["a=cls", "b=cls,det"], ["b.loss=x"], (), "--judge b: options of 'loss', which is none of the tasks"),
        (["a=cls", "b=det"], (), ["a=x", "a=y"], "--labels a=y: there are others for the same"),
        ((), (), ["x", "y"], "--labels y: there are others for the same"),
        ((), (), ["x", "det=y"], "say whose labels these are, beside those of det"),
    ],
)
def test_what_is_wrong_is_said(judges, options, labels, message):
    with pytest.raises(UsageError, match=message):
        read_judges(CLS, judges, options, labels)


def test_what_methods_are_made_for():
    judges = read_judges(BOTH, ["lite2=cls"], ["network=efficientnet_lite2"], ()).beside
    assert task_of_method("lite2", BOTH, judges).options["network"] == "efficientnet_lite2"
    assert task_of_method("det", BOTH, judges) == TaskSettings(name="det", options={"loss": "outputs", "weights": "w"})
    assert task_of_method("cls", CLS, ()) == CLS
    assert task_of_method("semseg", CLS, ()).options == {"loss": "outputs"}
    assert task_of_method("cls+det", BOTH, judges) == BOTH


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.py"
    path.write_text(TASKS)
    return path


@pytest.fixture
def call(pictures, tasks, tmp_path):
    out = tmp_path / "out"
    fixed = ["eval", "--task", f"{tasks}:Mean", "--data", pictures, "--codec", "tiny", "-o", out, "--jobs", 1]
    return [*fixed, "--set", "ttft.steps=2", "--resamples", 10, "--qualities", "1,2,3,4"]


def test_the_matrix(run, call, tasks, tmp_path):
    judges = ["--judge", f"a={tasks}:Square", "--judge-set", "a.wanted=0.4", "--judge", f"b={tasks}:Square"]
    methods = ["--methods", "original,plain,ttft,ttft=a"]
    code, out, err = run(*call, *methods, *judges)
    assert (code, err) == (0, "")
    for words in (
        "Judged by their losses",
        "Judged by their main figures",
        "mean of unseen",
        "Satisfied machine ratio",
    ):
        assert words in out
    code, out, _ = run(*call, *methods, *judges, "--json")
    found = json.loads(out)["judged"]
    assert found["judges"] == {"mean": ["ttft"], "a": ["ttft=a"], "b": []}
    assert found["baseline"] == "plain"
    losses = {(c["method"], c["judge"]): c for c in found["cells"] if c["metric"] == "task_loss"}
    assert set(losses) == {(method, judge) for method in ("ttft", "ttft=a") for judge in ("mean", "a", "b")}
    assert {key for key, cell in losses.items() if cell["seen"]} == {("ttft", "mean"), ("ttft=a", "a")}
    # the same loss judges alike, whatever it answers
    assert losses["ttft", "a"]["rate"] == losses["ttft", "b"]["rate"]
    assert {c["metric"] for c in found["cells"] if c["judge"] == "a"} == {"task_loss", "agreement"}
    (original,) = [p for p in json.loads(out)["points"] if p["method"] == "original"]
    assert original["figures"]["task_loss"]["value"] == 0
    plain = [one for one in found["satisfied"] if one["method"] == "plain"]
    assert [set(one["judges"]) for one in plain] == [{"a", "b"}] * 4
    assert all(one["every"]["value"] == (one["judges"]["a"] + one["judges"]["b"]) / 2 for one in plain)
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 13
    assert all(set(row["judges"]) == {"a", "b"} for row in rows)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "ttft, for Mean" in report or "ttft, for mean" in report

    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    assert run(*call, *methods, *judges, "--quiet")[0] == 0
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before
    assert run(*call, *methods, *judges, "--judge-set", "b.wanted=0.5", "--images", 1, "--quiet")[0] == 0
    assert (tmp_path / "out" / "rows.jsonl").read_bytes().count(b"\n") == 2 * 13 + 13  # another judge b


def test_judges_that_cannot_judge(run, call, tasks):
    plain = [*call, "--methods", "plain"]
    code, _, err = run(*plain, "--judge", f"a={tasks}:Silent")
    assert code == 2
    assert "judge 'a': the evaluator of task" in err
    assert "has no figure to compare methods by" in err
    code, _, err = run(*plain, "--judge", "a=nosuch")
    assert code == 2
    assert "unknown task 'nosuch'" in err
    code, _, err = run(*plain, "--judge", f"a={tasks}:Broken")
    assert code == 2
    assert "judge 'a' raised IndexError" in err
    code, _, err = run(*plain, "--judge", f"a={tasks}:Square", "--judge", f"a={tasks}:Mean")
    assert code == 2
    assert "another judge" in err


def test_several_tasks_are_judged_part_by_part(run, call, tasks, tmp_path):
    both = ["--task", f"{tasks}:Mean,{tasks}:Square", "--methods", "plain,ttft,ttft=human"]
    code, out, err = run(*call, *both, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    names = ["mean task_loss", "square agreement", "square task_loss", "task_loss"]
    assert list(found["metrics"]) == names
    assert found["judged"]["judges"] == {"mean": ["ttft"], "square": ["ttft"]}
    code, _, err = run(*call, *both, "--labels", "here.tsv")
    assert code == 2
    assert "has several parts: say whose labels these are, mean=here.tsv" in err
