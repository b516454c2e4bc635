"""The option `networks`."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from taskodec.contracts import JointTask
from taskodec.errors import UsageError
from taskodec.hooks.handover import build
from taskodec.plugins.networks.several import takes_networks
from taskodec.tasks.classification import Classification
from taskodec.tasks.features import FeatureNetwork


class Small(FeatureNetwork):
    """Two classes of what a convolution sees."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(3, 2, 3)

    def features(self, x):
        return [F.relu(self.conv(x))]

    def outputs(self, x):
        return self.conv(x).mean((2, 3))


@takes_networks("small")
def load(network="one", weights=None, loss="features", layers=None):
    """A loader as those of the built-in tasks."""
    names = {"one": 1, "two": 2, "three": 3}
    if network not in names:
        raise UsageError(f"no network {network!r}")
    return Classification(Small(names[network] + 10 * (weights is not None)), "small", loss=loss, layers=layers)


def test_several_networks_are_a_joint_task(photo):
    task = load(networks=["one", {"network": "two", "share": 3}], loss="outputs")
    assert isinstance(task, JointTask)
    assert task.name == "small"
    assert [(part.label, part.share) for part in task.parts] == [("one", 0.25), ("two", 0.75)]
    assert all(part.task.kind == "outputs" for part in task.parts)
    alone = [load("one", loss="outputs"), load(network="two", loss="outputs")]
    losses = [float(one.loss(0.5 * photo, one.prepare(photo))) for one in alone]
    assert float(task.loss(0.5 * photo, task.prepare(photo))) == pytest.approx(0.25 * losses[0] + 0.75 * losses[1])
    assert "two top1_agreement" in task.metrics(photo, photo)
    assert list(task.evaluator().metrics)[:2] == ["one agreement", "one task_loss"]


def test_one_network_in_a_list_is_that_one():
    assert isinstance(load(networks=["two"]), Classification)


def test_one_network_with_two_files_is_two():
    task = load(networks=["one", {"network": "one", "weights": "other"}])
    assert [part.label for part in task.parts] == ["one", "one (2)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": []}, "expected a list of names, or of entries with share, network, weights, loss, layers"),
        ({"networks": "one"}, "expected a list of names"),
        ({"networks": ["one", 3]}, "has 3: expected a name, or an entry with `network`"),
        ({"networks": [{"share": 2}]}, "expected a name, or an entry with `network`"),
        ({"networks": ["one", "one"]}, "has 'one' twice; name it once"),
        ({"networks": [{"network": "one", "share": 2}, "one"]}, "has 'one' twice"),
        ({"networks": [{"network": "one", "shares": 2}]}, "'one' has 'shares', did you mean 'share'"),
        ({"networks": [{"network": "one", "share": 0}, "two"]}, "the share of one is 0, expected more than 0"),
        ({"networks": [{"network": "one", "share": "2"}, "two"]}, "the share of 'one' is '2', expected a number"),
        ({"networks": ["one", "four"]}, "no network 'four'"),
        ({"networks": ["one", "two"], "network": "one"}, "network is of one network, beside task.options.networks"),
        ({"networks": ["one", "two"], "weights": "w"}, "weights is of one network"),
        ({"networks": ["one", "two"], "wrong": 1}, "options: network, weights, loss, layers, networks"),
    ],
)
def test_what_is_wrong_is_said(options, message):
    with pytest.raises(UsageError, match=message):
        build("task 'small'", load, options)
