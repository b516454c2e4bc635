"""What a task is, and how it is judged where it says nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from taskodec.contracts.codec import Codec
from taskodec.contracts.evaluators import Evaluator, Record
from taskodec.contracts.findings import Findings
from taskodec.errors import UsageError

__all__ = ["TASK_LOSS", "MeanEvaluator", "Task"]

TASK_LOSS = "task_loss"
"""The name of a task's loss among figures."""


class Task(ABC):
    """What a decoded picture is for, as a differentiable loss."""

    name: str
    """The registered name."""
    mixed_precision: bool = False
    """Whether its loss may be computed in bfloat16 while images are tuned: networks may, fine differences may not."""
    views: Collection[str] = ()
    """Which random views of a picture (`taskodec.settings.ttft.VIEWS`) the loss means the same of.

    While an image is tuned, `loss` is then asked about such views of the decoded picture, against `prepare` of the same
    views of the original. None by default: a loss that looks at pixels may mean something else of a blurred picture.
    """

    @abstractmethod
    def prepare(self, x: Tensor) -> Any:
        """What the loss needs to know of the original (1, 3, H, W), and keeps.

        Called once per image.
        """

    def prepare_like(self, x: Tensor, whole: Any) -> Any:
        """`prepare` of a patch or a view of an original; of its reference, `whole`, something may be kept."""
        return self.prepare(x)

    @abstractmethod
    def loss(self, x_hat: Tensor, reference: Any) -> Tensor:
        """A scalar that falls as the decoded image serves the task better. Differentiable in x_hat."""

    def sees(self, height: int, width: int) -> tuple[int, int] | None:
        """Height and width of what the loss looks at of a picture of this size.

        None, by default, if it looks at every pixel, place by place, so that a large picture may be tuned in patches;
        what it looks at otherwise, a reduced picture for example, is all shown to it at every step.
        """
        return None

    def seen(self, x: Tensor) -> Tensor | None:
        """The picture (1, 3, H, W) without the detail that the loss cannot see; None if it sees it all."""
        return None

    def for_crops(self, sizes: Sequence[tuple[int, int]]) -> Task:
        """The task as it judges crops out of pictures of these heights and widths, which training shows it.

        A network that scales whole pictures to a size of its own is to see the detail of a crop that it would see of
        it in the picture. By default the task itself.
        """
        return self

    def batch_loss(self, x_hat: Tensor, references: Sequence[Any]) -> Tensor:
        """The losses (B,) of several pictures (B, 3, H, W); those of a network can be had in one pass of it."""
        return torch.stack([self.loss(one[None], own) for one, own in zip(x_hat, references, strict=True)])

    def lmbda(self, codec: Codec, quality: float) -> float | None:
        """Weight of the loss against bits per pixel: the cost is `lmbda * loss + bpp`.

        None lets the tuning engine set it per image, from the slope of the untuned codec's own
        rate-loss curve at this quality, so that any loss of any scale means something.
        """
        return None

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """Figures to report beside the loss, by name, the same names for every picture; none by default."""
        return {}

    def findings(self, x: Tensor) -> Findings | None:
        """What the task finds in a picture (1, 3, H, W) in [0, 1], for people to look at (`taskodec report`).

        None, by default, if it finds nothing that could be drawn; where its loss is steep is shown then.
        """
        return None

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        """What `taskodec eval` judges this task by over a set of images; by default the mean loss, without labels.

        `labels` is a file or folder with what is in the images, in a format of the task's choice. UsageError if it
        has no use for them, or cannot read them.
        """
        if labels is not None:
            raise UsageError(f"task {self.name!r} is judged without labels; leave out {labels}")
        return MeanEvaluator(self, {TASK_LOSS: False})

    def judge(self) -> Task:
        """The task as it judges files, without what is only there to make files serve others; by default itself."""
        return self

    def compile(self) -> Task:
        """Compile the task's network for what follows, if it has one."""
        return self

    def to(self, device: torch.device) -> Task:
        """Move the task's network, if it has one."""
        return self


class MeanEvaluator(Evaluator):
    """Means over images of the task's loss and of its own `metrics`.

    `metrics` maps the figures to give to whether more is better; `task_loss` is the loss.
    """

    def __init__(self, task: Task, metrics: Mapping[str, bool]) -> None:
        self.task, self.metrics = task, dict(metrics)

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        found = self.task.metrics(x_hat, x)
        if TASK_LOSS in self.metrics:
            found[TASK_LOSS] = float(self.task.loss(x_hat, self.task.prepare(x)))
        return {metric: found[metric] for metric in self.metrics}

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        return {metric: fmean(record[metric] for record in records) for metric in self.metrics}
