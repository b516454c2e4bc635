"""Several tasks as one."""

import math
from pathlib import Path

import pytest
import torch
from joint_losses import dark, joint_of, red

from taskodec.contracts import Evaluator, FunctionTask, JointTask, Part, Task
from taskodec.errors import UsageError


class Reduced(Task):
    """Sees pictures at half of their size."""

    name = "reduced"

    def __init__(self, side, mean=0.0):
        self.side, self.mean = side, mean
        self.moved = self.compiled = 0

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return (x_hat - reference).square().mean()

    def sees(self, height, width):
        return self.side, self.side

    def seen(self, x):
        return x + self.mean

    def compile(self):
        self.compiled += 1
        return self

    def to(self, device):
        self.moved += 1
        return self


def test_the_loss_is_the_weighted_sum_of_the_parts(photo):
    x = photo
    task = joint_of(dark, red, shares=[3, 1])
    x_hat = (x + 0.1).clamp(0, 1)
    loss = task.loss(x_hat, task.prepare(x))
    assert [part.share for part in task.parts] == [0.75, 0.25]
    assert float(loss) == pytest.approx(0.75 * float(dark(x_hat, x)) + 0.25 * float(red(x_hat, x)), rel=1e-6)
    assert task.lmbda(None, 3) == 1


def test_several_pictures_are_each_weighed_as_their_own_reference_says(photo):
    from dataclasses import replace

    task = joint_of(dark, red)
    pictures = torch.cat([photo, photo.flip(3)])
    references = [
        replace(task.prepare(one[None]), weights=weights)
        for one, weights in zip(pictures, [(1, 0), (0, 2)], strict=True)
    ]
    x_hat = pictures * 0.9
    losses = task.batch_loss(x_hat, references)
    assert losses.tolist() == pytest.approx(
        [float(dark(x_hat[:1], pictures[:1])), 2 * float(red(x_hat[1:], pictures[1:]))], rel=1e-6
    )


def test_joint_tasks_within_one_are_taken_apart():
    inner = joint_of(dark, red, shares=[1, 3])
    task = JointTask("outer", [Part("a", inner, 1), Part("b", FunctionTask("b", dark), 1)])
    assert [(part.label, part.share) for part in task.parts] == [("a dark", 0.125), ("a red", 0.375), ("b", 0.5)]


@pytest.mark.parametrize("share", [0, -1, math.nan, math.inf, True])
def test_a_share_is_more_than_zero(share):
    with pytest.raises(UsageError, match=r"the share of dark is .*, expected more than 0"):
        joint_of(dark, red, shares=[share, 1])


def test_parts_are_there_and_there_once():
    with pytest.raises(UsageError, match="has dark twice"):
        joint_of(dark, dark)
    with pytest.raises(UsageError, match="has no parts"):
        JointTask("none", [])


def test_what_is_seen_is_what_any_part_sees(photo):
    far, near = Part("far", Reduced(16, 0.5)), Part("near", Reduced(32, 0.1))
    both = JointTask("both", [far, near])
    assert both.sees(64, 96) == (32, 32)
    assert torch.equal(both.seen(photo), photo + 0.1)
    places = Part("dark", FunctionTask("dark", dark))
    assert JointTask("mixed", [far, places]).sees(64, 96) == (64, 96)
    assert JointTask("mixed", [far, places]).seen(photo) is None
    assert joint_of(dark, red).sees(64, 96) is None


def test_every_part_is_moved_and_compiled():
    parts = [Part("a", Reduced(16)), Part("b", Reduced(16))]
    JointTask("both", parts).compile().to(torch.device("cpu"))
    assert [(part.task.moved, part.task.compiled) for part in parts] == [(1, 1), (1, 1)]


def test_precision_is_that_of_the_least_exact_part():
    mixed = Reduced(16)
    mixed.mixed_precision = True
    assert JointTask("both", [Part("a", Reduced(16)), Part("b", mixed)]).mixed_precision
    assert not joint_of(dark, red).mixed_precision


def test_views_are_those_that_every_part_bears():
    both = [Part("a", Reduced(16)), Part("b", Reduced(16))]
    both[0].task.views, both[1].task.views = ("flip", "noise"), ("noise",)
    assert set(JointTask("both", both).views) == {"noise"}
    assert not joint_of(dark, red).views


def test_figures_have_the_labels_of_parts(photo):
    class Bright(Reduced):
        def metrics(self, x_hat, x):
            return {"mean": float(x_hat.mean())}

    task = JointTask("both", [Part("bright", Bright(16)), Part("dark", FunctionTask("dark", dark))])
    x_hat = photo * 0.5
    assert list(task.metrics(x_hat, photo)) == ["bright task_loss", "bright mean", "dark task_loss"]
    assert task.metrics(x_hat, photo)["dark task_loss"] == 0
    evaluator = task.evaluator()
    assert evaluator.metrics == {"bright task_loss": False, "dark task_loss": False}
    record = evaluator.observe("one", x_hat, photo)
    figures = evaluator.summarise([record, evaluator.observe("two", photo, photo)])
    assert figures["bright task_loss"] == pytest.approx(float((x_hat - photo).square().mean()) / 2)
    assert figures["dark task_loss"] == pytest.approx(float(dark(photo, photo)) / 2)
    assert evaluator.satisfied(record) is None


class Content(Evaluator):
    metrics = {"kept": True}  # noqa: RUF012

    def observe(self, name, x_hat, x):
        return {"kept": bool(x_hat.mean() > 0.2)}

    def summarise(self, records):
        return {"kept": sum(record["kept"] for record in records) / len(records)}

    def satisfied(self, record):
        return record["kept"]


def test_all_parts_must_be_satisfied(photo):
    class Easy(Reduced):
        def evaluator(self, labels=None):
            assert labels in (None, Path("known"))
            return Content()

    both = JointTask("both", [Part("a", Easy(16)), Part("b", Easy(16))])
    evaluator = both.evaluator({"b": Path("known")})
    assert evaluator.satisfied(evaluator.observe("one", photo, photo)) is True
    assert evaluator.satisfied(evaluator.observe("one", 0 * photo, photo)) is False
    assert list(evaluator.metrics) == ["a kept", "a task_loss", "b kept", "b task_loss"]


def test_labels_are_of_a_part():
    with pytest.raises(UsageError, match="say whose labels these are, dark=labels"):
        joint_of(dark, red).evaluator(Path("labels"))
    with pytest.raises(UsageError, match=r"labels of 'blue': .* valid: dark, red"):
        joint_of(dark, red).evaluator({"blue": Path("labels")})
