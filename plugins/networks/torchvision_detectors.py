"""torchvision's detectors, trained on COCO: of one stage (RetinaNet, FCOS, SSD) and of two (Faster and Mask R-CNN)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FCOS, MaskRCNN
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from taskodec.plugins.networks.torchvision_models import torchvision_model
from taskodec.tasks.detection import Detector, MaskDetector
from taskodec.tasks.detections import Detections

__all__ = ["DETECTORS", "MASK_DETECTORS", "OneStage", "TwoStage", "TwoStageMasks", "torchvision_detector"]

MASK_DETECTORS = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")
DETECTORS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
    *MASK_DETECTORS,
)

PLACES = 200
"""How many proposals of the original the loss on outputs looks at, those most like objects."""


def torchvision_detector(name: str, weights: str | Path | None = None, offline: bool = False) -> Detector:
    """A detector out of `DETECTORS`. WeightsError if its weights cannot be had."""
    model: Any = torchvision_model(name, weights, offline, weights_backbone=None)
    if isinstance(model, MaskRCNN):
        return TwoStageMasks(model)
    return TwoStage(model) if hasattr(model, "roi_heads") else OneStage(model)


class _Scaled(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Scales every picture by one factor, instead of to a size of the network's choice."""

    def __init__(self, other: GeneralizedRCNNTransform, scale: float) -> None:
        super().__init__(other.min_size, other.max_size, other.image_mean, other.image_std, other.size_divisible)
        self.scale = scale

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, None]:
        height, width = (max(1, round(side * self.scale)) for side in image.shape[1:])
        resized = torch.nn.functional.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)
        return resized[0], None


class _Torchvision(Detector):
    """What one and two stages share: features are those that the head takes, in torchvision's order.

    The model scales pictures itself, as torchvision publishes it, without smoothing what it reduces.
    """

    min_side = 1
    scales_itself = True
    feature_scale: float | None = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def unscaled(self) -> None:
        self.model.transform = _Scaled(self.model.transform, 1.0)
        super().unscaled()

    @property
    def sees_crops_alike(self) -> bool:
        return self.feature_scale is not None or super().sees_crops_alike

    def shown_scale(self, height: int, width: int) -> float:
        own = self.model.transform
        if not self.scales_itself:
            return super().shown_scale(height, width)
        if own.fixed_size is not None:
            return math.sqrt(math.prod(own.fixed_size) / (height * width))
        return float(min(own.min_size[-1] / min(height, width), own.max_size / max(height, width)))

    def features(self, x: Tensor) -> list[Tensor]:
        own = self.model.transform
        transform = own if self.feature_scale is None else _Scaled(own, self.feature_scale)
        return list(self.model.backbone(transform(list(x))[0].tensors).values())

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        found = self.model([x[0]])[0]
        masks = found["masks"][:, 0] >= 0.5 if "masks" in found else None  # (N, H, W)
        return Detections(found["boxes"], found["scores"], found["labels"], masks)

    def _see(self, x: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """The normalised and scaled pictures, and the backbone's features of them by name."""
        images, _ = self.model.transform(list(x))
        return images, self.model.backbone(images.tensors)


class OneStage(_Torchvision):
    """RetinaNet, FCOS or SSD."""

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        images, features = self._see(x)
        levels = list(features.values())
        found = self.model.head(levels)
        anchors = self.model.anchor_generator(images, levels)
        decode = self.model.box_coder.decode if isinstance(self.model, FCOS) else self.model.box_coder.decode_single
        boxes = torch.stack([decode(b, a) for b, a in zip(found["bbox_regression"], anchors, strict=True)])
        return torch.cat([boxes * _back(x, images), self._probabilities(found)], -1)

    def _probabilities(self, found: dict[str, Tensor]) -> Tensor:
        """(B, A, K), without SSD's background."""
        if isinstance(self.model, SSD):
            return found["cls_logits"].softmax(-1)[..., 1:]
        probabilities = found["cls_logits"].sigmoid()
        if isinstance(self.model, FCOS):
            return (probabilities * found["bbox_ctrness"].sigmoid() + 1e-12).sqrt()  # no slope at zero otherwise
        return probabilities


class TwoStage(_Torchvision):
    """Faster R-CNN. A proposal is a box in pixels of the network, and the category that it is most like (A, 5)."""

    def proposals(self, x: Tensor) -> Tensor:
        images, features = self._see(x)
        boxes: Tensor = self.model.rpn(images, features)[0][0]
        _, scores = self._boxes_and_scores(images, features, boxes)
        certain, categories = scores[:, 1:].max(1)
        best = certain.topk(min(PLACES, len(certain))).indices
        return torch.cat([boxes, (categories + 1)[:, None]], 1)[best]

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        images, features = self._see(x)
        places = self.proposals(x) if proposals is None else proposals
        return self._outputs(x, images, features, places)

    def _outputs(self, x: Tensor, images: Any, features: dict[str, Tensor], places: Tensor) -> Tensor:
        all_boxes, scores = self._boxes_and_scores(images, features, places[:, :4])
        boxes = all_boxes[torch.arange(len(places), device=x.device), places[:, 4].long()]  # (A, 4)
        return torch.cat([boxes * _back(x, images), scores[:, 1:]], 1)[None]

    def _boxes_and_scores(self, images: Any, features: dict[str, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """A box for every category (A, K, 4), and probabilities (A, K), both with the background first."""
        heads = self.model.roi_heads
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, [boxes], images.image_sizes)))
        return heads.box_coder.decode(deltas, [boxes]), logits.softmax(1)


class TwoStageMasks(TwoStage, MaskDetector):
    """Mask R-CNN."""

    def outputs_and_masks(self, x: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        images, features = self._see(x)
        heads = self.model.roi_heads
        pooled = heads.mask_roi_pool(features, [proposals[:, :4]], images.image_sizes)
        logits = heads.mask_predictor(heads.mask_head(pooled))  # (A, K, 28, 28)
        chosen = logits[torch.arange(len(proposals), device=x.device), proposals[:, 4].long()]
        return self._outputs(x, images, features, proposals), chosen.sigmoid()


def _back(x: Tensor, images: Any) -> Tensor:
    """Factors from the network's pixels to the picture's, for x1, y1, x2, y2."""
    height, width = images.image_sizes[0]
    return x.new_tensor([x.shape[3] / width, x.shape[2] / height] * 2)
