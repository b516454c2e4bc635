import math

import pytest
import torch

from taskodec.contracts import Evaluator, Findings, Found, FunctionTask, JointTask, Part, Task
from taskodec.errors import TaskError, UsageError
from taskodec.tuning.task_calls import (
    evaluator_of,
    findings_of,
    judge_of,
    metrics_of,
    on_device,
    prepared,
    prepared_like,
    weight_of,
)

X = torch.zeros(1, 3, 4, 4)
CPU = torch.device("cpu")


class Mine(Task):
    name = "mine"

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return x_hat.mean()


class Judge(Evaluator):
    def __init__(self, metrics):
        self.metrics = metrics

    def observe(self, name, x_hat, x):
        return {}

    def summarise(self, records):
        return {}


def task_with(method, value):
    """A task with a method that gives this, or raises it."""

    def give(self, *arguments):
        if isinstance(value, BaseException):
            raise value
        return value

    return type("Other", (Mine,), {method: give})()


CALLS = {
    "prepare": lambda task: prepared(task, X),
    "prepare_like": lambda task: prepared_like(task, X, X),
    "judge": judge_of,
    "lmbda": lambda task: weight_of(task, None, 3.0),
    "metrics": lambda task: metrics_of(task, X, X),
    "evaluator": lambda task: evaluator_of(task, None),
    "to": lambda task: on_device(task, CPU),
}


@pytest.mark.parametrize("method", CALLS)
def test_whatever_a_method_raises_names_the_task(method):
    for error in (AttributeError("no x"), SystemExit(3)):
        with pytest.raises(
            TaskError, match=rf"^task 'mine': its {method} raised {type(error).__name__}.*\(test_task_ca"
        ):
            CALLS[method](task_with(method, error))
    with pytest.raises(UsageError, match="on purpose"):
        CALLS[method](task_with(method, UsageError("on purpose")))


@pytest.mark.parametrize(
    ("method", "value", "words"),
    [
        ("lmbda", "1", "lmbda is '1', expected None or a number from 0 on"),
        ("lmbda", -1.0, "lmbda is -1.0"),
        ("judge", None, "its `judge` returns None; return a task"),
        ("lmbda", float("nan"), "lmbda is nan"),
        ("lmbda", True, "lmbda is True"),
        ("lmbda", [1], "its lmbda raised TypeError"),
        ("metrics", None, "metrics are None, expected numbers by name"),
        ("metrics", {1: 2.0}, "metrics are {1: 2.0}"),
        ("metrics", {"a": "b"}, "its metrics raised ValueError"),
        ("evaluator", None, "its evaluator is None, expected a taskodec Evaluator"),
        ("evaluator", Judge(["ap"]), r"its evaluator has the metrics \['ap'\]"),
        ("evaluator", Judge({"ap": "up"}), "whether more is better"),
        ("to", None, "its `to` returns None; return the task itself"),
    ],
)
def test_what_methods_cannot_give(method, value, words):
    with pytest.raises(TaskError, match=f"^task 'mine': .*{words}"):
        CALLS[method](task_with(method, value))


def test_what_they_may_give():
    task = Mine()
    assert prepared(task, X) is X
    assert weight_of(task, None, 3.0) is None
    assert weight_of(task_with("lmbda", torch.tensor(2.0)), None, 3.0) == 2.0
    assert metrics_of(task_with("metrics", {"a": torch.tensor(0.5)}), X, X) == {"a": 0.5}
    assert evaluator_of(task_with("evaluator", Judge({"ap": True})), None).metrics == {"ap": True}
    assert on_device(task, CPU) is task


def test_a_task_without_a_name():
    class Nameless(Mine):
        name = None

    with pytest.raises(TaskError, match="Nameless has the name None; a Task needs a `name`"):
        on_device(Nameless(), CPU)


def boxed(**changes):
    return Findings([Found("a", **changes)])


@pytest.mark.parametrize(
    ("findings", "problem"),
    [
        (3, "`findings` gives 3, expected `taskodec.contracts.Findings`"),
        (Findings(["bird"]), "'bird' among what it found"),
        (boxed(box=(1, 2, 3)), "'a' with a box that is not x1, y1, x2, y2"),
        (boxed(outline=[(1, 2, 3)]), "or an outline that is not of points"),
        (boxed(box=(0, 0, math.nan, 1)), "a place or score that is not finite"),
        (boxed(score=math.inf), "a place or score that is not finite"),
        (boxed(mask=torch.ones(2, 2)), r"a mask of \(2, 2\), expected the picture's \(4, 6\)"),
        (Findings(classes=torch.zeros(4, 6)), "classes of torch.float32, expected integers"),
        (Findings(classes=-torch.ones(4, 6, dtype=torch.long)), "expected integers from 0 on"),
        (Findings(classes=[1]), "classes that are"),
        (Findings(heat=torch.zeros(1, 4, 6)), "heat that are"),
        (Findings(heat=torch.full((4, 6), math.nan)), "a heat that is not finite"),
    ],
)
def test_findings_that_cannot_be_drawn(findings, problem):
    class Finds(FunctionTask):
        def findings(self, x):
            return findings

    with pytest.raises(TaskError, match=f"task 'finds'.*{problem}"):
        findings_of(Finds("finds", lambda x_hat, x: x_hat.mean()), torch.zeros(1, 3, 4, 6))


def test_findings_are_those_of_the_task():
    found = Findings([Found("a", 0.5, (0, 0, 1, 1), mask=torch.ones(4, 6, dtype=torch.bool))], heat=torch.zeros(1, 1))

    class Finds(FunctionTask):
        def findings(self, x):
            assert not torch.is_grad_enabled()
            return found

    assert findings_of(Finds("finds", lambda x_hat, x: x_hat.mean()), torch.zeros(1, 3, 4, 6)) is found
    assert findings_of(FunctionTask("mean", lambda x_hat, x: x_hat.mean()), torch.zeros(1, 3, 4, 6)) is None


def test_a_view_is_prepared_as_the_task_says_and_left_as_it_is():
    whole = 2 * X
    assert torch.equal(prepared_like(Mine(), X, whole), X)
    kept = type("Kept", (Mine,), {"prepare_like": lambda self, x, whole: (x, whole)})()
    assert prepared_like(kept, X, whole)[1] is whole
    joint = JointTask("both", [Part("kept", kept), Part("mine", Mine())])
    reference = prepared_like(joint, X, joint.reference([whole, whole]))
    assert reference.parts[0][1] is whole
    assert torch.equal(reference.parts[1], X)
    spoiling = type("Spoiling", (Mine,), {"prepare_like": lambda self, x, whole: x.add_(1)})()
    with pytest.raises(TaskError, match="`prepare_like` changes the picture in place"):
        prepared_like(spoiling, X.clone(), whole)


def test_parts_judge_each_for_itself():
    strict = type("Strict", (Mine,), {"judge": lambda self: judges})()
    judges = Mine()
    judge = judge_of(JointTask("both", [Part("strict", strict, 3.0), Part("mine", Mine())]))
    assert (judge.parts[0].task, judge.parts[0].share, judge.name) == (judges, 0.75, "both")
