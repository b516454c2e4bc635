"""Rows of an evaluation, measured by the workers of a Ray cluster with one thread each, like those of a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import torch

from taskodec import errors
from taskodec.console.progress import Progress
from taskodec.engines.cluster import cluster
from taskodec.engines.ray_engine import RayEngine
from taskodec.engines.steps import Outcome, Step, Subject, Work, failure
from taskodec.errors import TaskodecError
from taskodec.evaluation.lab import EvaluationPlan, Lab
from taskodec.evaluation.rows import Job, Row
from taskodec.files.inputs import most_bytes
from taskodec.hooks.registry import default_registry
from taskodec.sources.entries import Entry

__all__ = ["rows_on_ray"]


@dataclass(frozen=True, eq=False)
class _RowSubject(Subject):
    """An image, and what is measured of it."""

    job: Job | None = None


def rows_on_ray(
    address: str | None,
    say: Callable[[str], None],
    plan: EvaluationPlan,
    jobs: Sequence[Job],
    keep: Callable[[Row], None],
) -> None:
    """Measure rows, each kept as it comes. Images are sent along; labels and plugins must be on every machine.

    After a failure no further row is begun, those under way are finished, and the error is raised.
    """
    settings = plan.settings.ray
    failed: list[TaskodecError] = []

    def steps() -> Iterator[Step]:
        for job in jobs:
            if failed:
                return
            path = job.source.path
            yield Step([_RowSubject(Entry(str(path), path.name, path), "", job=job)])

    most = most_bytes(plan.settings.limits.max_pixels)
    with cluster(address, settings):
        engine = RayEngine(partial(_measuring, plan), settings, most, say)
        for step in engine.results(steps(), ordered=False):
            (outcome,) = step.outcomes or ()
            if outcome.error:
                failed.append(getattr(errors, outcome.kind, TaskodecError)(outcome.error))
            else:
                keep(outcome.report["row"])
    if failed:
        raise failed[0]


def _measuring(plan: EvaluationPlan) -> Work:
    """What a worker does: codec and task are loaded once."""
    torch.set_num_threads(1)  # so that the number of workers changes no figure
    registry = default_registry()
    for path in plan.plugins:
        registry.load_plugin_file(path)
    lab = Lab(plan, registry)

    def measure(subjects: Sequence[Subject], _: Progress | None) -> list[Outcome]:
        return [_measured(lab, subject) for subject in subjects]

    return measure


def _measured(lab: Lab, subject: Subject) -> Outcome:
    assert isinstance(subject, _RowSubject)
    assert subject.job is not None
    assert subject.entry.data is not None
    try:
        return Outcome({"row": lab.measure(subject.job, BytesIO(subject.entry.data))})
    except BaseException as error:
        return failure(error)
