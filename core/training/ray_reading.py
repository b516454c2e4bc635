"""Training pictures that the workers of a Ray cluster open, decode, frame and crop for one process that trains."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import torch

from taskodec import errors
from taskodec.console.progress import Progress
from taskodec.engines.ray_engine import RayEngine
from taskodec.engines.steps import Outcome, Step, Subject, Work, failure
from taskodec.errors import TaskodecError
from taskodec.sources.entries import Entry
from taskodec.training.datasets import Batch, CropDataset, Size, StepDataset
from taskodec.training.names import PackedNames

if TYPE_CHECKING:
    from taskodec.settings.model import TrainSettings
    from taskodec.settings.ray import RaySettings

__all__ = ["RayReading"]

LOOKED_AT_ONCE = 16
"""Headers that are read in one task."""

SHARED = "every machine of the cluster must see the pictures: give a URL, or a folder that all share, by one path"


@dataclass(frozen=True, eq=False)
class _Asked(Subject):
    """The batch of a step, at this second of the run, of qualities between two; or of pictures their sizes."""

    step: int = 0
    seconds: float = 0.0
    ends: tuple[float, float] = (0.0, 0.0)
    numbers: Sequence[int] | None = None


class RayReading:
    """What reads for a run, only within `taskodec.engines.cluster.cluster`; batches are those of one process.

    Each worker keeps decoded pictures, up to its share of `cache_mb` of its machine. `say` is told of workers that die.
    """

    def __init__(self, settings: RaySettings, train: TrainSettings, say: Callable[[str], None]) -> None:
        self.settings, self.train, self._say = settings, train, say
        self._engine: RayEngine | None = None

    def sizes(self, crops: CropDataset, numbers: Sequence[int]) -> list[Size]:
        """Heights and widths of pictures, in order; ImageError for one that cannot be read."""
        parts = [numbers[i : i + LOOKED_AT_ONCE] for i in range(0, len(numbers), LOOKED_AT_ONCE)]
        steps = (_step(f"pictures {part}", numbers=part) for part in parts)
        sizes: list[Size] = []
        for step in self._of(crops).results(steps, ordered=True):
            (outcome,) = step.outcomes or ()
            if outcome.error:
                raise getattr(errors, outcome.kind, TaskodecError)(f"on a worker: {outcome.error}; {SHARED}")
            sizes += outcome.report["sizes"]
        return sizes

    def batches(self, steps: StepDataset, start: int) -> Iterator[Batch | TaskodecError]:
        """The batches of a run from step `start` on, in order; as many are read ahead as workers have at a time."""
        budget = self.train.time_budget is not None
        numbers = count(start) if budget else range(start, self.train.steps)
        ends = steps.first, steps.last
        asked = (_step(f"step {step}", step=step, seconds=float(steps.seconds), ends=ends) for step in numbers)
        for step in self._of(steps.crops).results(asked, ordered=True):
            (outcome,) = step.outcomes or ()
            for said in outcome.report.get("said", ()):
                warnings.warn(said, stacklevel=2)
            if outcome.error:
                yield getattr(errors, outcome.kind, TaskodecError)(f"on a worker: {outcome.error}; {SHARED}")
                return
            yield outcome.report["batch"]

    def _of(self, crops: CropDataset) -> RayEngine:
        """Workers for a data set, started once; tasks are a few bytes each, so that nothing is read here.

        The names of all pictures are once on each machine, in memory that its workers share.
        """
        if self._engine is None:
            names = PackedNames(crops.paths)
            fresh = partial(CropDataset, names, self.train.cache_mb * 10**6, crops.framing, crops.max_pixels)
            make = partial(_reading, fresh, self.train, self.settings)
            self._engine = RayEngine(make, self.settings, 0, self._say)
        return self._engine


def _step(name: str, **asked: Any) -> Step:
    return Step([_Asked(Entry(name, name, data=b""), "", **asked)])


def _reading(fresh: Callable[[], CropDataset], train: TrainSettings, settings: RaySettings) -> Work:
    """What a worker does."""
    torch.set_num_threads(max(1, int(settings.cpus)))
    crops = fresh()
    crops.room //= min(settings.workers or 2**16, max(1, int((os.cpu_count() or 1) // settings.cpus)))

    def read(subjects: Sequence[Subject], _: Progress | None) -> list[Outcome]:
        return [_read(crops, train, subject) for subject in subjects]

    return read


def _read(crops: CropDataset, train: TrainSettings, subject: Subject) -> Outcome:
    assert isinstance(subject, _Asked)
    try:
        if subject.numbers is not None:
            return Outcome({"sizes": [crops.size(number) for number in subject.numbers]})
        steps = StepDataset(crops, train, subject.ends)
        steps.seconds.fill_(subject.seconds)
        with warnings.catch_warnings(record=True) as told:  # nobody reads a worker's standard error
            warnings.simplefilter("always")
            batch = steps[subject.step]
        said = [str(one.message) for one in told]
        if isinstance(batch, TaskodecError):
            return Outcome({"said": said}, error=str(batch), kind=type(batch).__name__)
        return Outcome({"batch": batch, "said": said})
    except BaseException as error:
        return failure(error)
