"""An open-set task: objects as DETR sees them (Carion et al. 2020, arXiv:2005.12872), through transformers.

pip install "transformers>=5"   # and 160 MB of weights on first use, Apache-2.0
taskodec compress PHOTO.jpg --plugin docs/examples/detr.py --task detr --quality 2

The loss and its weights are those of Park et al. 2025, who tune TIC for it from the adapter for classification:
--codec tic --set codec.options.pretrained=true --adapter tic-cls --preset paper
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import Normalize

import taskodec
from taskodec.errors import UsageError, WeightsError
from taskodec.files.downloads import DownloadOptions
from taskodec.tasks.detection import Detection, Detector
from taskodec.tasks.detections import Detections

PUBLISHED = "facebook/detr-resnet-50-dc5"
SHORTEST, LONGEST = 800, 1333
"""Sides that pictures are scaled to for detection."""

LMBDAS = {0.0018: 0.5, 0.0035: 1.0, 0.0067: 2.0, 0.013: 5.0}
"""One over the paper's weights of the rate, by the trade-off of the codec."""


@taskodec.hookimpl
def register_tasks() -> list[taskodec.TaskSpec]:
    """Makes `--plugin docs/examples/detr.py --task detr` work, and `pretrain` for it."""
    return [taskodec.TaskSpec("detr", load, "object detection as DETR sees it; weights: Hugging Face")]


def load(weights: str = PUBLISHED, loss: str = "features", offline: bool = False) -> Detection:
    """The task; `weights` is a name of Hugging Face or a folder. WeightsError if they cannot be had."""
    try:
        from transformers import DetrForObjectDetection
    except ImportError as error:
        raise UsageError("task 'detr' needs transformers: pip install \"transformers>=5\"") from error
    local = offline or DownloadOptions.from_environment().offline
    try:
        model = DetrForObjectDetection.from_pretrained(weights, local_files_only=local)
    except Exception as error:  # no network, no such name, no such folder
        raise WeightsError(f"the weights {weights} of DETR cannot be had: {error}; give a folder as weights") from error
    layers, lmbdas = ([16.0], LMBDAS) if loss == "features" else (None, None)
    return Detection(Detr(model), "detr", loss=loss, layers=layers, lmbdas=lmbdas)


class Detr(Detector):
    """DETR; its features are the backbone's last ones, of the picture at its own size."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.normalise = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def features(self, x: Tensor) -> list[Tensor]:
        pixels = self.normalise(x)
        found = self.model.model.backbone(pixels, torch.ones_like(pixels[:, 0], dtype=torch.long))
        return [features for features, _ in found[-1:]]

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        """Of every query a box and probabilities, without the last class, which is none."""
        factor = min(SHORTEST / min(x.shape[2:]), LONGEST / max(x.shape[2:]))
        size = [max(1, round(side * factor)) for side in x.shape[2:]]
        scaled = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        found = self.model(self.normalise(scaled))
        middle, half = found.pred_boxes[..., :2], found.pred_boxes[..., 2:] / 2
        sides = x.new_tensor([x.shape[3], x.shape[2]] * 2)
        boxes = torch.cat([middle - half, middle + half], -1) * sides
        return torch.cat([boxes, found.logits.softmax(-1)[..., :-1]], -1)

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        """One object a query: DETR suppresses nothing. Its classes are COCO's ids."""
        outputs = self.outputs(x)[0]
        scores, categories = outputs[:, 4:].max(1)
        order = scores.argsort(descending=True)
        return Detections(outputs[order, :4], scores[order], categories[order])
