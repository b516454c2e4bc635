"""Training pictures: random crops out of them, and the batches of a run, step by step.

Everything random comes from (seed, step, number of the crop), so that a batch is the same whoever reads it:
after a resume, in any worker, and split over any number of processes.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from taskodec.errors import ImageError, TaskodecError, UsageError
from taskodec.images.framing import WHOLE, Framing
from taskodec.images.tensors import MAX_PIXELS
from taskodec.training.pictures import Picture, list_pictures, opened, size_of
from taskodec.training.schedule import crops_of, position, stage_at

if TYPE_CHECKING:
    from taskodec.settings.model import TrainSettings

__all__ = ["Batch", "CropDataset", "Reading", "Size", "StepDataset", "crops_for", "step_loader", "worker_count"]

DRAWS = 100
"""How many unsuitable pictures in a row end a run."""

LOOKED_AT = 1000
"""How many headers are read before a run starts: enough to say what share of a data set is too small."""


Size: TypeAlias = tuple[int, int]
"""Height and width, in pixels."""


class CropDataset:
    """Random crops with a random flip, of pictures that are read when they are drawn.

    Decoded pictures are kept while they fit into `cache_bytes`, and never exchanged: every picture is as likely
    to be drawn next as any other. They lie on `device`, where crops are cut. Pictures that cannot be read, have a side
    smaller than the crop, or more than `max_pixels`, are passed over.
    """

    def __init__(
        self,
        paths: Sequence[Picture],
        cache_bytes: int,
        framing: Framing = WHOLE,
        max_pixels: int = MAX_PIXELS,
        device: torch.device | str = "cpu",
    ) -> None:
        self.paths, self.framing, self.max_pixels, self.device = paths, framing, max_pixels, device
        self.cache: dict[int, Tensor] = {}
        self.room = cache_bytes

    def sizes(self, reading: Reading | None = None) -> list[Size]:
        """Heights and widths of up to a thousand pictures, spread over the set; ImageError for one without a header.

        `reading` looks at them, if it is not this process.
        """
        looked = range(0, len(self.paths), -(-len(self.paths) // LOOKED_AT))
        return list(map(self.size, looked) if reading is None else reading.sizes(self, looked))

    def check(self, size: int, found: Sequence[Size] | None = None) -> None:
        """A UsageError when no picture of `sizes` has both sides of `size` pixels; a warning says how many are smaller.

        `found` is what `sizes` has found already.
        """
        looked = self.sizes() if found is None else found
        small = sum(min(sides) < size for sides in looked)
        if small == len(looked):
            raise UsageError(f"none of {small} images has both sides of {size} pixels or more, the largest crop")
        if small:
            warnings.warn(
                f"{small} of {len(looked)} training images looked at have a side of less than {size} pixels, the "
                "largest crop: where crops are larger than they are, others are taken",
                stacklevel=2,
            )

    def size(self, index: int) -> Size:
        """Height and width of a picture, from its header."""
        return self.framing.size(*size_of(self.paths[index]))

    def crop(self, size: int, generator: np.random.Generator) -> Tensor:
        """One crop, bytes (3, size, size); a UsageError when a hundred pictures drawn in a row cannot serve."""
        reason = ""
        for _ in range(DRAWS):
            index = int(generator.integers(len(self.paths)))
            top, left, flip = generator.random(3)
            try:
                picture = self.picture(index)
            except ImageError as error:
                reason = str(error)
                warnings.warn(f"{reason}; this picture is passed over", stacklevel=2)
                continue
            height, width = picture.shape[1:]
            if min(height, width) < size:
                reason = f"{self.paths[index]} is {width}x{height} pixels"
                continue
            y, x = int(top * (height - size + 1)), int(left * (width - size + 1))
            patch = picture[:, y : y + size, x : x + size]
            return patch.flip(2) if flip < 0.5 else patch
        raise UsageError(f"{DRAWS} pictures in a row give no crop of {size} pixels: {reason}; remove such pictures")

    def picture(self, index: int) -> Tensor:
        """A decoded picture, bytes (3, H, W)."""
        if index in self.cache:
            return self.cache[index]
        with opened(self.paths[index], self.max_pixels) as source:
            picture = (self.framing.load(source, self.max_pixels)[0] * 255).round().byte().to(self.device)
        if picture.numel() <= self.room:
            self.cache[index] = picture
            self.room -= picture.numel()
        return picture

    def crops(self, size: int, numbers: range, *key: int) -> Tensor:
        """The crops of these numbers out of those that `key` stands for, bytes (B, 3, size, size)."""
        return torch.stack([self.crop(size, np.random.default_rng((*key, number))) for number in numbers])


Batch: TypeAlias = tuple[Tensor, Tensor, int]
"""Crops as bytes (B, 3, S, S), a quality for each (B,), and the number of the stage that they are for."""


class StepDataset(Dataset[Batch | TaskodecError]):
    """The batch of every step.

    `seconds` is what the run has taken so far, by which one with a budget of them finds its stage: a scalar in memory
    that worker processes share. `part` = (rank, processes) takes one process's part of the whole batch. An error is
    returned, not raised: a worker process would wrap its own traceback around it.
    """

    def __init__(
        self,
        crops: CropDataset,
        settings: TrainSettings,
        qualities: Sequence[float],
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.crops, self.settings, self.part = crops, settings, part
        self.seconds: Tensor = torch.zeros((), dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]
        self.first, self.last = qualities[0], qualities[-1]

    def __getitem__(self, step: int) -> Batch | TaskodecError:
        stage = stage_at(position(step, float(self.seconds), self.settings), self.settings)
        count = crops_of(stage, self.settings)
        rank, processes = self.part
        numbers = range(count * rank // processes, count * (rank + 1) // processes)
        generator = np.random.default_rng((self.settings.seed, step, count))  # crops have the numbers below
        # stratified: every batch covers the range of rates
        spread = (generator.permutation(count) + generator.random(count)) / count
        quality = self.first + (self.last - self.first) * torch.from_numpy(spread).float()
        try:
            crops = self.crops.crops(stage.crop, numbers, self.settings.seed, step)
        except TaskodecError as error:
            return error
        return crops, quality[numbers.start : numbers.stop], self.settings.stages.index(stage)


class Reading(Protocol):
    """Who opens, decodes and crops the pictures of a run in place of this process and its own."""

    def sizes(self, crops: CropDataset, numbers: Sequence[int]) -> Iterable[Size]:
        """`CropDataset.size` of pictures, in order."""
        ...

    def batches(self, steps: StepDataset, start: int) -> Iterable[Batch | TaskodecError]:
        """The batches from step `start` on, in order: those of the data set."""
        ...


def step_loader(
    dataset: StepDataset, start: int, workers: int, *, pinned: bool = False
) -> DataLoader[Batch | TaskodecError]:
    """The batches from step `start` on, in order, read ahead by worker processes; by the clock they have no end."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, dataset.settings.steps if dataset.settings.time_budget is None else sys.maxsize),
        num_workers=workers,
        pin_memory=pinned,
        worker_init_fn=_leave_signals_to_the_parent,
    )


def _leave_signals_to_the_parent(_worker: int) -> None:
    """A terminal sends Ctrl-C to workers as well, which must go on until the run has stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def worker_count(settings: TrainSettings, device: torch.device) -> int:
    """How many processes read ahead: on a CPU they would take its cores from training.

    UsageError for any where crops are cut on the device, which belongs to this process.
    """
    if settings.cache_on_device:
        if settings.workers:
            raise UsageError("workers: processes cannot cut crops on the device: leave it out, or cache_on_device")
        return 0
    return (4 if device.type == "cuda" else 0) if settings.workers is None else settings.workers


def crops_for(
    settings: TrainSettings,
    data: Sequence[Picture],
    device: torch.device,
    framing: Framing = WHOLE,
    max_pixels: int = MAX_PIXELS,
) -> CropDataset:
    """The crops that a run on this device draws from; each process that reads keeps its share of `cache_mb`."""
    room = settings.cache_mb * 10**6 // max(1, worker_count(settings, device))
    kept_on = device if settings.cache_on_device else "cpu"
    return CropDataset(list_pictures(data), room, framing, max_pixels, kept_on)
