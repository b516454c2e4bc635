from types import SimpleNamespace

import pytest
import torch
from torch import nn

from taskodec.errors import UsageError
from taskodec.tasks.classification import Classification
from taskodec.tasks.features import FeatureNetwork, FeatureTask
from taskodec.tasks.views import View


class Tiny(FeatureNetwork):
    """Two levels and five classes, with dropout so that training mode would show."""

    min_side = 8

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 6, 3)
            self.head, self.dropout = nn.Linear(6, 5), nn.Dropout(0.5)
        self.passes = 0

    def features(self, x):
        self.passes += 1
        first = self.dropout(torch.relu(self.first(x)))
        return [first, self.second(first)]

    def outputs(self, x):
        return self.head(self.features(x)[1].mean((2, 3))) * 10


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, 11, 9, generator=generator), torch.rand(1, 3, 11, 9, generator=generator)


def test_the_loss_is_the_mean_over_levels_of_the_error_of_the_features(images):
    x_hat, x = images
    task = FeatureTask(Tiny(), "tiny")
    found, wanted = task.network.features(x_hat), task.network.features(x)
    expected = sum(float((a - b).square().mean()) for a, b in zip(found, wanted, strict=True)) / 2
    assert float(task.loss(x_hat, task.prepare(x))) == pytest.approx(expected)


def test_layers_weigh_the_levels(images):
    x_hat, x = images
    losses = []
    for layers in ([1, 0], [0, 1], [2, 3]):
        task = FeatureTask(Tiny(), "tiny", layers=layers)
        losses.append(float(task.loss(x_hat, task.prepare(x))))
    assert losses[2] == pytest.approx(2 * losses[0] + 3 * losses[1])
    with pytest.raises(UsageError, match=r"'tiny': 3 weights.*2 levels"):
        FeatureTask(Tiny(), "tiny", layers=[1, 1, 1]).prepare(x)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (33, 31)])
def test_any_size_gives_zero_at_the_original_and_a_gradient_elsewhere(size):
    task = FeatureTask(Tiny(), "tiny")
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-6)
    x_hat = (x * 0.5).requires_grad_()
    task.loss(x_hat, reference).backward()
    assert float(x_hat.grad.abs().sum()) > 0


def test_the_network_is_frozen_and_sees_the_original_once(images):
    x_hat, x = images
    task = FeatureTask(Tiny().train().requires_grad_(True), "tiny")
    assert not task.network.training
    assert not any(p.requires_grad for p in task.network.parameters())
    reference = task.prepare(x.requires_grad_())
    assert not any(f.requires_grad for f in reference.features)
    for _ in range(3):
        task.loss(x_hat, reference)
    assert task.network.passes == 4


def test_metrics_are_the_loss_of_the_features(images):
    x_hat, x = images
    task = FeatureTask(Tiny(), "tiny")
    assert task.metrics(x, x) == {"feature_distance": 0}
    assert task.metrics(x_hat, x)["feature_distance"] == pytest.approx(float(task.loss(x_hat, task.prepare(x))))


def test_levels_are_weighed_by_the_variances_that_a_network_knows():
    network = Tiny()
    network.variances = (0.5, 4.0)
    assert FeatureTask(network, "tiny").layers == [2, 0.25]
    assert FeatureTask(network, "tiny", layers=[1, 1]).layers == [1, 1]


def test_the_weight_follows_the_table_or_is_left_to_the_engine():
    codec = SimpleNamespace(lmbda=lambda quality: 0.01)
    assert FeatureTask(Tiny(), "tiny", lmbdas={0.001: 1.0, 0.01: 7.0}).lmbda(codec, 2) == pytest.approx(7)
    assert FeatureTask(Tiny(), "tiny").lmbda(codec, 2) is None


def test_an_unknown_loss_says_what_is_valid():
    with pytest.raises(UsageError, match=r"no loss 'outputs'; valid: features"):
        FeatureTask(Tiny(), "tiny", loss="outputs")


@pytest.mark.parametrize("kind", [FeatureTask, Classification])
def test_the_loss_of_several_pictures_takes_one_pass(images, kind):
    options = {"loss": "outputs", "beside": 0} if kind is Classification else {}
    task = kind(Tiny(), "tiny", **options)
    references = [task.prepare(x) for x in images]
    swapped = torch.cat(images[::-1])
    alone = [float(task.loss(x[None], own)) for x, own in zip(swapped, references, strict=True)]
    task.network.passes = 0
    assert task.batch_loss(swapped, references).tolist() == pytest.approx(alone, rel=1e-3)
    assert task.network.passes == 1


def shown(**view):
    network = Tiny()
    network.view = View(**view)
    return FeatureTask(network, "tiny")


def test_the_engine_is_told_what_the_network_sees():
    assert FeatureTask(Tiny(), "tiny").sees(100, 300) is None
    assert Classification(Tiny(), "tiny", loss="outputs").sees(100, 300) == (100, 300)
    assert shown(short=20, crop=(16, 16)).sees(100, 300) == (16, 16)
    assert shown(short=20).sees(100, 300) == (20, 60)


def test_a_picture_without_what_the_network_cannot_see_looks_the_same_to_it():
    generator = torch.Generator().manual_seed(3)
    coarse = nn.functional.interpolate(torch.rand(1, 3, 6, 9, generator=generator), (80, 120), mode="bicubic").clamp(
        0, 1
    )
    x = (coarse + 0.2 * torch.rand(coarse.shape, generator=generator)).clamp(0, 1)
    task = shown(short=20, crop=(16, 16))
    seen = task.seen(x)
    assert seen.shape == x.shape
    assert float((task.look(seen) - task.look(x)).abs().mean()) < 0.02
    assert float(seen.diff(dim=-1).abs().mean()) < 0.5 * float(x.diff(dim=-1).abs().mean())
    sides = (seen[..., :10] - coarse[..., :10]).abs().mean()
    assert float(sides) < 0.15  # what is cut off is kept too
    assert task.seen(x[..., :20, :30]) is None
    assert FeatureTask(Tiny(), "tiny").seen(x) is None
