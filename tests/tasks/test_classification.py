import pytest
import torch
from torch import nn

from taskodec.errors import UsageError
from taskodec.tasks.classification import Classification
from taskodec.tasks.features import FeatureNetwork


class Tiny(FeatureNetwork):
    """One level and five classes."""

    min_side = 8

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.head = nn.Conv2d(3, 6, 5, 2), nn.Linear(6, 5)

    def features(self, x):
        return [torch.relu(self.first(x))]

    def outputs(self, x):
        return self.head(self.features(x)[0].mean((2, 3))) * 10


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, 11, 9, generator=generator), torch.rand(1, 3, 11, 9, generator=generator)


def test_outputs_are_compared_by_their_divergence(images):
    x_hat, x = images
    task = Classification(Tiny(), "tiny", loss="outputs", beside=0)
    p, q = (task.network.outputs(v).softmax(1) for v in (x, x_hat))
    expected = float((p * (p / q).log()).sum())
    assert expected > 0
    assert float(task.loss(x_hat, task.prepare(x))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 40)])
def test_any_size_gives_zero_at_the_original_and_a_gradient_elsewhere(size):
    task = Classification(Tiny(), "tiny", loss="outputs")
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-6)
    x_hat = (x * 0.5).requires_grad_()
    task.loss(x_hat, reference).backward()
    assert float(x_hat.grad.abs().sum()) > 0


def test_metrics_compare_the_predictions(images):
    task = Classification(Tiny(), "tiny")
    task.network.outputs = lambda x: torch.stack([x.mean((1, 2, 3)), torch.full((len(x),), 0.5)], 1)  # bright or dark
    bright, dark = images[0] * 0.1 + 0.6, images[0] * 0.1
    assert task.metrics(bright, bright) == {"top1_agreement": 1.0, "feature_distance": 0.0}
    found = task.metrics(dark, bright)
    assert found["top1_agreement"] == 0
    assert found["feature_distance"] == pytest.approx(float(task.loss(dark, task.prepare(bright))))


def test_an_unknown_loss_says_what_is_valid():
    with pytest.raises(UsageError, match=r"no loss 'labels'.*features, outputs"):
        Classification(Tiny(), "tiny", loss="labels")


def test_it_is_judged_by_labels_and_by_its_own_predictions(images, tmp_path):
    (tmp_path / "labels.tsv").write_text("a.png\t3\n")
    task = Classification(Tiny(), "tiny")
    small = images[0][..., :4, :4]  # below the network's smallest size
    judge = task.evaluator(tmp_path / "labels.tsv")
    record = judge.observe("a.png", small, small)
    assert record["found"] == record["original"] == task.network.outputs(task.look(small))[0].topk(5).indices.tolist()
    assert judge.summarise([record])["top1"] == (record["found"][0] == 3)
    assert list(task.evaluator().metrics) == ["agreement"]
