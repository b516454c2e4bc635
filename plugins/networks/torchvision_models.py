"""torchvision's networks with their published weights (BSD-3-Clause), found as all weights are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from taskodec.plugins.networks.state_dicts import put_weights, read_weights
from taskodec.plugins.networks.zoo import TORCHVISION
from taskodec.tasks.views import View

__all__ = ["published_view", "torchvision_model"]

COUNTER = "num_batches_tracked"
WITHOUT_EPS = frozenset({"fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"})
"""Networks whose batch norms were frozen, and had no epsilon, when torchvision trained them."""


def torchvision_model(name: str, given: str | Path | None = None, offline: bool = False, **options: Any) -> nn.Module:
    """A network of torchvision with its weights; `options` go to torchvision. WeightsError if they cannot be had."""
    file = TORCHVISION[name].find(given, offline)
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    state = dict(read_weights(file))
    if not any(key.endswith(COUNTER) for key in state):  # frozen batch norms, as torchvision trains them, count nothing
        state.update({key: value for key, value in model.state_dict().items() if key.endswith(COUNTER)})
    put_weights(model, state, file)
    for module in model.modules():
        if name in WITHOUT_EPS and isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return model


def published_view(name: str) -> View:
    """How torchvision shows pictures to a network, by the metadata of its first published weights."""
    (own, *_) = torchvision.models.get_model_weights(name)
    preset: Any = own.transforms()
    crop = getattr(preset, "crop_size", None)
    view = View(short=preset.resize_size[0], crop=None if crop is None else (crop[0], crop[0]))
    return replace(view, interpolation="bicubic") if preset.interpolation.value == "bicubic" else view
