"""The example with DETR, on a small network with random weights; skipped where transformers is not installed."""

import warnings
from pathlib import Path

import pytest
import torch

from taskodec.errors import UsageError, WeightsError
from taskodec.hooks.registry import Registry

FILE = Path(__file__).parents[2] / "docs" / "examples" / "detr.py"


@pytest.fixture
def known():
    found = Registry()
    found.load_plugin_file(FILE)
    return found


@pytest.fixture
def weights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    sizes = {f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in SIZES.items()}
    config = transformers.DetrConfig(backbone_config=backbone, d_model=16, num_queries=10, num_labels=91, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.DetrForObjectDetection(config).save_pretrained(tmp_path / "detr")
    return str(tmp_path / "detr")


SIZES = {"layers": 1, "ffn_dim": 16, "attention_heads": 2}


def test_without_transformers_or_weights_it_says_what_to_do(known, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UsageError, match=r'pip install "transformers>=5"'):
        known.task_from("detr")


@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_not_there(known, weights, tmp_path):
    with pytest.raises(WeightsError, match="cannot be had"):
        known.task_from("detr", weights=str(tmp_path / "none"), offline=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loss", ["features", "outputs"])
def test_the_loss_is_the_papers_and_reaches_the_picture(known, weights, loss):
    task = known.task_from("detr", weights=weights, loss=loss, offline=True)
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-5)
    x_hat = (0.5 * x).requires_grad_()
    found = task.loss(x_hat, reference)
    found.backward()
    assert float(x_hat.grad.abs().sum()) > 0
    if loss == "features":
        (a,), (b,) = task.network.features(x_hat), task.network.features(x)
        assert float(found) == pytest.approx(16 * float(((a - b) ** 2).mean()), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_objects_are_transformers_own(known, weights):
    from torchvision.transforms.functional import normalize
    from transformers import DetrImageProcessor

    network = known.task_from("detr", weights=weights, offline=True).network
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    found = network.detect(x)
    size = {"height": 800, "width": 1200}
    scaled = torch.nn.functional.interpolate(x, (800, 1200), mode="bilinear", antialias=True, align_corners=False)
    with torch.no_grad():
        theirs = network.model(normalize(scaled, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    (wanted,) = DetrImageProcessor(size=size).post_process_object_detection(theirs, 0.0, [(64, 96)])
    order = wanted["scores"].argsort(descending=True)
    assert torch.allclose(found.scores, wanted["scores"][order], atol=1e-5)
    assert torch.allclose(found.boxes, wanted["boxes"][order], atol=1e-3)
    assert torch.equal(found.categories, wanted["labels"][order])
