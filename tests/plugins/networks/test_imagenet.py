import hashlib
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms.functional import center_crop, normalize

from taskodec.errors import UsageError, WeightsError
from taskodec.hooks.registry import default_registry
from taskodec.images.tensors import load_image
from taskodec.plugins.networks import imagenet
from taskodec.plugins.networks.imagenet import IMAGENET_MEAN, IMAGENET_STD, LITES, load_cls, load_network
from taskodec.plugins.networks.state_dicts import read_weights

IMAGES = Path(__file__).parents[3] / "docs" / "images"


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    """Random weights of a ResNet-18, as a checkpoint of data-parallel training stores them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.resnet18(weights=None).state_dict()
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    return path


@pytest.fixture(scope="module")
def cls():
    return default_registry().task_from("cls")


def test_the_packaged_weights_are_the_ones_that_are_named():
    found = LITES["efficientnet_lite0"]
    assert hashlib.sha256(found.find(offline=True).read_bytes()).hexdigest() == found.sha256


def test_larger_lites_read_the_names_of_their_packages_in_timms_order(tmp_path):
    model = timm.create_model("tf_efficientnet_lite1", pretrained=False)
    state = {"_conv_stem.weight" if i == 0 else f"_{i}": v for i, v in enumerate(model.state_dict().values())}
    torch.save(state, tmp_path / "lite1.pth")
    loaded = load_network("efficientnet_lite1", tmp_path / "lite1.pth").model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())
    with pytest.raises(WeightsError, match=r"lite1\.pth"):
        load_network("efficientnet_lite2", tmp_path / "lite1.pth")


@pytest.mark.parametrize(("file", "label"), [("kodim23.png", 88), ("kodim20.png", 895)])  # macaws, a warplane
def test_the_default_network_recognises_what_is_in_a_photograph(cls, file, label):
    x = center_crop(load_image(IMAGES / file).x, 224)
    with torch.no_grad():
        found = cls.network.outputs(x).softmax(1)[0]
    assert int(found.argmax()) == label
    assert float(found[label]) > 0.5


def test_a_change_that_hides_the_object_costs_more_than_one_of_the_same_size_that_does_not(cls):
    x = center_crop(load_image(IMAGES / "kodim23.png").x, 224)
    brighter = (x * 0.9 + 0.1).clamp(0, 1)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    noisy = (x + noise * (brighter - x).square().mean().sqrt()).clamp(0, 1)
    reference = cls.prepare(x)
    with torch.no_grad():
        assert float(cls.loss(x, reference)) == 0
        assert float(cls.loss(noisy, reference)) > 2 * float(cls.loss(brighter, reference)) > 0
    assert cls.metrics(brighter, x)["top1_agreement"] == 1


def test_by_default_no_level_outweighs_the_others(cls):
    x = load_image(IMAGES / "kodim20.png").x[..., 100:356, 200:456]
    with torch.no_grad():
        levels = zip(cls.layers, cls.network.features(x), strict=True)
        spreads = [weight * float(level.var((0, 2, 3)).mean()) for weight, level in levels]
    assert all(0.3 < spread < 3 for spread in spreads), spreads
    assert load_cls(layers=[1, 2, 3, 4]).layers == [1, 2, 3, 4]


def test_features_have_four_levels_and_lead_to_the_outputs(cls):
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    network = cls.network
    with torch.no_grad():
        features = network.features(x)
        head = network.model.forward_head(network.model.bn2(network.model.conv_head(features[-1])))
        assert torch.allclose(head, network.outputs(x), atol=1e-5)
    assert [f.shape[-2:] for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", ["lite0", "resnet18", "timm"])
def test_both_are_features_and_outputs_of_one_pass(cls, resnet_file, tmp_path, name):
    if name == "timm":
        save_file(timm.create_model("levit_128s", pretrained=False).state_dict(), tmp_path / "net.safetensors")
        network = load_network("timm:levit_128s", tmp_path / "net.safetensors").eval()
    else:
        network = cls.network if name == "lite0" else load_network("resnet18", resnet_file).eval()
    side = 224 if name == "timm" else 64
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, outputs = network.both(x)
        assert torch.allclose(outputs, network.outputs(x), atol=1e-5)
        assert all(torch.equal(a, b) for a, b in zip(features, network.features(x), strict=True))


def test_the_weight_of_outputs_is_the_same_with_features_beside():
    weights = [load_cls(loss="outputs", beside=share).lmbdas for share in (0, 5)]
    assert weights[1] == pytest.approx({level: 6 * weight for level, weight in weights[0].items()})
    assert load_cls(loss="outputs").lmbdas == weights[1]
    assert load_cls(loss="features").lmbdas == load_cls().lmbdas


@pytest.mark.parametrize("size", [(1, 1), (37, 51)])
def test_a_loss_of_any_size_reaches_the_picture(cls, size):
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    x_hat = (0.9 * x).requires_grad_()
    cls.loss(x_hat, cls.prepare(x)).backward()
    assert bool(torch.isfinite(x_hat.grad).all())
    assert float(x_hat.grad.abs().sum()) > 0


def test_a_resnet_is_torchvisions_with_imagenet_normalisation(resnet_file):
    network = load_network("resnet18", resnet_file).eval()
    plain = torchvision.models.resnet18(weights=None).eval()
    plain.load_state_dict(read_weights(resnet_file))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = plain(normalize(x, IMAGENET_MEAN, IMAGENET_STD))
        features = network.features(x)
        assert torch.allclose(network.outputs(x), expected, atol=1e-5)
        assert torch.allclose(plain.fc(features[-1].mean((2, 3))), expected, atol=1e-5)
    assert [f.shape[1] for f in features] == [64, 128, 256, 512]


def test_a_timm_classifier_takes_a_local_file_of_safetensors(tmp_path):
    model = timm.create_model("mobilenetv3_small_050", pretrained=False)
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    network = load_network("timm:mobilenetv3_small_050", tmp_path / "net.safetensors").eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network.outputs(x), model.eval()(normalize(x, IMAGENET_MEAN, IMAGENET_STD)), atol=1e-5)
        assert len(network.features(x)) == 4


def test_the_papers_weights_belong_to_resnet50_alone(monkeypatch):
    monkeypatch.setattr(imagenet, "load_network", lambda *args: imagenet.ResNet(torch.nn.Identity()))
    assert load_cls("resnet50").lmbdas == {0.0018: 0.9, 0.0035: 1.7, 0.0067: 3.3, 0.013: 6.0}
    assert load_cls("resnet18").lmbdas is None
    assert load_cls("resnet50", loss="outputs").lmbdas is None


def test_without_internet_the_error_says_what_to_put_where(monkeypatch, tmp_path, capsys):
    def fail(*args, **kwargs):
        raise URLError("no internet here")

    monkeypatch.setattr("taskodec.files.downloads.urlopen", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_network("resnet50")
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in str(caught.value)
    assert f"put the file resnet50-0676ba61.pth (SHA-256 0676ba61…) into {tmp_path / 'hub' / 'checkpoints'}" in str(
        caught.value
    )
    assert "weights=PATH" in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("offline", [False, True])
def test_timm_without_internet_names_the_source(monkeypatch, offline):
    create = timm.create_model

    def unreachable(name, pretrained):
        if pretrained:
            raise OSError("no internet here")
        return create(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(WeightsError, match=r"timm:mobilenetv3_small_050 .*huggingface.co/timm/.*weights=PATH"):
        load_network("timm:mobilenetv3_small_050", offline=offline)


def test_timm_takes_what_hugging_face_has_cached(monkeypatch, tmp_path):
    model = timm.create_model("mobilenetv3_small_050", pretrained=False)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *asked: str(tmp_path / "model.safetensors"))
    network = load_network("timm:mobilenetv3_small_050", offline=True)
    assert torch.equal(network.model.conv_stem.weight, model.conv_stem.weight)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg", "no network 'vgg'; valid: efficientnet_lite0"),
        ("timm:resnet5O", "no model 'resnet5O', did you mean"),
    ],
)
def test_a_network_that_cannot_be_used_says_why(name, message):
    with pytest.raises(UsageError, match=message):
        load_network(name)


def test_weights_of_another_network_name_the_file(resnet_file):
    with pytest.raises(WeightsError, match=r"resnet18\.pth does not fit EfficientNet"):
        load_network("efficientnet_lite0", resnet_file)
