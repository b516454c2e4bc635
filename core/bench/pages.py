"""Benchmarks as parts of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskodec.bench import rd_report
from taskodec.bench.determinism import Agreement, tables
from taskodec.bench.fidelity import Point
from taskodec.bench.rd import METRICS, Curve, Summary, summarise
from taskodec.console.layout import counted
from taskodec.errors import UsageError
from taskodec.report.charts import Chart, Series
from taskodec.report.run_page import RunPart, TableLike

__all__ = ["determinism_part", "rates_of_points", "rates_part", "read_rates", "speed_part"]


def rates_part(summary: Summary) -> RunPart:
    """Rate-distortion curves, and tables as in the summary."""
    return RunPart(
        "Rate and distortion",
        f"Codecs untuned, by real files, means over {summary.images} picture{'s' * (summary.images != 1)}.",
        [_chart(metric, summary.curves) for metric in METRICS],
        [TableLike(t.title, t.header, t.rows) for t in rd_report.tables(summary)],
        rd_report.notes(summary),
    )


def read_rates(values: Any, path: Path) -> Summary:
    """A `rates.json` of `taskodec bench`; UsageError for anything else."""
    from pydantic import TypeAdapter

    try:
        for one in values["comparisons"]:  # JSON has no NaN, and was written without
            for end in ("low", "high"):
                one["mean_curve"][end] = math.nan if one["mean_curve"][end] is None else one["mean_curve"][end]
        return TypeAdapter(Summary).validate_python(values)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no rates.json of `taskodec bench`: run it anew") from error


def rates_of_points(points: Sequence[Point]) -> Summary:
    """What single points amount to, of those pictures that every codec has at each of its qualities; the last hold."""
    latest = {(point.image, point.codec, point.quality): point for point in points}
    levels = {(codec, quality) for _, codec, quality in latest}
    images = [image for image, _, _ in latest]
    whole = {image for image in images if sum(image == other for other in images) == len(levels)}
    return summarise([point for point in latest.values() if point.image in whole])


def _chart(metric: str, curves: Sequence[Curve]) -> Chart:
    value = METRICS[metric]
    series = [
        Series(
            curve.name,
            [(point.bpp, value(point)) for point in curve.points],
            tips=[f"{curve.name}, quality {p.quality:g}: {value(p):.2f} dB at {p.bpp:.4f} bpp" for p in curve.points],
            strong=curve.kind == "codec",
            colour=number,
        )
        for number, curve in enumerate(curves)
    ]
    ends = [curve.points[-1].bpp for curve in curves if curve.kind == "codec"]
    end = 1.15 * max(ends or [curve.points[-1].bpp for curve in curves])
    return Chart(metric, "bits per pixel", f"{metric}, dB", series, x_end=end)


def speed_part(values: Any, path: Path) -> RunPart:
    """Seconds by codec, of a `speed.json`; UsageError for anything else."""
    try:
        rows = [_speed_row(one) for one in values["codecs"]]
        count = len(values["images"])
        threads, rounds = counted(values["threads"], "thread"), counted(values["rounds"], "round")
        lead = f"Seconds on {values['device']}, {threads}, {rounds}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is no speed.json of `taskodec bench --speed`: run it anew") from error
    header = ("codec", "quality", "bytes", "encode, median s", "minimum", "decode, median s", "minimum")
    table = TableLike("Seconds", header, rows)
    return RunPart("Speed", f"{lead}, {count} picture{'s' * (count != 1)}.", [], [table])


def _speed_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    sides = [f"{one[side][figure]:.4f}" for side in ("encode", "decode") for figure in ("median", "minimum")]
    return (str(one["codec"]), f"{one['quality']:g}", f"{one['bytes']:.0f}", *sides)


def determinism_part(values: Any, path: Path) -> RunPart:
    """Counts by runtime, of a `determinism.json`; UsageError for anything else."""
    try:
        found = {str(name): [Agreement(**row) for row in rows] for name, rows in values["codecs"].items()}
        shown = tables(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is no determinism.json of `taskodec bench --determinism`: run it anew") from error
    return RunPart(
        "Determinism",
        "Whether other ways to compute choose the same tables.",
        [],
        [TableLike(t.title, t.header, t.rows) for t in shown],
    )
