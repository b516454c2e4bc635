"""An open-set task: errors weighed by how much a network's features change with them.

taskodec compress PHOTO.jpg --task docs/examples/jacobian.py:Jacobian --quality 2

The distance of features, to second order around the original: the input-dependent squared error of Fernández-Menduiña
et al. (arXiv:2504.02216), whole where they take sketches of it. It has nothing to trick a network with, as it is a
squared error of pixels; far from the original it is not what the network sees.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import taskodec


class Jacobian(taskodec.Task):
    """Mean square of the features' derivative along the error; of each level in units of its variance."""

    name = "jacobian"

    def __init__(self, network: str = "efficientnet_lite0", weights: str | Path | None = None) -> None:
        """`network` and `weights` are those of the task `cls`."""
        # the task `cls` itself, for its network and how that is shown pictures
        options = {"network": network, "weights": weights, "loss": "features"}
        settings = taskodec.load_settings(flags={"task.name": "cls", "task.options": options})
        self.classifier: Any = taskodec.Compressor(settings).task

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def loss(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        original = self.classifier.look(reference)
        error = self.classifier.look(x_hat) - original
        levels, moved = torch.func.jvp(self.classifier.network.features, (original,), (error,))
        errors = torch.stack([level.square().mean() for level in moved])
        layers = self.classifier.layers or [1 / float(level.detach().var()) for level in levels]
        return (errors * errors.new_tensor(layers)).mean()

    def to(self, device: torch.device) -> "Jacobian":
        self.classifier.to(device)
        return self
