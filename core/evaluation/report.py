"""An evaluation's summary as tables in a terminal, as Markdown, as JSON, and as plots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskodec.bench.plots import name_curves, new_figure, plain, save_figure
from taskodec.bench.tables import Table, markdown_tables, print_report
from taskodec.evaluation.deltas import Comparison, CurveChange, Estimate
from taskodec.evaluation.matrix_report import judge_notes, judge_tables
from taskodec.evaluation.summary import EvaluationSummary, MethodPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["as_json", "markdown", "notes", "plot", "print_tables", "tables"]

BD_NOTE = (
    "BD-rate: bits more (+) or fewer (-) than the anchor for the same figure. BD-metric: how much higher the figure is "
    "at the same rate. Both PCHIP over log-rate, of the curves of means in the first table. In brackets: 95 % "
    "intervals, bootstrap over images"
)
BEST_NOTE = (
    "at the anchor's best: bits more (+) or fewer (-), at most, with which the method reaches the best figure that the "
    "anchor was measured with; of measured points, without a curve"
)
CHANGE_NOTE = (
    "curves marked * did not ascend, and deltas are those of their isotonic regression over the rate, of which points "
    "that it puts level are one for the BD-rate; both are in the table of curves made monotone"
)


def as_json(summary: EvaluationSummary) -> dict[str, Any]:
    """The summary as plain values."""
    return asdict(summary)


def print_tables(summary: EvaluationSummary) -> None:
    """The summary on standard output."""
    print_report(tables(summary), notes(summary))


def markdown(summary: EvaluationSummary, plots: Sequence[Path] = ()) -> str:
    """The summary as Markdown, with the plots in it."""
    parts = [f"# Evaluation of {summary.task}", *markdown_tables(tables(summary))]
    parts.append("\n".join(f"- {note}" for note in notes(summary)))
    parts += [f"![{path.stem}]({path.name})" for path in plots if path.suffix == ".png"]
    return "\n\n".join(parts) + "\n"


def plot(summary: EvaluationSummary, folder: Path) -> list[Path]:
    """One plot of every metric over the rate, as PNG and as SVG; needs no display."""
    written = []
    for metric in summary.metrics:
        figure = new_figure()
        _draw(figure.add_subplot(), metric, summary)
        name_curves(figure)
        written += save_figure(figure, folder / f"rate_{re.sub('[^a-z0-9]+', '_', metric.lower())}")
    return written


def tables(summary: EvaluationSummary) -> list[Table]:
    """Figures by method and quality, deltas, and curves that were made monotone."""
    metrics = [f"{metric}{'' if better else ' (low is good)'}" for metric, better in summary.metrics.items()]
    rates = Table(
        f"{summary.task} over {summary.images} image{'s' * (summary.images != 1)}",
        ("method", "quality", "bpp", "latents", "adapter", "header", "seconds", *metrics),
        [_point(point, summary) for point in summary.points],
    )
    deltas = Table(
        "Against anchors",
        ("method", "against", "by", "BD-rate", "from ... to", "BD-metric", "at the anchor's best"),
        [_comparison(each) for each in summary.comparisons],
    )
    changes = Table(
        "Curves made monotone",
        ("method", "by", "measured: bpp, figure", "used instead", "qualities that became one point"),
        [_change(each) for each in summary.changes],
    )
    judged = judge_tables(summary.judged) if summary.judged else []
    return [table for table in (rates, deltas, *judged, changes) if table.rows]


def _point(point: MethodPoint, summary: EvaluationSummary) -> tuple[str, ...]:
    parts = (point.bpp.value if point.bpp else None, point.bpp_latent, point.bpp_adapter, point.bpp_header)
    seconds = _number(point.seconds, ".2f")
    main, *others = summary.metrics  # intervals of all of them would not fit; they are in the JSON
    figures = [_estimate(point.figures[main], ".4f"), *(f"{point.figures[m].value:.4f}" for m in others)]
    return (point.method, _number(point.quality, "g"), *(_number(part, ".4f") for part in parts), seconds, *figures)


def _comparison(each: Comparison) -> tuple[str, ...]:
    named = [f"{name}{'*' * (name in each.changed)}" for name in (each.method, each.anchor)]
    span = "-" if each.rate.value is None else f"{each.rate.low:.4g} to {each.rate.high:.4g}"
    rate, value = _estimate(each.rate_estimate, "+.1f", " %"), _estimate(each.value_estimate, "+.4f")
    return (*named, each.metric, rate, span, value, _number(each.at_best, "+.1f", " %"))


def _change(change: CurveChange) -> tuple[str, ...]:
    raw, used = (
        "; ".join(f"{rate:.4f}, {value:.4f}" for rate, value in points) for points in (change.raw, change.used)
    )
    level = "; ".join("+".join(_number(quality, "g") for quality in block) for block in change.level)
    return (change.method, change.metric, raw, used, level)


def _estimate(estimate: Estimate | None, form: str, unit: str = "") -> str:
    if estimate is None:
        return "-"
    text = f"{estimate.value:{form}}{unit}"
    if estimate.low is None:
        return text
    return f"{text} [{estimate.low:{form}}, {estimate.high:{form}}]"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def notes(summary: EvaluationSummary) -> list[str]:
    """What the tables mean, and everything that could not be compared; equal remarks become one."""
    said = [_about(method, about) for method, about in summary.about.items() if about]
    said += [BD_NOTE, BEST_NOTE] * bool(summary.comparisons) + [CHANGE_NOTE] * bool(summary.changes)
    said += judge_notes(summary.judged) if summary.judged else []
    if summary.left_out:
        said.append(f"{summary.left_out} images left out: not all of their rows are measured yet")
    remarks: dict[str, list[str]] = {}
    for each in summary.comparisons:
        pair = f"{each.method} against {each.anchor} by {each.metric}"
        for remark in _remarks(each, summary.resamples):
            remarks.setdefault(remark, []).append(pair)
    return said + [f"{remark} ({', '.join(pairs)})" for remark, pairs in remarks.items()]


def _remarks(each: Comparison, resamples: int) -> list[str]:
    remarks = []
    for what, delta, estimate in (
        ("BD-rate", each.rate, each.rate_estimate),
        ("BD-metric", each.value, each.value_estimate),
    ):
        if delta.value is None:
            remarks.append(f"no {what}: {delta.problem}{_bound(each) if what == 'BD-rate' else ''}")
        elif estimate and estimate.resamples < resamples:
            remarks.append(f"{what}: in {resamples - estimate.resamples} of {resamples} resamples there is none")
    if each.resamples_changed:
        remarks.append(f"curves were made monotone in {each.resamples_changed} of {resamples} resamples")
    return remarks


def _bound(each: Comparison) -> str:
    """What holds for certain where curves do not overlap."""
    if each.at_best is not None and each.at_best < 0:
        return f"; at the anchor's best figure the method saves {-each.at_best:.1f} % at least"
    if each.anchor_at_best is not None and each.anchor_at_best < 0:
        return f"; at the method's best figure the anchor saves {-each.anchor_at_best:.1f} % at least"
    return ""


def _about(method: str, about: Any) -> str:
    if "anchor" in about:
        return f"{method}: {about['anchor']}"
    adapter = f"adapter {about['adapter']}, {about['adapter_fingerprint']}" if about["adapter"] else "no adapter"
    tuning = f"{about['steps']} steps of {', then '.join(about['phases'])}" if about["steps"] else "no tuning"
    codec = f"codec {about['codec']}, weights {about['codec_fingerprint']}"
    return "; ".join([f"{method}: {codec}", adapter, tuning, *about["notes"]])


def _draw(axes: Axes, metric: str, summary: EvaluationSummary) -> None:
    """Curves as they were measured, with intervals; a dashed line where another was used; the originals' as a level."""
    ends, anchors_end = [], 0.0
    names = list(dict.fromkeys(point.method for point in summary.points))
    for number, name in enumerate(names):
        points = [point for point in summary.points if point.method == name]
        if points[0].kind == "original":
            axes.axhline(points[0].figures[metric].value, color="0.4", linewidth=1, linestyle=":", label="original")
            continue
        strong = points[0].kind != "anchor"
        rates = [point.bpp.value for point in points if point.bpp]
        figures = [point.figures[metric] for point in points]
        style: dict[str, Any] = {"color": f"C{number}", "linewidth": 2.2 if strong else 1.2, "markersize": 4}
        spread = None
        if all(figure.low is not None for figure in figures):
            below = [max(0.0, f.value - (f.low or 0.0)) for f in figures]
            spread = [below, [max(0.0, (f.high or 0.0) - f.value) for f in figures]]
        marker = "o" if strong else "s"
        axes.errorbar(
            rates, [f.value for f in figures], spread, label=plain(name), marker=marker, elinewidth=0.6, **style
        )
        for change in summary.changes:
            if (change.method, change.metric) == (name, metric):
                axes.plot(*zip(*change.used, strict=True), color=f"C{number}", linewidth=1, linestyle="--")
        anchors_end = max(anchors_end, rates[-1])
        ends += [rates[-1]] * strong
    axes.set(xlim=(0, 1.15 * max(ends, default=anchors_end) or 1), xlabel="bits per pixel", ylabel=plain(metric))
    axes.grid(alpha=0.3)
