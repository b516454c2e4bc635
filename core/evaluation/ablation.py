"""Ablation of tuning: variants of its settings, measured as `taskodec eval` measures methods, for codecs and tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskodec.bench.coders import with_codec
from taskodec.bench.fidelity import Source
from taskodec.bench.rows import RowFile
from taskodec.console.progress import Progress
from taskodec.errors import SettingsError, UsageError
from taskodec.evaluation.lab import EvaluationPlan, Lab
from taskodec.evaluation.methods import Method
from taskodec.evaluation.panel import Judge
from taskodec.evaluation.pool import default_processes, measure_rows
from taskodec.evaluation.rows import Job, Row
from taskodec.evaluation.summary import complete_rows
from taskodec.evaluation.variants import Variant, Variants
from taskodec.hooks.registry import Registry
from taskodec.settings.model import Settings, load_settings

__all__ = ["AblationPlan", "Case", "make_cases"]

Resolve = Callable[[str, Sequence[str]], Settings]
"""The settings for a task, with further texts for `--set` on top; for an empty name those of the task that is set."""

BUDGETS = {"preset", "seed", "steps", "time_budget", "min_gain_per_second"}
"""What of `ttft` the user may set for all variants that do not set it themselves."""


@dataclass(frozen=True)
class AblationPlan:
    """What is measured: every variant, for every codec and every task, at the same qualities.

    Args:
        codecs: as `NAME` or `NAME=CHECKPOINT`; empty for that of the settings.
        tasks: as in the settings; empty for the one set there.
        qualities: None for that of the settings.
        labels: files by task, as it was given; of several tasks in one by part.
        plugins: files for the registry.
        judges: who looks at the pictures besides.
    """

    variants: Variants
    codecs: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    qualities: tuple[float, ...] | None = None
    labels: Mapping[str, Path | Mapping[str, Path]] | None = None
    plugins: tuple[Path, ...] = ()
    judges: tuple[Judge, ...] = ()


class Case:
    """One codec and one task, with all variants; `notes` are what codec and task had to say when they were loaded.

    Everything that a call can get wrong is an error before the first row.
    """

    def __init__(self, codec: str, plan: EvaluationPlan, registry: Registry, sources: Sequence[Source]) -> None:
        self.codec, self.sources = codec, sources
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.lab = Lab(plan, registry)
            self.jobs: Sequence[Job] = self.lab.jobs(sources)
        self.notes = list(dict.fromkeys(str(warning.message) for warning in caught))

    @property
    def name(self) -> str:
        """Codec and task."""
        return f"{self.codec}, {self.lab.task.name}"

    def measure(self, file: RowFile[Row], processes: int | None, progress: Progress | None) -> list[Row]:
        """All rows, as `measure_rows` does; `processes` None for one a core."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are notes already
            return measure_rows(self.lab, self.jobs, file, processes or default_processes(self.lab), progress)

    def measured(self, file: RowFile[Row]) -> list[Row]:
        """The rows of those images that have all of theirs."""
        there = [row for job in self.jobs if (row := file.find(job.key)) is not None]
        return complete_rows(there, len(self.jobs) // len(self.sources))


def make_cases(plan: AblationPlan, resolve: Resolve, registry: Registry, sources: Sequence[Source]) -> list[Case]:
    """One case for each codec and task; SettingsError or UsageError for whatever is wrong in the plan."""
    cases = []
    for codec in plan.codecs or (resolve("", ()).codec.name,):
        for task in plan.tasks or ("",):
            settings = with_codec(resolve(task, ()), codec)
            methods = tuple(
                (Method(variant.name, "ttft"), with_codec(_settings_of(variant, task, resolve), codec))
                for variant in plan.variants.variants
            )
            qualities = plan.qualities or (settings.quality,)
            labels = (plan.labels or {}).get(task)
            evaluation = EvaluationPlan(settings, methods, {"": qualities}, labels, plan.plugins, panel=plan.judges)
            cases.append(Case(codec, evaluation, registry, sources))
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{'; '.join(twice)} would be measured twice: name every codec and every task once")
    return cases


def _settings_of(variant: Variant, task: str, resolve: Resolve) -> Settings:
    """The settings of a variant; an error if the user's own hide what it is about."""
    try:
        settings = resolve(task, variant.overrides())
    except SettingsError as error:
        raise SettingsError(f"variant {variant.name!r}: {error}") from error
    wanted = load_settings(overrides=variant.overrides(), flags={"task.name": settings.task.name}).ttft
    named = sorted(wanted.model_fields_set - BUDGETS)  # by its preset, or by itself
    if hidden := [f"ttft.{name}" for name in named if getattr(settings.ttft, name) != getattr(wanted, name)]:
        raise UsageError(
            f"variant {variant.name!r}: {', '.join(hidden)} of the settings would take the place of what it is about; "
            "leave them out"
        )
    return settings
