"""Tasks of networks: a decoded picture is good if a frozen network sees in it what it sees in the original."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.contracts import Codec, Task
from taskodec.errors import UsageError
from taskodec.tasks.cropped import for_crops
from taskodec.tasks.feature_units import FeatureReference, halved, level_weights
from taskodec.tasks.tradeoff import weight_at
from taskodec.tasks.views import AS_IS, Pixels, Place, View
from taskodec.tuning.compiling import compile_or_not

__all__ = ["FeatureNetwork", "FeatureTask"]

OWN_SIDE = 1333
"""About the most that networks which scale pictures themselves make of a side."""


class FeatureNetwork(nn.Module, ABC):
    """A network to judge pictures with. It normalises its input itself, and is shown pictures as `view` says."""

    view: View = AS_IS
    """How its owner shows it pictures; with the default, at their own size."""
    pixels: Pixels | None = None
    """The numbers that it takes, if it says; only they can be changed by an option."""
    min_side: int = 32
    """Smaller ones are continued to this at the right and at the bottom, as the view says."""
    stride: int = 1
    """Sides are continued to multiples of this."""
    fixed: tuple[int, int] | None = None
    """The only height and width that it takes, if it takes no others."""
    scales_itself: bool = False
    """Whether it scales what it is shown once more, as its owner does."""
    variances: Sequence[float] | None = None
    """Variance of each level's features within their channels, mean over channels, on photographs; None if unknown."""
    in_coco: Sequence[int] = ()
    """COCO's category of each class that pixels have, 0 for the background; empty where they are Pascal VOC's."""
    no_features: str = ""
    """Why there are no feature maps, and what to do; empty where there are."""

    def unscaled(self) -> None:
        """Take pictures from now on as they are shown; for networks that scale them themselves."""
        self.scales_itself = False

    def free_features(self) -> bool:
        """Have features found at any size, where `fixed` is for the outputs alone; False where it is for both."""
        return False

    @property
    def sees_crops_alike(self) -> bool:
        """Whether it sees the detail of a crop that it sees of it in the whole picture, shown one as the other."""
        looks = self.view
        return not (self.scales_itself or looks.seen or looks.short or looks.scale)

    def shown_scale(self, height: int, width: int) -> float:
        """How much larger pictures of this size are seen than they are; of both sides the geometric mean."""
        place = self.view.place(height, width)
        return math.sqrt(math.prod(place.scaled) / math.prod(place.size))

    @abstractmethod
    def features(self, x: Tensor) -> list[Tensor]:
        """Feature maps of several levels, from an RGB image (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def outputs(self, x: Tensor) -> Tensor:
        """What it says of an RGB image (B, 3, H, W) in [0, 1].

        Of classes, scores before the softmax (B, K), or (B, K, H, W) for each pixel; of objects, as
        `taskodec.tasks.detection.Detector` has it.
        """

    def both(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """`features` and `outputs`; at once where a network makes the one of the other."""
        return self.features(x), self.outputs(x)


class FeatureTask(Task):
    """Agreement of a frozen network on the decoded picture and on the original.

    `loss="features"` is the mean over levels of the mean square error of the feature maps (Park et al. 2025,
    section 4.1 of the CVPR paper), each level times its entry of `layers`. Without `layers` these are one over the
    network's `variances`, so that 1 is an error as large as the features vary, or all 1 where it knows none.
    `loss="outputs"`, for subclasses that define it, is a divergence of what the network says, and beside it, with
    the share `beside` of its weight, the distance of the features. That counts in units of the divergence: what both
    are of the original reduced to half its size and enlarged again says what a unit of it is worth.
    `lmbdas` maps a codec's own trade-offs to weights of the loss; without it the tuning engine finds one.
    Whatever it is asked, the network is shown pictures as its `view` says.
    """

    losses: Sequence[str] = ("features",)
    """What `loss` may be."""
    exact_losses: Sequence[str] = ()
    """Those that bfloat16 is too coarse for."""
    features_beside: float = 0.0
    """The share of the features' distance beside the outputs, where the network has features."""

    def __init__(
        self,
        network: FeatureNetwork,
        name: str,
        *,
        loss: str = "features",
        layers: Sequence[float] | None = None,
        lmbdas: Mapping[float, float] | None = None,
        beside: float | None = None,
    ) -> None:
        if loss not in self.losses:
            raise UsageError(f"task {name!r} has no loss {loss!r}; valid: {', '.join(self.losses)}")
        if loss == "features" and network.no_features:
            raise UsageError(f"task {name!r}: {network.no_features}")
        if layers is None and network.variances is not None:
            layers = [1 / variance for variance in network.variances]
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.name = name
        self.kind = loss
        self.mixed_precision = loss not in self.exact_losses
        self.layers = layers
        self.lmbdas = lmbdas
        self.beside = self._share(beside)

    def _share(self, given: float | None) -> float:
        """Of the features beside the outputs; UsageError for a share that cannot be."""
        if given is None:
            usual = self.kind == "outputs" and not self.network.no_features
            return self.features_beside if usual else 0.0
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
            raise UsageError(
                f"task {self.name!r}: beside = {given!r}, expected a share of features, a number from 0 on"
            )
        if given and self.kind != "outputs":
            raise UsageError(
                f"task {self.name!r}: features stand beside outputs; take loss=outputs, or leave out beside"
            )
        if given and self.network.no_features:
            raise UsageError(f"task {self.name!r}: {self.network.no_features}")
        return float(given)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> FeatureReference:
        x = self.look(x)
        if self.kind == "features":
            return FeatureReference(self._listed(self.network.features(x)), layers=self.layers)
        if not self.beside:
            return FeatureReference(outputs=self.prepare_outputs(x))
        features, outputs = self.prepare_both(x)
        whole = FeatureReference(self._listed(features), outputs, layers=self.layers or level_weights(features))
        return replace(whole, unit=self.unit(x, whole))

    @torch.no_grad()
    def prepare_like(self, x: Tensor, whole: FeatureReference) -> FeatureReference:
        """`prepare`, with the unit and the weights of levels of the whole picture, so that views need not tell them."""
        if not self.beside:
            return self.prepare(x)
        features, outputs = self.prepare_both(self.look(x))
        return replace(whole, features=features, outputs=outputs)

    def unit(self, x: Tensor, whole: FeatureReference) -> float:
        """How far outputs diverge where the distance of features is 1, of what the network sees of an original.

        Measured, of the original reduced to half its size and enlarged again; 0 where that changes no features.
        """
        divergences, found = self.asked(halved(x), [whole.outputs])
        distance = float(self._distance(found, whole))
        return float(divergences.mean()) / distance if distance > 0 else 0.0

    def judge(self) -> FeatureTask:
        """By the outputs alone, where features stand beside them."""
        if not self.beside:
            return self
        found = copy(self)
        found.beside = 0.0
        return found

    def _listed(self, features: list[Tensor]) -> list[Tensor]:
        """Those of the original, as many levels as there are weights; UsageError for others."""
        if self.layers is not None and len(self.layers) != len(features):
            raise UsageError(
                f"task {self.name!r}: {len(self.layers)} weights in `layers`, but the network has "
                f"{len(features)} levels; give one for each"
            )
        return features

    def sees(self, height: int, width: int) -> tuple[int, int] | None:
        if self.network.scales_itself:
            return min(height, OWN_SIDE), min(width, OWN_SIDE)
        place = self.network.view.place(height, width, self.network.stride, self.network.min_side)
        return None if place.scaled == place.size and self.kind == "features" else place.seen

    def for_crops(self, sizes: Sequence[tuple[int, int]]) -> FeatureTask:
        """With `taskodec.tasks.cropped.for_crops` of its network."""
        network = for_crops(self.network, self.kind, sizes)
        if network is self.network:
            return self
        found = copy(self)
        found.network = network
        return found

    @torch.no_grad()
    def seen(self, x: Tensor) -> Tensor | None:
        """Scaled to what the network sees of it, nothing cut off, and back."""
        view = replace(self.network.view, crop=None)
        place = view.place(x.shape[2], x.shape[3])
        if place.scaled[0] >= place.size[0] or place.scaled[1] >= place.size[1]:
            return None
        rows, columns = place.inside
        reduced = view.show(x, place)[..., rows, columns]
        return F.interpolate(reduced, place.size, mode="bicubic", align_corners=False).clamp(0, 1)

    def loss(self, x_hat: Tensor, reference: FeatureReference) -> Tensor:
        x_hat = self.look(x_hat)
        if self.kind == "features":
            return self._distance(self.network.features(x_hat), reference)
        if not self.beside:
            return self.divergence(x_hat, reference.outputs)
        divergences, found = self.asked(x_hat, [reference.outputs])
        distance = self._distance(found, reference)
        return (divergences.mean() + self.beside * reference.unit * distance) / (1 + self.beside)

    def batch_loss(self, x_hat: Tensor, references: Sequence[FeatureReference]) -> Tensor:
        x_hat = self.look(x_hat)
        if self.kind == "features":
            return self._distances(self.network.features(x_hat), references)
        outputs = [reference.outputs for reference in references]
        if not self.beside:
            return self.divergences(x_hat, outputs)
        divergences, found = self.asked(x_hat, outputs)
        units = divergences.new_tensor([reference.unit for reference in references])
        return (divergences + self.beside * units * self._distances(found, references)) / (1 + self.beside)

    def prepare_outputs(self, x: Tensor) -> Any:
        """What `divergence` needs of the original, as the network sees it (B, 3, h, w)."""
        return self.network.outputs(x)

    def prepare_both(self, x: Tensor) -> tuple[list[Tensor], Any]:
        """The features, and `prepare_outputs`; subclasses may ask the network once for both."""
        return self.network.features(x), self.prepare_outputs(x)

    def divergence(self, x_hat: Tensor, reference: Any) -> Tensor:
        """How far what the network says of what it sees, `x_hat`, is from what it says of the original; a scalar."""
        raise NotImplementedError(f"{type(self).__name__} lists the loss 'outputs' and does not define it")

    def divergences(self, x_hat: Tensor, references: Sequence[Any]) -> Tensor:
        """The divergences (B,) of several pictures, one by one where a subclass has nothing better."""
        return torch.stack([self.divergence(one[None], own) for one, own in zip(x_hat, references, strict=True)])

    def asked(self, x_hat: Tensor, references: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
        """The divergences (B,), and the features, of what the network sees; subclasses may ask it once for both."""
        return self.divergences(x_hat, references), self.network.features(x_hat)

    def lmbda(self, codec: Codec, quality: float) -> float | None:
        return weight_at(codec.lmbda(quality), self.lmbdas) if self.lmbdas else None

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """`feature_distance`, the loss of the features, of a network that has some."""
        if self.network.no_features:
            return {}
        found, wanted = (self.network.features(self.look(picture)) for picture in (x_hat.clamp(0, 1), x))
        return {"feature_distance": float(self._distance(found, FeatureReference(wanted, layers=self.layers)))}

    def compile(self) -> FeatureTask:
        for method in ("features", "outputs", "both"):
            setattr(self.network, method, compile_or_not(getattr(self.network, method)))
        return self

    def to(self, device: torch.device) -> FeatureTask:
        self.network.to(device)
        return self

    def _distance(self, found: Sequence[Tensor], wanted: FeatureReference) -> Tensor:
        errors = torch.stack([F.mse_loss(a, b) for a, b in zip(found, wanted.features, strict=True)])
        return errors.mean() if wanted.layers is None else (errors * errors.new_tensor(wanted.layers)).mean()

    def _distances(self, found: Sequence[Tensor], references: Sequence[FeatureReference]) -> Tensor:
        """Of the features of several pictures, (B,)."""
        own = ([level[i : i + 1] for level in found] for i in range(len(references)))
        return torch.stack([self._distance(f, r) for f, r in zip(own, references, strict=True)])

    def place(self, x: Tensor) -> Place:
        """Where pictures (B, 3, H, W) lie in what the network sees of them."""
        height, width = x.shape[-2:]
        return self.network.view.place(height, width, self.network.stride, self.network.min_side)

    def look(self, x: Tensor) -> Tensor:
        """What the network sees of pictures (B, 3, H, W): (B, 3, h, w)."""
        return self.network.view.show(x, self.place(x))
