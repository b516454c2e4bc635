"""Losses of other tasks beside a task's own figures."""

import pytest
import torch

from taskodec.contracts import Evaluator
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError
from taskodec.evaluation.judge_losses import JudgeLosses


class Counting(Evaluator):
    labels_version = "seven"

    def __init__(self):
        self.metrics = {"names": True}

    def observe(self, name, x_hat, x):
        return {"length": len(name)}

    def summarise(self, records):
        return {"names": float(sum(record["length"] for record in records))}


def darker(x_hat, x):
    return (x_hat - x).mean().abs()


def squares(x_hat, x):
    return (x_hat - x).square().mean()


@pytest.fixture
def judges():
    return JudgeLosses(Counting(), {"dark": FunctionTask("a", darker), "square": FunctionTask("b", squares)})


def test_figures_are_the_evaluators_and_a_mean_loss_of_each_judge(judges):
    x = torch.full((1, 3, 8, 8), 0.5)
    records = [judges.observe("ab", x + offset, x) for offset in (0.1, -0.3)]
    assert list(judges.metrics.items()) == [("names", True), ("by dark", False), ("by square", False)]
    assert judges.labels_version == "seven"
    found = judges.summarise([*records, records[1]])
    assert found == {
        "names": 6,
        "by dark": pytest.approx((0.1 + 0.3 + 0.3) / 3),
        "by square": pytest.approx((0.01 + 0.09 + 0.09) / 3),
    }


def test_what_is_kept_of_an_original_is_that_of_this_one(judges):
    for level in (0.2, 0.6, 0.2):
        x = torch.full((1, 3, 8, 8), level)
        assert judges.observe("a", x, x)["judges"] == {"dark": 0, "square": 0}


def test_a_judge_that_is_wrong_is_named():
    judges = JudgeLosses(Counting(), {"none": FunctionTask("broken", lambda x_hat, x: x_hat.mean() / 0)})
    x = torch.ones(1, 3, 8, 8)
    with pytest.raises(TaskError, match="task 'broken'"):
        judges.observe("a", x, x)
