"""torchvision's networks for semantic segmentation: DeepLabV3, FCN and LR-ASPP, trained on Pascal VOC's 21 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from taskodec.plugins.networks.imagenet import IMAGENET_MEAN, IMAGENET_STD
from taskodec.plugins.networks.torchvision_models import published_view, torchvision_model
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import AS_IS, Pixels, View

__all__ = ["SEMANTIC", "TorchvisionSemantic", "torchvision_semantic"]

SEMANTIC = (
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "fcn_resnet50",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
)


class TorchvisionSemantic(FeatureNetwork):
    """A segmentation network; its features are those that its heads take."""

    pixels: Pixels

    def __init__(self, model: Any, view: View = AS_IS) -> None:
        super().__init__()
        self.model, self.view = model, view
        self.pixels = Pixels(IMAGENET_MEAN, IMAGENET_STD)

    def features(self, x: Tensor) -> list[Tensor]:
        return list(self.model.backbone(self.pixels(x)).values())

    def outputs(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(self.pixels(x))["out"]
        return scores


def torchvision_semantic(name: str, weights: str | Path | None = None, offline: bool = False) -> TorchvisionSemantic:
    """A network out of `SEMANTIC`. WeightsError if its weights cannot be had."""
    options = {} if name.startswith("lraspp") else {"aux_loss": True}  # the published weights have its head
    model = torchvision_model(name, weights, offline, weights_backbone=None, **options)
    return TorchvisionSemantic(model, published_view(name))
