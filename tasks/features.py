"""Tasks of networks: a decoded picture is good if a frozen network sees in it what it sees in the original."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.contracts import Codec, Task
from taskodec.errors import UsageError
from taskodec.evaluators import Evaluator
from taskodec.tasks.classification_metrics import ClassificationEvaluator
from taskodec.tasks.tradeoff import weight_at

__all__ = ["LOSSES", "FeatureNetwork", "FeatureReference", "FeatureTask"]

LOSSES = ("features", "outputs")


class FeatureNetwork(nn.Module, ABC):
    """A network to judge pictures with. It normalises its input itself and takes any size from `min_side`."""

    min_side: int = 32
    """Smaller pictures are padded to this by repeating the right column and the bottom row."""

    @abstractmethod
    def features(self, x: Tensor) -> list[Tensor]:
        """Feature maps of several levels, from an RGB image (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def outputs(self, x: Tensor) -> Tensor:
        """Class scores before the softmax, (B, K), from an RGB image (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class FeatureReference:
    """What is kept of the original: its feature maps, or the logarithms of its class probabilities."""

    features: Sequence[Tensor] = ()
    log_probabilities: Tensor | None = None


class FeatureTask(Task):
    """Agreement of a frozen network on the decoded picture and on the original.

    `loss="features"` is the mean over levels of the mean square error of the feature maps (Park et al. 2025,
    section 4.1 of the CVPR paper), each level times its entry of `layers` if given; `loss="outputs"` is the
    Kullback-Leibler divergence, in nats, of the predicted from the original's class probabilities.
    `lmbdas` maps a codec's own trade-offs to weights of the loss; without it the tuning engine finds one.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        name: str,
        *,
        loss: str = "features",
        layers: Sequence[float] | None = None,
        lmbdas: Mapping[float, float] | None = None,
    ) -> None:
        if loss not in LOSSES:
            raise UsageError(f"task {name!r} has no loss {loss!r}; valid: {', '.join(LOSSES)}")
        self.network = network.eval().requires_grad_(False)
        self.name = name
        self.kind = loss
        self.layers = layers
        self.lmbdas = lmbdas

    @torch.no_grad()
    def prepare(self, x: Tensor) -> FeatureReference:
        x = self._fit(x)
        if self.kind == "outputs":
            return FeatureReference(log_probabilities=self.network.outputs(x).log_softmax(1))
        features = self.network.features(x)
        if self.layers is not None and len(self.layers) != len(features):
            raise UsageError(
                f"task {self.name!r}: {len(self.layers)} weights in `layers`, but the network has "
                f"{len(features)} levels; give one for each"
            )
        return FeatureReference(features)

    def loss(self, x_hat: Tensor, reference: FeatureReference) -> Tensor:
        x_hat = self._fit(x_hat)
        if reference.log_probabilities is not None:
            found = self.network.outputs(x_hat).log_softmax(1)
            return F.kl_div(found, reference.log_probabilities, log_target=True, reduction="batchmean")
        return self._distance(self.network.features(x_hat), reference.features)

    def lmbda(self, codec: Codec, quality: float) -> float | None:
        return weight_at(codec.lmbda(quality), self.lmbdas) if self.lmbdas else None

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """`top1_agreement` with the prediction on the original (0 or 1 for one image) and `feature_distance`."""
        x_hat, x = self._fit(x_hat.clamp(0, 1)), self._fit(x)
        same = self.network.outputs(x_hat).argmax(1) == self.network.outputs(x).argmax(1)
        distance = self._distance(self.network.features(x_hat), self.network.features(x))
        return {"top1_agreement": float(same.float().mean()), "feature_distance": float(distance)}

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        return ClassificationEvaluator(lambda x: self.network.outputs(self._fit(x)), labels)

    def to(self, device: torch.device) -> FeatureTask:
        self.network.to(device)
        return self

    def _distance(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        errors = torch.stack([F.mse_loss(a, b) for a, b in zip(found, wanted, strict=True)])
        return errors.mean() if self.layers is None else (errors * errors.new_tensor(self.layers)).mean()

    def _fit(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) with both sides at least the network's smallest."""
        height, width = x.shape[-2:]
        missing = (0, max(0, self.network.min_side - width), 0, max(0, self.network.min_side - height))
        return F.pad(x, missing, mode="replicate") if any(missing) else x
