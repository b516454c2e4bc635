"""An open-set task: errors weighed by how much a network's features change with them.

taskodec compress PHOTO.jpg --task docs/examples/jacobian.py:Jacobian --quality 2

The distance of features, to second order around the original: the input-dependent squared error of Fernández-Menduiña
et al. (arXiv:2504.02216), whole where they take sketches of it. It has nothing to trick a network with, as it is a
squared error of pixels; far from the original it is not what the network sees.
"""

from pathlib import Path

import torch
from torch import Tensor

import taskodec
from taskodec.plugins.networks.imagenet import load_cls


class Jacobian(taskodec.Task):
    """Mean square of the features' derivative along the error; of each level in units of its variance."""

    name = "jacobian"

    def __init__(self, network: str = "efficientnet_lite0", weights: str | Path | None = None) -> None:
        """`network` and `weights` are those of the task `cls`."""
        self.classifier = load_cls(network, weights, loss="features")

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def loss(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        original = self.classifier.look(reference)
        error = self.classifier.look(x_hat) - original
        _, moved = torch.func.jvp(self.classifier.network.features, (original,), (error,))
        errors = torch.stack([level.square().mean() for level in moved])
        layers = self.classifier.layers or [
            1 / float(level.var()) for level in self.classifier.network.features(original)
        ]
        return (errors * errors.new_tensor(layers)).mean()

    def to(self, device: torch.device) -> "Jacobian":
        self.classifier.to(device)
        return self
