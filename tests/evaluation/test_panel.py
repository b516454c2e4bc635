"""Judges, and who was seen."""

import pytest
import torch
from joint_losses import dark, joint_of, red
from torch import nn

from taskodec.contracts import FunctionTask, JointTask, Part
from taskodec.errors import TaskError, UsageError
from taskodec.evaluation.panel import Judge, Panel, eyes
from taskodec.hooks.registry import Registry
from taskodec.settings.model import TaskSettings
from taskodec.tasks.human import Human


class Networked(FunctionTask):
    def __init__(self, name, seed):
        super().__init__(name, red)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Conv2d(3, 2, 3)


def test_a_network_is_known_by_its_weights():
    assert eyes(Networked("a", 0)) == eyes(Networked("b", 0))
    assert eyes(Networked("a", 0)) != eyes(Networked("a", 1))
    both = JointTask("both", [Part("a", Networked("a", 0)), Part("b", Networked("b", 1))])
    assert eyes(both) == eyes(Networked("a", 0)) | eyes(Networked("a", 1))


def test_a_loss_is_known_by_where_it_is_written():
    assert eyes(FunctionTask("dark", dark)) == eyes(FunctionTask("dark", dark))
    assert not eyes(FunctionTask("dark", dark)) & eyes(FunctionTask("dark", red))
    assert eyes(Human()) != eyes(Human("ms-ssim"))
    assert eyes(joint_of(dark, red)) == eyes(FunctionTask("dark", dark)) | eyes(FunctionTask("red", red))


@pytest.fixture
def registry():
    found = Registry()
    found.load_builtins()
    return found


def panel_of(registry, **tasks):
    return Panel(
        [Judge(name, TaskSettings(name="human", options={"metric": name})) for name in tasks],
        registry,
        lambda chosen: tasks[chosen.options["metric"]],
    )


def test_what_rows_keep(registry, photo):
    panel = panel_of(registry, one=FunctionTask("dark", dark), two=FunctionTask("red", red))
    views = panel.views("a.png", 0.5 * photo, photo, panel.references(photo))
    assert views["one"]["task_loss"] == pytest.approx(0)
    assert views["two"]["task_loss"] == pytest.approx(float(red(0.5 * photo, photo)))
    assert views["two"]["record"] == {"task_loss": views["two"]["task_loss"]}
    assert panel_of(registry).views("a.png", photo, photo, {}) is None
    assert set(panel.versions()) == {"one", "two"}


def test_who_files_are_made_for(registry):
    task = joint_of(dark, red)
    panel = panel_of(registry, same=FunctionTask("dark", dark), other=Networked("a", 0))
    evaluator = task.evaluator()
    sent_for = {"ttft": task, "ttft=other": Networked("b", 0)}
    found = {
        judge.name: (set(judge.made_for), judge.part, judge.judge) for judge in panel.judged(task, evaluator, sent_for)
    }
    assert found == {
        "dark": ({"ttft"}, "dark", None),
        "red": ({"ttft"}, "red", None),
        "same": ({"ttft"}, None, "same"),
        "other": ({"ttft=other"}, None, "other"),
    }


def test_a_judge_is_named_in_errors(registry, photo):
    def wrong(x_hat, x):
        return [].pop()

    panel = panel_of(registry, bad=FunctionTask("wrong", wrong))
    with pytest.raises(TaskError, match="task 'wrong': its loss raised IndexError"):
        panel.views("a.png", photo, photo, panel.references(photo))

    class Silent(FunctionTask):
        def evaluator(self, labels=None):
            found = super().evaluator(labels)
            found.metrics = {}
            return found

    with pytest.raises(UsageError, match=r"judge 'bad': .* has no figure to compare methods by"):
        panel_of(registry, bad=Silent("silent", dark))
