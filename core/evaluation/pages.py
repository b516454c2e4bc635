"""Evaluations, ablations and suites as parts of a page, and their summaries read back from files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from taskodec.errors import UsageError
from taskodec.evaluation import ablation_report, report, suite_report
from taskodec.evaluation.ablation_summary import CaseSummary
from taskodec.evaluation.rows import Row
from taskodec.evaluation.suite import SuiteSummary
from taskodec.evaluation.summary import EvaluationSummary, MethodPoint
from taskodec.report.charts import Chart, Level, Series
from taskodec.report.run_page import RunPart, TableLike

__all__ = ["ablation_part", "evaluation_part", "read_ablation", "read_evaluation", "read_suite_summary", "suite_part"]

ROWS = 3000
"""Of single pictures in a page, at most."""

SummaryT = TypeVar("SummaryT")


def evaluation_part(summary: EvaluationSummary, rows: Sequence[Row] = ()) -> RunPart:
    """Curves with bands, one for each figure; tables as in the report, and the single rows."""
    tables = [TableLike(t.title, t.header, t.rows) for t in report.tables(summary)]
    pictures = f"{summary.images} picture{'s' * (summary.images != 1)}"
    intervals = f", bands are 95 % intervals of {summary.resamples} resamples" if summary.resamples else ""
    return RunPart(
        f"Evaluation of {summary.task}",
        f"What the task makes of {pictures}, by the rate of real files{intervals}.",
        [_metric_chart(metric, better, summary) for metric, better in summary.metrics.items()],
        [*tables, *_single(rows)],
        report.notes(summary),
    )


def _metric_chart(metric: str, higher: bool, summary: EvaluationSummary) -> Chart:
    """A figure over the rate: methods as they were measured; what deltas used instead is dashed."""
    series, levels, ends, anchors_end = [], [], [], 0.0
    for number, name in enumerate(dict.fromkeys(point.method for point in summary.points)):
        points = [point for point in summary.points if point.method == name]
        if points[0].kind == "original":
            levels.append(Level(name, points[0].figures[metric].value))
            continue
        strong = points[0].kind != "anchor"
        series.append(_method_series(name, points, metric, strong, number))
        series += [
            Series(f"{name}, made monotone", change.used, strong=False, dashed=True, dots=False, colour=number)
            for change in summary.changes
            if (change.method, change.metric) == (name, metric)
        ]
        last = max((point.bpp.value for point in points if point.bpp), default=0.0)
        anchors_end = max(anchors_end, last)
        ends += [last] * strong
    better = "more is better" if higher else "less is better"
    end = 1.15 * max(ends, default=anchors_end) or None
    return Chart(metric, "bits per pixel", metric, series, levels, x_end=end, note=better)


def _method_series(name: str, points: Sequence[MethodPoint], metric: str, strong: bool, colour: int) -> Series:
    with_rate = [(point, point.bpp.value) for point in points if point.bpp]
    figures = [point.figures[metric] for point, _ in with_rate]
    tips = [
        f"{name}, quality {point.quality:g}: {figure.value:.4g}"
        + (f" [{figure.low:.4g}, {figure.high:.4g}]" if figure.low is not None and figure.high is not None else "")
        + f" at {rate:.4f} bpp"
        for (point, rate), figure in zip(with_rate, figures, strict=True)
    ]
    return Series(
        name,
        [(rate, figure.value) for (_, rate), figure in zip(with_rate, figures, strict=True)],
        [figure.low for figure in figures],
        [figure.high for figure in figures],
        tips,
        strong=strong,
        colour=colour,
    )


def _single(rows: Sequence[Row]) -> list[TableLike]:
    """A table of single files, the first so many."""
    if not rows:
        return []
    header = ("picture", "method", "quality", "bytes", "bpp", "task loss", "cost", "sent", "seconds")
    cells = [
        (
            row.image,
            row.method,
            _number(row.quality, "g"),
            _number(row.bytes, "d"),
            _number(row.bpp, ".4f"),
            f"{row.task_loss:.5g}",
            _number(row.cost, ".5g"),
            row.chosen or "–",
            _number(row.seconds, ".2f"),
        )
        for row in rows[:ROWS]
    ]
    more = f", the first {ROWS} of {len(rows)}" if len(rows) > ROWS else ""
    return [TableLike(f"All {len(rows)} rows{more}", header, cells, folded=True)]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def ablation_part(summaries: Sequence[CaseSummary]) -> RunPart:
    """Costs of the variants over their seconds, and all tables."""
    tables = [TableLike(t.title, t.header, t.rows) for t in ablation_report.tables(summaries)]
    about = [f"{line.variant}: {line.about}" for line in summaries[0].lines]
    images = max(summary.images for summary in summaries)
    return RunPart(
        "Ablation of test-time fine-tuning",
        f"What each ingredient of tuning is worth, on {images} picture{'s' * (images != 1)}.",
        [_cost_chart(summary) for summary in summaries],
        tables,
        [*ablation_report.notes(summaries), *about],
    )


def _cost_chart(summary: CaseSummary) -> Chart:
    """A point for each variant."""
    series = [
        Series(
            line.variant,
            [(line.seconds, line.cost)],
            tips=[f"{line.variant}: cost {line.cost:.4f}, {line.seconds:.2f} s, {line.bpp:.4f} bpp"],
            strong=line.variant in (summary.baseline, summary.ours),
            colour=number,
        )
        for number, line in enumerate(summary.lines)
    ]
    name = "processor's seconds" if summary.clock == "cpu_seconds" else "seconds"
    return Chart(f"{summary.codec}, {summary.task}: cost", f"{name} a picture", "cost", series)


def suite_part(summary: SuiteSummary) -> RunPart:
    """The one table, and what could not be measured."""
    table = suite_report.table(summary)
    return RunPart(
        "A suite of losses",
        "The default of tuning against a grid of settings.",
        [],
        [TableLike(table.title, table.header, table.rows)],
        summary.notes,
    )


def read_evaluation(values: Any, path: Path) -> EvaluationSummary:
    """A `summary.json` of `taskodec eval`; UsageError for anything else."""
    return _read(EvaluationSummary, values, path)


def read_ablation(values: Any, path: Path) -> list[CaseSummary]:
    """An `ablation.json`; UsageError for anything else."""
    cases = values.get("cases") if isinstance(values, Mapping) else None
    return _read(list[CaseSummary], cases, path)


def read_suite_summary(values: Any, path: Path) -> SuiteSummary:
    """A `suite.json`; UsageError for anything else."""
    return _read(SuiteSummary, values, path)


def _read(kind: type[SummaryT], values: Any, path: Path) -> SummaryT:
    """The values as what they were written from: JSON has no NaN, and has null in its place."""
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[SummaryT] = TypeAdapter(kind)
    try:
        try:
            found = adapter.validate_python(values)
        except ValidationError as error:
            for one in error.errors():
                if one["input"] is None and one["type"] == "float_type":
                    _set(values, one["loc"], math.nan)
            found = adapter.validate_python(values)
    except (ValueError, LookupError, TypeError) as error:
        first = str(error).partition("\n")[0]
        raise UsageError(
            f"{path} is no summary that taskodec has written here ({first}): run the command anew"
        ) from error
    if not found:
        raise UsageError(f"{path} sums up nothing: run the command anew")
    return found


def _set(values: Any, place: Sequence[int | str], value: float) -> None:
    """Put a value where pydantic says that it is missing."""
    for key in place[:-1]:
        values = values[key]
    values[place[-1]] = value
