import pytest
import torch

from taskodec.contracts import Evaluator, Task
from taskodec.errors import TaskError, UsageError
from taskodec.tuning.task_calls import evaluator_of, metrics_of, on_device, prepared, weight_of

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
