"""Detectors of detectron2 (Apache-2.0, weights CC BY-SA 3.0), by their configuration, where it is installed.

A configuration is a name of detectron2's model zoo, such as `COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml`, a file, or
`POINTREND`, which is Mask R-CNN with another mask head (Kirillov et al. 2020, arXiv:1912.08193).
detectron2 gives no hashes of its weights.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.errors import UsageError
from taskodec.files.inputs import expand_home
from taskodec.plugins.networks.zoo import DETECTRON2, MODEL_ZOO, detectron2_file
from taskodec.tasks.detection import Detector, MaskDetector
from taskodec.tasks.detections import Detections

__all__ = ["POINTREND", "Detectron2", "Detectron2Masks", "detectron2_detector"]

POINTREND = "PointRend/InstanceSegmentation/pointrend_rcnn_R_50_FPN_3x_coco.yaml"
POINTREND_CHANGES = {
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": True,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "",
    "MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead",
    "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": True,
}
"""What PointRend's configuration has otherwise than Mask R-CNN's; detectron2 installs no file of it."""

PLACES = 200
"""How many proposals of the original the loss on outputs looks at, those most like objects."""


def detectron2_detector(config: str, weights: str | Path | None = None, offline: bool = False) -> Detector:
    """A detector by its configuration. UsageError without detectron2, WeightsError if its weights cannot be had."""
    _keep_quiet()
    try:
        import detectron2.model_zoo  # noqa: F401, which needs more than the others
        from detectron2.modeling import build_model

        from taskodec.plugins.networks.detectron2_weights import put_detectron2_weights
    except ImportError as error:
        raise UsageError(
            f"network detectron2:{config} needs detectron2 ({error}); it is built from its source, and needs "
            "setuptools<81: https://detectron2.readthedocs.io/en/latest/tutorials/install.html"
        ) from error
    settings = _settings(config)
    model: Any = build_model(settings)
    if not hasattr(model, "preprocess_image"):
        raise UsageError(f"network detectron2:{config} is a {type(model).__name__}, which finds no objects")
    url = _url(config, settings)
    file = detectron2_file(config, url).find(weights or (url if Path(url).is_file() else None), offline)
    put_detectron2_weights(model, file)
    return Detectron2Masks(model, settings) if settings.MODEL.MASK_ON else Detectron2(model, settings)


@cache
def _keep_quiet() -> None:
    """What is said of detectron2's older calls is for its developers."""
    warnings.filterwarnings("ignore", "pkg_resources is deprecated|torch.meshgrid: in an upcoming release")
    logging.getLogger("torch.fx._symbolic_trace").addFilter(lambda record: "is_fx_tracing" not in record.getMessage())


def _settings(config: str) -> Any:
    from detectron2 import model_zoo
    from detectron2.config import get_cfg

    if config.endswith(".py"):
        raise UsageError(f"network detectron2:{config}: a configuration in Python is not read, one in YAML is")
    settings = get_cfg()
    try:
        from detectron2.projects.point_rend import add_pointrend_config

        add_pointrend_config(settings)  # keys that only its configurations use
        file = expand_home(config)
        base = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml" if config == POINTREND else config
        settings.merge_from_file(str(file) if file.is_file() else model_zoo.get_config_file(base))
        if config == POINTREND:
            settings.merge_from_list([part for change in POINTREND_CHANGES.items() for part in change])
            settings.MODEL.WEIGHTS = DETECTRON2[-1].url
    except Exception as error:  # an unknown name, or nearly anything that YAML can hold
        raise UsageError(
            f"network detectron2:{config} is neither a file nor in detectron2's model zoo: {error}"
        ) from error
    settings.MODEL.DEVICE = "cpu"  # moved later, as all networks are
    return settings


def _url(config: str, settings: Any) -> str:
    from detectron2 import model_zoo

    try:
        return str(model_zoo.get_checkpoint_url(config))
    except RuntimeError:
        return str(settings.MODEL.WEIGHTS).replace("detectron2://", f"{MODEL_ZOO}/")


class Detectron2(Detector):
    """A detector of detectron2; its features are those of its backbone.

    The loss on outputs is for networks of two stages: a proposal is a box in pixels of the network, and the category
    that it is most like (A, 5).
    """

    min_side = 1
    scales_itself = True
    feature_scale: float | None = None

    def __init__(self, model: Any, settings: Any) -> None:
        from detectron2.data import MetadataCatalog

        super().__init__()
        self.model = model
        self.shortest: int | None = settings.INPUT.MIN_SIZE_TEST
        self.longest: int | None = settings.INPUT.MAX_SIZE_TEST
        self.bgr = settings.INPUT.FORMAT == "BGR"
        data = MetadataCatalog.get(settings.DATASETS.TEST[0]) if settings.DATASETS.TEST else None
        ids = getattr(data, "thing_dataset_id_to_contiguous_id", {})
        self.categories = {index: category for category, index in ids.items()}

    def unscaled(self) -> None:
        self.shortest = self.longest = None
        super().unscaled()

    @property
    def sees_crops_alike(self) -> bool:
        return self.feature_scale is not None or super().sees_crops_alike

    def shown_scale(self, height: int, width: int) -> float:
        return self._factor((height, width)) * super().shown_scale(height, width)

    def features(self, x: Tensor) -> list[Tensor]:
        return list(self._see(x, self.feature_scale)[1].values())

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        asked = {"image": self._pictures(x)[0], "height": x.shape[2], "width": x.shape[3]}
        found = self.model.eval()([asked])[0]["instances"]
        classes = [self.categories.get(index, index + 1) for index in found.pred_classes.tolist()]
        masks = found.pred_masks if found.has("pred_masks") else None
        categories = torch.tensor(classes, dtype=torch.long, device=x.device)
        return Detections(found.pred_boxes.tensor, found.scores, categories, masks)

    def proposals(self, x: Tensor) -> Tensor:
        images, features = self._see(x)
        heads: Any = getattr(self.model, "roi_heads", None)
        if not hasattr(heads, "box_pooler") or not hasattr(heads.box_predictor, "box2box_transform"):
            raise UsageError(
                "this detectron2 network has no second stage as Faster R-CNN's with FPN has (one stage, C4, or a "
                "cascade); compare its features, task.options.loss=features"
            )
        found, _ = self.model.proposal_generator(images, features)
        boxes: Tensor = found[0].proposal_boxes.tensor
        scores, _ = self._scores_and_boxes(features, boxes)
        certain, categories = scores[:, :-1].max(1)  # the background is last
        best = certain.topk(min(PLACES, len(certain))).indices
        return torch.cat([boxes, categories[:, None]], 1)[best]

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        _, features = self._see(x)
        return self._outputs(x, features, self.proposals(x) if proposals is None else proposals)

    def _outputs(self, x: Tensor, features: dict[str, Tensor], places: Tensor) -> Tensor:
        scores, boxes = self._scores_and_boxes(features, places[:, :4])
        own = places[:, 4].long() if boxes.shape[1] > 1 else torch.zeros_like(places[:, 4]).long()
        chosen = boxes[torch.arange(len(places), device=x.device), own]  # (A, 4)
        return torch.cat([chosen / self._factor(x.shape[2:]), scores[:, :-1]], 1)[None]

    def _scores_and_boxes(self, features: dict[str, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (A, K + 1), and a box for each category, or one for all (A, K or 1, 4)."""
        from detectron2.structures import Boxes

        heads = self.model.roi_heads
        pooled = heads.box_pooler([features[name] for name in heads.box_in_features], [Boxes(boxes)])
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        moved = heads.box_predictor.box2box_transform.apply_deltas(deltas, boxes)  # (A, K * 4)
        return logits.softmax(1), moved.unflatten(1, (-1, 4))

    def _see(self, x: Tensor, factor: float | None = None) -> tuple[Any, dict[str, Tensor]]:
        images = self.model.preprocess_image([{"image": one} for one in self._pictures(x, factor)])
        return images, self.model.backbone(images.tensor)

    def _pictures(self, x: Tensor, factor: float | None = None) -> Tensor:
        """(B, 3, h, w) in [0, 255], in the network's order of channels and scaled by `factor`, or to its size."""
        x = 255 * (x.flip(1) if self.bgr else x)
        factor = factor or self._factor(x.shape[2:])
        height, width = (max(1, round(side * factor)) for side in x.shape[2:])
        return F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)

    def _factor(self, sides: Sequence[int]) -> float:
        if self.shortest is None or self.longest is None:
            return 1.0
        return float(min(self.shortest / min(sides), self.longest / max(sides)))


class Detectron2Masks(Detectron2, MaskDetector):
    """Mask R-CNN of detectron2."""

    def outputs_and_masks(self, x: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        from detectron2.structures import Boxes

        _, features = self._see(x)
        heads = self.model.roi_heads
        if heads.mask_pooler is None:
            raise UsageError("PointRend's masks are no fixed grid; compare its features, task.options.loss=features")
        pooled = heads.mask_pooler([features[name] for name in heads.mask_in_features], [Boxes(proposals[:, :4])])
        logits = heads.mask_head.layers(pooled)  # (A, K, 28, 28)
        chosen = logits[torch.arange(len(proposals), device=x.device), proposals[:, 4].long()]
        return self._outputs(x, features, proposals), chosen.sigmoid()
