import pytest
import torch
import torchvision
from torchvision.ops import FrozenBatchNorm2d

from taskodec.errors import WeightsError
from taskodec.plugins.networks.torchvision_models import torchvision_model


@pytest.fixture
def network(monkeypatch, tmp_path):
    """A small network whose batch norms are frozen when torchvision makes it with its weights."""

    def build(name, weights=None, norm=torch.nn.BatchNorm2d):
        assert weights is None
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), norm(4))

    monkeypatch.setattr(torchvision.models, "get_model", build)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        frozen = build("", norm=FrozenBatchNorm2d)
    frozen[1].running_var.copy_(torch.tensor([1e-5, 1e-4, 1, 2]))
    torch.save(frozen.state_dict(), tmp_path / "frozen.pth")
    return frozen, tmp_path / "frozen.pth"


@pytest.mark.parametrize(("name", "eps"), [("retinanet_resnet50_fpn", 0.0), ("fcos_resnet50_fpn", 1e-5)])
def test_frozen_batch_norms_are_as_torchvision_trained_them(network, name, eps):
    frozen, file = network
    frozen[1].eps = eps
    x = torch.rand(1, 3, 4, 4)
    assert torch.allclose(torchvision_model(name, file).eval()(x), frozen(x), rtol=1e-4)


def test_weights_that_are_not_here_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"ssd300_vgg16_coco-b556d3b4\.pth \(SHA-256 b556d3b4"):
        torchvision_model("ssd300_vgg16", offline=True)
