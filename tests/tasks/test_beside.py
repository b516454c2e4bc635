"""Features that stand beside outputs."""

import pytest
import torch
from torch import nn

from taskodec.errors import UsageError
from taskodec.tasks.classification import Classification
from taskodec.tasks.detection import Detection
from taskodec.tasks.features import FeatureNetwork, FeatureTask


class Boxes(FeatureNetwork):
    """A detector of one stage that counts how often it is asked for its features."""

    min_side = 8

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trunk, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 6, 1)
        self.passes = 0

    def proposals(self, x):
        return None

    def features(self, x):
        self.passes += 1
        return [self.trunk(x)]

    def outputs(self, x, proposals=None):
        return self.both(x)[1]

    def both(self, x):
        features = self.features(x)
        boxes, scores = self.head(features[0]).flatten(2).transpose(1, 2).split([4, 2], -1)
        corner = boxes[..., :2]
        return features, torch.cat([corner, corner + boxes[..., 2:].exp(), (40 * scores).sigmoid()], -1)


class Tiny(FeatureNetwork):
    """Two levels and five classes."""

    def __init__(self, *, no_features=""):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second, self.head = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 6, 3), nn.Linear(6, 5)
        self.no_features = no_features

    def features(self, x):
        first = torch.relu(self.first(x))
        return [first, self.second(first)]

    def outputs(self, x):
        return self.head(self.features(x)[1].mean((2, 3))) * 10


@pytest.fixture
def x():
    return torch.rand(2, 3, 40, 36, generator=torch.Generator().manual_seed(1))


class Measured(Classification):
    """A classifier whose features count in units that are measured."""

    unit = FeatureTask.unit


def losses(x, factor=0.5, **options):
    task = Measured(Tiny(), "tiny", loss="outputs", **options)
    return [float(task.loss(factor * one[None], task.prepare(one[None]))) for one in x]


def test_features_count_by_their_share_in_units_of_the_outputs(x):
    """Of the original with half of its detail both are the same, times the share."""
    one = x[:1]
    small = nn.functional.avg_pool2d(one, 2)
    worse = nn.functional.interpolate(small, one.shape[2:], mode="bilinear", align_corners=False)
    alone, both = (Measured(Tiny(), "tiny", loss="outputs", beside=share) for share in (0, 0.5))
    divergence = float(alone.loss(worse, alone.prepare(one)))
    assert divergence > 0
    assert float(both.loss(worse, both.prepare(one))) == pytest.approx(divergence, rel=1e-4)
    features = Measured(Tiny(), "tiny", loss="features", layers=both.prepare(one).layers)
    share = float(features.loss(0.5 * one, features.prepare(one))) / float(features.loss(worse, features.prepare(one)))
    expected = (float(alone.loss(0.5 * one, alone.prepare(one))) + 0.5 * share * divergence) / 1.5
    assert float(both.loss(0.5 * one, both.prepare(one))) == pytest.approx(expected, rel=1e-4)


def test_the_size_of_features_does_not_matter(x):
    assert losses(x, beside=1, layers=[1, 1]) == pytest.approx(losses(x, beside=1, layers=[100, 100]), rel=1e-4)
    assert losses(x, beside=1) != pytest.approx(losses(x, beside=0), rel=1e-2)


@torch.no_grad()
def test_levels_that_nobody_weighed_count_by_how_much_they_vary(x):
    loud, quiet, one = Tiny(), Tiny(), x[:1]
    loud.features = lambda x: [1000 * quiet.features(x)[0], quiet.features(x)[1]]
    loud.outputs = quiet.outputs
    task = Measured(loud, "tiny", loss="outputs", beside=1)
    reference = task.prepare(one)
    assert float(task.loss(0.5 * one, reference)) == pytest.approx(losses(one, beside=1)[0], rel=1e-4)
    variances = [float(level.flatten(2).var(2, correction=0).mean()) for level in reference.features]
    assert reference.layers == pytest.approx([1 / variance for variance in variances])
    flat = task.prepare(torch.full_like(one, 0.25))
    squares = [float(level.square().mean()) for level in flat.features]
    assert flat.layers == pytest.approx([100 / square for square in squares])


def test_a_view_has_the_unit_of_the_whole_picture(x):
    network = Boxes()
    for kind in (Measured(Tiny(), "tiny", loss="outputs", beside=1), Detection(network, "tiny", loss="outputs")):
        whole = kind.prepare(x[:1])
        passes = network.passes
        view = kind.prepare_like(x[:1].flip(3), whole)
        assert (view.unit, view.layers) == (whole.unit, whole.layers)
        assert not torch.equal(view.features[0], whole.features[0])
        assert network.passes - passes == (1 if kind.network is network else 0)
    alone = Measured(Tiny(), "tiny", loss="outputs", beside=0)
    assert alone.prepare_like(x[:1], alone.prepare(x[:1])).unit == 0


def test_judges_look_at_outputs_alone(x):
    task = Measured(Tiny(), "tiny", loss="outputs", beside=1)
    judge = task.judge()
    assert float(judge.loss(0.5 * x[:1], judge.prepare(x[:1]))) == losses(x[:1], beside=0)[0]
    assert (task.beside, judge.network) == (1, task.network)
    alone = Measured(Tiny(), "tiny", loss="outputs", beside=0)
    assert alone.judge() is alone


def test_several_pictures_at_once_are_as_one_by_one(x):
    task = Measured(Tiny(), "tiny", loss="outputs", beside=0.3)
    references = [task.prepare(one[None]) for one in x]
    assert task.batch_loss(0.5 * x, references).tolist() == pytest.approx(losses(x, beside=0.3), rel=1e-4)


def test_where_there_is_no_detail_outputs_count_alone(x):
    flat = torch.full_like(x[:1], 0.25)
    assert losses(flat, beside=0.5) == pytest.approx([loss / 1.5 for loss in losses(flat, beside=0)], rel=1e-4)
    x_hat = (2 * flat).requires_grad_()
    task = Measured(Tiny(), "tiny", loss="outputs", beside=0.5)
    task.loss(x_hat, task.prepare(flat)).backward()
    assert bool(torch.isfinite(x_hat.grad).all())


def test_classifiers_have_features_beside_in_nats(x):
    task = Classification(Tiny(), "tiny", loss="outputs")
    assert (task.beside, Classification(Tiny(), "tiny", loss="outputs", beside=0).beside) == (5, 0)
    reference, one = task.prepare(x[:1]), x[:1]
    levels = [level.detach() for level in Tiny().features(0.5 * one)]
    errors = [
        float((found - wanted).square().mean() / wanted.flatten(2).var(2, correction=0).mean())
        for found, wanted in zip(levels, reference.features, strict=True)
    ]
    alone = losses(one, beside=0)[0]
    assert float(task.loss(0.5 * one, reference)) == pytest.approx((alone + 5 * sum(errors) / 2) / 6, rel=1e-4)


def test_detectors_have_features_beside_where_the_network_has_some():
    assert Detection(Tiny(), "tiny", loss="outputs").beside == 0.3
    assert Detection(Tiny(), "tiny", loss="outputs", beside=0).beside == 0
    assert Detection(Tiny(), "tiny").beside == 0
    assert Detection(Tiny(no_features="none"), "tiny", loss="outputs").beside == 0


def test_a_detector_of_one_stage_is_asked_once_for_both(x):
    alone, both = (Detection(Boxes(), "tiny", loss="outputs", beside=share) for share in (0, 0.3))
    references = [both.prepare(one[None]) for one in x]
    before = both.network.passes
    together = both.batch_loss(0.5 * x, references)
    assert both.network.passes == before + 1
    one_by_one = [both.loss(0.5 * one[None], own) for one, own in zip(x, references, strict=True)]
    assert both.network.passes == before + 3
    assert together.tolist() == pytest.approx([float(loss) for loss in one_by_one], rel=1e-4)
    features = Detection(Boxes(), "tiny", loss="features")
    for one, own, loss in zip(x, references, together.tolist(), strict=True):
        apart = float(alone.loss(0.5 * one[None], own))
        beside = 0.3 * own.unit * float(features.loss(0.5 * one[None], own))
        assert loss == pytest.approx((apart + beside) / 1.3, rel=1e-4)


@pytest.mark.parametrize("share", [-1, float("nan"), float("inf"), True, "much"])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(UsageError, match=r"'tiny': beside = .*expected a share"):
        Classification(Tiny(), "tiny", loss="outputs", beside=share)


def test_features_stand_beside_outputs_only():
    with pytest.raises(UsageError, match="features stand beside outputs"):
        FeatureTask(Tiny(), "tiny", beside=0.3)
    with pytest.raises(UsageError, match="give their names"):
        Classification(Tiny(no_features="no features: give their names"), "tiny", loss="outputs", beside=0.3)
