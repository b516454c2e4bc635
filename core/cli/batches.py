"""Inputs of `compress` in groups that are tuned together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from taskodec.errors import ImageError
from taskodec.files.inputs import STANDARD
from taskodec.files.plans import Job

if TYPE_CHECKING:
    from taskodec.api.compressor import Result

__all__ = ["Batches", "groups_of_one_size"]


class Batches:
    """Jobs in groups of up to `size` pictures of one size; a group is compressed when its first job is asked for.

    `compress` takes the group's jobs, and gives for each its result or the error that it ended with. Groups are of all
    jobs, also where only the `wanted` ones will be asked for, since what a picture becomes depends on its group in the
    last digits.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        size: int,
        compress: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        wanted: Collection[Job] | None = None,
    ) -> None:
        self.groups = groups_of_one_size(jobs, size) if size > 1 else [[job] for job in jobs]
        self.compress = compress
        self.wanted = frozenset(jobs if wanted is None else wanted)
        self._group = {job: group for group in self.groups for job in group}
        self._outcomes: dict[Job, Result | Exception] = {}

    @property
    def jobs(self) -> list[Job]:
        """Those that are wanted, group by group."""
        return [job for job in chain(*self.groups) if job in self.wanted]

    def result(self, job: Job) -> Result:
        """The job's result; raises the error that it ended with."""
        if job not in self._outcomes:
            group = self._group[job]
            outcomes = zip(group, self.compress(group), strict=True)
            self._outcomes |= {own: outcome for own, outcome in outcomes if own in self.wanted}
        outcome = self._outcomes.pop(job)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def groups_of_one_size(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Jobs by the size of their pictures, in groups of at most `size`; what is no picture is alone."""
    by_size: dict[object, list[Job]] = {}
    for job in jobs:
        by_size.setdefault(_size(job) or job, []).append(job)
    return [same[first : first + size] for same in by_size.values() for first in range(0, len(same), size)]


def _size(job: Job) -> tuple[int, int] | None:
    """Width and height as the file's first bytes say; a wrong guess costs time only."""
    from taskodec.pixels.pillow import picture_size

    if job.source == STANDARD or not job.source.is_file():  # a pipe can be read once
        return None
    try:
        return picture_size(job.source)
    except ImageError:
        return None
