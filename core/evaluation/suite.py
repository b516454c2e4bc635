"""The suite of losses: does one way to tune suit them all, or is another setting better for some?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from taskodec.bench.fidelity import Source
from taskodec.errors import SettingsError, UsageError, WeightsError
from taskodec.evaluation.ablation import AblationPlan, Case, Resolve, make_cases
from taskodec.evaluation.ablation_summary import check_weights, summarise_case
from taskodec.evaluation.rows import Row
from taskodec.evaluation.variants import Name, VariantModel, Variants, variants_from
from taskodec.hooks.registry import Registry
from taskodec.settings.layers import preset, read_yaml

__all__ = ["GAIN", "Suite", "SuiteLoss", "SuiteResult", "SuiteSummary", "read_suite", "suite_cases", "summarise_suite"]

GAIN = 0.02
"""What the best of the grid must gain for a photograph that is sent untuned to count as missed."""


class SuiteLoss(VariantModel):
    """One loss: a task of any kind with settings of its own; without `task` a function of `taskodec.tasks.suite`."""

    name: Name
    task: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)

    @property
    def spec(self) -> str:
        """What names the task in settings."""
        return self.task or f"{resources.files('taskodec.tasks') / 'suite.py'}:{self.name}"

    def overrides(self) -> list[str]:
        """The settings as texts for `--set`."""
        return [f"{key}={json.dumps(value)}" for key, value in self.set.items()]


@dataclass(frozen=True)
class Suite:
    """Losses, and ways to tune; those but the `baseline` and `ours` are the grid."""

    losses: tuple[SuiteLoss, ...]
    variants: Variants

    @property
    def grid(self) -> list[str]:
        """The names of the settings that somebody could have tried."""
        return [v.name for v in self.variants.variants if v.name not in (self.variants.baseline, self.variants.ours)]

    def with_tasks(self, tasks: Sequence[str], weights: Mapping[str, Path]) -> Suite:
        """With further tasks as losses, and with files of weights for the tasks of these names."""
        more = [SuiteLoss(name=Path(task).name if ".py:" in task else task, task=task) for task in tasks]
        losses = [*self.losses, *more]
        if unknown := sorted(set(weights) - {loss.task or loss.name for loss in losses}):
            tasks_known = sorted({loss.task for loss in losses if loss.task})
            raise UsageError(f"--weights: {unknown[0]!r} is no task of the suite; valid: {', '.join(tasks_known)}")
        given = {task: {"task.options.weights": str(path)} for task, path in weights.items()}
        used = tuple(loss.model_copy(update={"set": {**loss.set, **given.get(loss.task or "", {})}}) for loss in losses)
        return Suite(used, self.variants)


def read_suite(path: Path | None = None) -> Suite:
    """The suite of a file, of `configs/bench/suite.yaml` without one; SettingsError says what is wrong with it."""
    origin = "bench/suite.yaml" if path is None else str(path)
    values = dict(preset("bench", "suite", needed=True) if path is None else read_yaml(path))
    found = values.pop("losses", None)
    try:
        losses = TypeAdapter(Annotated[tuple[SuiteLoss, ...], Field(min_length=1)]).validate_python(found)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, ("losses", *detail["loc"])))
        valid = ", ".join(SuiteLoss.model_fields)
        raise SettingsError(f"{origin}: {where}: {detail['msg']}; a loss has {valid}") from error
    names = [loss.name for loss in losses]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"{origin}: the loss {twice[0]!r} is there twice: give every loss a name of its own")
    suite = Suite(losses, variants_from(values, origin))
    if not suite.grid:
        raise SettingsError(f"{origin}: a grid is needed: give variants beside the baseline and ours")
    return suite


def suite_cases(
    suite: Suite, plan: AblationPlan, resolve: Resolve, registry: Registry, sources: Sequence[Source]
) -> tuple[list[tuple[SuiteLoss, Case]], list[str]]:
    """The cases, and why others are left out: their packages or weights are not there. `plan` has codecs and so on."""
    cases: list[tuple[SuiteLoss, Case]] = []
    missing: list[str] = []
    for loss in suite.losses:

        def own(task: str, more: Sequence[str], loss: SuiteLoss = loss) -> Any:
            return resolve(task, [*loss.overrides(), *more])

        one = AblationPlan(suite.variants, plan.codecs, (loss.spec,), plan.qualities, None, plan.plugins)
        try:
            cases += [(loss, case) for case in make_cases(one, own, registry, sources)]
        except (WeightsError, UsageError) as error:
            if loss.task is None:
                raise
            missing.append(f"{loss.name} is left out: {error}")
    return cases, missing


@dataclass(frozen=True)
class SuiteResult:
    """One loss: geometric means of true costs over photographs and qualities.

    `of_grid` is against the best setting of the grid for each photograph, `of_setting` against the one setting that is
    best for all of them, which is `setting`. `missed` counts rows that were sent untuned though the grid gains GAIN or
    more, `worse` those dearer than untuned ones; `seconds` are the processor's for one photograph. `bd_rate` is by the
    loss, in percent against untuned files; None for few qualities or curves that do not meet.
    """

    loss: str
    codec: str
    rows: int
    of_untuned: float
    grid_of_untuned: float
    of_grid: float
    worst_of_grid: float
    setting: str
    of_setting: float
    untuned: int
    missed: int
    worse: int
    bd_rate: float | None
    seconds: float


@dataclass(frozen=True)
class SuiteSummary:
    """All losses; `of_untuned` and `of_grid` are geometric means over them, `worst` the highest of the latter."""

    results: tuple[SuiteResult, ...]
    of_untuned: float
    of_grid: float
    worst: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, results: Sequence[SuiteResult], notes: Sequence[str]) -> SuiteSummary:
        """Sum up."""
        overall, grid = (geometric_mean([getattr(r, f) for r in results]) for f in ("of_untuned", "of_grid"))
        return cls(tuple(results), overall, grid, max(r.of_grid for r in results), tuple(notes))


def summarise_suite(
    suite: Suite, measured: Sequence[tuple[SuiteLoss, Case, Sequence[Row]]], notes: Sequence[str]
) -> SuiteSummary:
    """Sum up the rows of all cases; TaskodecError if variants of one weighed its loss differently."""
    return SuiteSummary.of([_result(suite, loss, case, rows) for loss, case, rows in measured], notes)


def _result(suite: Suite, loss: SuiteLoss, case: Case, rows: Sequence[Row]) -> SuiteResult:
    check_weights(rows)
    own, baseline = suite.variants.ours, suite.variants.baseline
    costs: dict[str, list[float]] = {v.name: [] for v in suite.variants.variants}
    for row in rows:  # of each variant in the same order of photographs and qualities
        costs[row.method].append(row.cost or 0.0)
    ours = [row for row in rows if row.method == own]
    best = [min(each) for each in zip(*(costs[name] for name in suite.grid), strict=True)]
    ratios = [row.cost / low for row, low in zip(ours, best, strict=True) if row.cost]
    setting = min(suite.grid, key=lambda name: geometric_mean(costs[name]))
    summary = summarise_case(case, rows, suite.variants, resamples=0)
    rates = [c.rate.value for c in summary.comparisons if (c.method, c.metric) == (own, "task_loss")]
    sent = [row.chosen in ("untuned", "plain") for row in ours]
    gains = [1 - low / before for low, before in zip(best, costs[baseline], strict=True)]
    return SuiteResult(
        loss=loss.name,
        codec=case.codec,
        rows=len(ours),
        of_untuned=geometric_mean(costs[own]) / geometric_mean(costs[baseline]),
        grid_of_untuned=geometric_mean(best) / geometric_mean(costs[baseline]),
        of_grid=geometric_mean(ratios),
        worst_of_grid=max(ratios),
        setting=setting,
        of_setting=geometric_mean(costs[own]) / geometric_mean(costs[setting]),
        untuned=sum(sent),
        missed=sum(gain >= GAIN for gain, kept in zip(gains, sent, strict=True) if kept),
        worse=sum((row.cost or 0.0) > (row.cost_untuned or 0.0) for row in ours),
        bd_rate=rates[0] if rates else None,
        seconds=fmean(row.cpu_seconds or row.seconds or 0.0 for row in ours),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Of values above zero."""
    return math.exp(fmean(map(math.log, values)))
