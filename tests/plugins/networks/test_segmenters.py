import pytest
import torch
import torchvision
from torchvision.transforms.functional import normalize

from taskodec.errors import UsageError, WeightsError
from taskodec.hooks.registry import default_registry
from taskodec.plugins.networks.imagenet import IMAGENET_MEAN, IMAGENET_STD
from taskodec.plugins.networks.segmenters import load_semantic, load_semseg
from taskodec.plugins.networks.torchvision_semantic import SEMANTIC


@pytest.fixture(scope="module")
def lraspp_file(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.save(model.state_dict(), path)
    return path


def test_the_network_is_torchvisions_with_imagenet_normalisation(lraspp_file):
    network = load_semantic("lraspp_mobilenet_v3_large", lraspp_file).eval()
    x = torch.rand(1, 3, 40, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.model(normalize(x, IMAGENET_MEAN, IMAGENET_STD))["out"]
        assert torch.allclose(network.outputs(x), expected, atol=1e-5)
        assert expected.shape == (1, 21, 40, 64)
        assert [f.shape[1] for f in network.features(x)] == [40, 960]


@pytest.mark.parametrize("loss", ["features", "outputs"])
def test_the_task_takes_any_size(lraspp_file, loss):
    task = default_registry().task_from("semseg", network="lraspp_mobilenet_v3_large", weights=lraspp_file, loss=loss)
    x = torch.rand(1, 3, 21, 40, generator=torch.Generator().manual_seed(0))
    x_hat = (0.5 * x).requires_grad_()
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-6)
    task.loss(x_hat, reference).backward()
    assert bool(torch.isfinite(x_hat.grad).all())
    assert task.classes(x).shape == (1, 21, 40)


def test_deeplab_is_built_with_the_head_that_its_weights_have(monkeypatch):
    made = {}

    def build(name, weights, offline, **options):
        made.update(options)
        return torch.nn.Identity()

    monkeypatch.setattr("taskodec.plugins.networks.torchvision_semantic.torchvision_model", build)
    load_semantic("deeplabv3_resnet50")
    assert made == {"weights_backbone": None, "aux_loss": True}


def test_names_are_torchvisions_and_others_are_refused(monkeypatch, tmp_path):
    assert set(SEMANTIC) == set(torchvision.models.list_models(module=torchvision.models.segmentation))
    with pytest.raises(UsageError, match=r"no network 'fcn_resnet5O', did you mean .*valid: .*onnx:FILE"):
        load_semantic("fcn_resnet5O")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"lraspp_mobilenet_v3_large-d234d4ea\.pth"):
        load_semseg("lraspp_mobilenet_v3_large", offline=True)
    with pytest.raises(WeightsError, match=r"espnetv2_s_1\.0_pascal_384x384\.pth"):
        load_semseg(offline=True)


def test_labels_may_be_cocos_or_the_networks(lraspp_file):
    tasks = [load_semseg("lraspp_mobilenet_v3_large", lraspp_file, label_ids=ids) for ids in ("network", "coco")]
    own, coco = (task.evaluator() for task in tasks)
    assert (own.table[18].item(), coco.table[18].item()) == (18, 12)  # a dog
