"""An ablation as tables in a terminal, as Markdown, as JSON, and as plots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskodec.bench.plots import new_figure, plain, save_figure
from taskodec.bench.tables import Table, markdown_tables, print_report
from taskodec.evaluation.ablation_summary import CaseSummary, Line
from taskodec.evaluation.deltas import Estimate
from taskodec.evaluation.matrix_report import judge_notes, judge_tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["as_json", "markdown", "notes", "plot", "print_tables", "tables"]

NOTES = (
    "cost: lmbda * task loss + bits per pixel of the file, on average over images and qualities; lmbda is the same for "
    "all variants of an image at a quality. Adapter: bits of one file",
    "ratios of costs and seconds are geometric means over images and qualities; in brackets: 95 % intervals, bootstrap "
    "over images",
    "worse: files that cost more than the stream before tuning",
    "seconds: all of coding an image, with one thread; a step: from one step of tuning to the next",
)

CLOCKS = {
    "seconds": "seconds as they pass: they compare only on a machine that does nothing else",
    "cpu_seconds": "seconds of the processor's time",
}


def as_json(summaries: Sequence[CaseSummary]) -> dict[str, Any]:
    """The summaries as plain values."""
    return {"cases": [asdict(summary) for summary in summaries]}


def print_tables(summaries: Sequence[CaseSummary]) -> None:
    """The summaries on standard output."""
    print_report(tables(summaries), notes(summaries))


def markdown(summaries: Sequence[CaseSummary], plots: Sequence[Path] = ()) -> str:
    """The summaries as Markdown, with the plots, and what each variant is."""
    parts = ["# Ablation of test-time fine-tuning", *markdown_tables(tables(summaries))]
    parts.append("\n".join(f"- {note}" for note in notes(summaries)))
    parts += ["## Variants", "\n".join(f"- `{line.variant}`: {line.about}" for line in summaries[0].lines)]
    parts += [f"![{path.stem}]({path.name})" for path in plots if path.suffix == ".png"]
    return "\n\n".join(parts) + "\n"


def plot(summaries: Sequence[CaseSummary], folder: Path) -> list[Path]:
    """For each case the costs of the variants over their seconds, as PNG and as SVG; needs no display."""
    written = []
    for summary in summaries:
        figure = new_figure()
        _draw(figure.add_subplot(), summary)
        stem = re.sub("[^a-z0-9]+", "_", f"{summary.codec} {summary.task}".lower())
        written += save_figure(figure, folder / f"cost_seconds_{stem}")
    return written


def tables(summaries: Sequence[CaseSummary]) -> list[Table]:
    """The overview, then those of each case."""
    found = [_overview(summaries)]
    for summary in summaries:
        found += [_costs(summary), _figures(summary), _rates(summary)]
        found += judge_tables(summary.judged) if summary.judged else []
    return [table for table in found if table.rows]


def _overview(summaries: Sequence[CaseSummary]) -> Table:
    """Ours against the baseline, in one row for each case."""
    baseline, ours = summaries[0].baseline, summaries[0].ours
    rows = []
    for summary in summaries:
        line, fastest = summary.line(ours), "-"
        if summary.fastest is not None:
            fastest = f"{_ratio(summary.line(summary.fastest).seconds_of_baseline)} ({summary.fastest})"
        rows.append(
            (
                summary.codec,
                summary.task,
                _ratio(line.cost_of_baseline),
                _number(line.adapter_of_baseline, ".3f"),
                _ratio(line.step_of_baseline),
                fastest,
                _delta(summary, ours, next(iter(summary.metrics))),
                _delta(summary, ours, "task_loss"),
                f"{line.worse} of {line.rows}",
            )
        )
    return Table(
        f"{ours}, as a multiple of {baseline}",
        (
            "codec",
            "task",
            "cost",
            "adapter's bits",
            "seconds a step",
            f"seconds to the cost of {baseline}",
            "BD-rate, main figure",
            "BD-rate, task loss",
            "worse",
        ),
        rows,
    )


def _costs(summary: CaseSummary) -> Table:
    return Table(
        f"{_title(summary)}: what it costs",
        (
            "variant",
            "cost",
            f"of {summary.baseline}",
            f"of {summary.ours}",
            "bpp",
            "adapter",
            f"of {summary.baseline}",
            "worse",
        ),
        [
            (
                line.variant,
                f"{line.cost:.4f}",
                _ratio(line.cost_of_baseline),
                _ratio(line.cost_of_ours),
                f"{line.bpp:.4f}",
                f"{line.adapter_bits:.0f}",
                _number(line.adapter_of_baseline, ".3f"),
                f"{line.worse} of {line.rows}",
            )
            for line in summary.lines
        ],
    )


def _figures(summary: CaseSummary) -> Table:
    metrics = {metric: better for metric, better in summary.metrics.items() if metric != "task_loss"}
    return Table(
        f"{_title(summary)}: what the task sees, and how long it takes",
        (
            "variant",
            "task loss",
            *(f"{metric}{'' if better else ' (low is good)'}" for metric, better in metrics.items()),
            "steps",
            "seconds",
            f"of {summary.baseline}",
            "a step",
            f"of {summary.baseline}",
        ),
        [
            (
                line.variant,
                f"{line.task_loss:.4g}",
                *(f"{line.metrics[metric]:.4f}" for metric in metrics),
                f"{line.steps:.0f}",
                f"{line.seconds:.2f}",
                _ratio(line.seconds_of_baseline, spread=False),
                _number(line.step_seconds, ".3f"),
                _ratio(line.step_of_baseline, spread=False),
            )
            for line in summary.lines
        ],
    )


def _rates(summary: CaseSummary) -> Table:
    """BD-rates, of the variants that have some."""
    rows = [
        (line.variant, *(_delta(summary, line.variant, metric) for metric in summary.metrics))
        for line in summary.lines
        if any(each.method == line.variant for each in summary.comparisons)
    ]
    return Table(f"{_title(summary)}: BD-rate against {summary.baseline}", ("variant", *summary.metrics), rows)


def _title(summary: CaseSummary) -> str:
    qualities = ", ".join(f"{quality:g}" for quality in summary.qualities)
    images = f"{summary.images} image{'s' * (summary.images != 1)}"
    many = "quality" if len(summary.qualities) == 1 else "qualities"
    return f"{summary.codec}, {summary.task}, {images}, {many} {qualities}"


def _delta(summary: CaseSummary, variant: str, metric: str) -> str:
    found = [each for each in summary.comparisons if (each.method, each.metric) == (variant, metric)]
    estimate = found[0].rate_estimate if found else None
    if estimate is None:
        return "-"
    changed = "*" * bool(found[0].changed)
    spread = "" if estimate.low is None else f" [{estimate.low:+.1f}, {estimate.high:+.1f}]"
    return f"{estimate.value:+.1f} %{changed}{spread}"


def _ratio(estimate: Estimate | None, *, spread: bool = True) -> str:
    if estimate is None:
        return "-"
    shown = spread and estimate.low is not None
    return f"{estimate.value:.3f}" + (f" [{estimate.low:.3f}, {estimate.high:.3f}]" if shown else "")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def notes(summaries: Sequence[CaseSummary]) -> list[str]:
    """What the tables mean, what was measured with, and what could not be compared."""
    said = list(NOTES)
    for summary in summaries:
        case = f"{summary.codec}, {summary.task}"
        said.append(f"{case}: {CLOCKS[summary.clock]}")
        about = summary.about[summary.ours]
        adapter = f"adapter {about['adapter']}" if about["adapter"] else "no adapter"
        said.append(f"{case}: weights {about['codec_fingerprint']}, {adapter} in {summary.ours}")
        weights = ", ".join(f"{weight:.4g} at {quality:g}" for quality, weight in summary.lmbda.items())
        said.append(f"{case}: lmbda {weights}")
        said += [f"{case}: {note}" for note in (*summary.notes, *about["notes"])]
        said += judge_notes(summary.judged) if summary.judged else []
        if summary.left_out:
            said.append(f"{case}: not all rows of {summary.left_out} more images are measured yet: they are left out")
        if any(each.changed for each in summary.comparisons):
            said.append(f"{case}: * of curves that did not ascend, by their isotonic regression over the rate")
        problems: dict[str, list[str]] = {}
        for each in summary.comparisons:
            if each.rate.value is None:
                problems.setdefault(each.rate.problem, []).append(f"{each.method} by {each.metric}")
        said += [f"{case}: no BD-rate, {problem} ({', '.join(of)})" for problem, of in problems.items()]
    return said


def _draw(axes: Axes, summary: CaseSummary) -> None:
    """A point for each variant, the baseline at 1, with intervals."""
    for line in summary.lines:
        style: dict[str, Any] = {"color": _colour(line, summary), "marker": "o", "markersize": 5, "elinewidth": 0.6}
        ratio = line.cost_of_baseline or Estimate(1.0)
        spread = None
        if ratio.low is not None and ratio.high is not None:
            spread = [[max(0.0, ratio.value - ratio.low)], [max(0.0, ratio.high - ratio.value)]]
        axes.errorbar([line.seconds], [ratio.value], spread, **style)
        axes.annotate(
            plain(line.variant),
            (line.seconds, ratio.value),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize="small",
        )
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="seconds an image", ylabel=plain(f"cost, as a multiple of {summary.baseline}"))
    axes.set_title(plain(_title(summary)))
    axes.grid(alpha=0.3)


def _colour(line: Line, summary: CaseSummary) -> str:
    return {summary.baseline: "C3", summary.ours: "C2"}.get(line.variant, "C0")
