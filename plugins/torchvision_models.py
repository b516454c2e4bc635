"""torchvision's networks with their published weights (BSD-3-Clause), found as all weights are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from taskodec.plugins.state_dicts import put_weights, read_weights
from taskodec.plugins.weight_files import WeightsFile

__all__ = ["published_weights", "torchvision_model"]

COUNTER = "num_batches_tracked"
WITHOUT_EPS = frozenset({"fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"})
"""Networks whose batch norms were frozen, and had no epsilon, when torchvision trained them."""


def published_weights(name: str) -> WeightsFile:
    """The first weights that torchvision published for a network, those that papers use."""
    first = next(iter(torchvision.models.get_model_weights(name)))
    return WeightsFile(name, first.url, sha256=Path(first.url).stem.rpartition("-")[2])


def torchvision_model(name: str, given: str | Path | None = None, offline: bool = False, **options: Any) -> nn.Module:
    """A network of torchvision with its weights; `options` go to torchvision. WeightsError if they cannot be had."""
    file = published_weights(name).find(given, offline)
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    state = dict(read_weights(file))
    if not any(key.endswith(COUNTER) for key in state):  # frozen batch norms, as torchvision trains them, count nothing
        state.update({key: value for key, value in model.state_dict().items() if key.endswith(COUNTER)})
    put_weights(model, state, file)
    for module in model.modules():
        if name in WITHOUT_EPS and isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return model
