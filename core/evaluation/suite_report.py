"""The suite of losses as a table in a terminal, as Markdown, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from taskodec.bench.tables import Table, markdown_tables, print_report
from taskodec.evaluation.suite import GAIN, Suite, SuiteResult, SuiteSummary

__all__ = ["as_json", "markdown", "print_tables", "table"]

HEADER = (
    "loss",
    "of untuned",
    "grid",
    "of the grid",
    "worst",
    "setting",
    "of it",
    "untuned",
    "missed",
    "worse",
    "BD-rate",
    "seconds",
)


def as_json(summary: SuiteSummary) -> dict[str, Any]:
    """The summary as plain values."""
    return asdict(summary)


def print_tables(summary: SuiteSummary, suite: Suite) -> None:
    """The summary on standard output."""
    print_report([table(summary)], _notes(summary, suite))


def markdown(summary: SuiteSummary, suite: Suite) -> str:
    """The summary as Markdown, with the settings of the grid."""
    parts = ["# One way to tune, and a suite of losses", *markdown_tables([table(summary)])]
    parts.append("\n".join(f"- {note}" for note in _notes(summary, suite)))
    parts += ["## Settings", "\n".join(f"- `{v.name}`: {v.about}" for v in suite.variants.variants)]
    return "\n\n".join(parts) + "\n"


def table(summary: SuiteSummary) -> Table:
    """A row for each loss, and one for all."""
    rows = [_row(result) for result in summary.results]
    missed, worse = (str(sum(getattr(r, name) for r in summary.results)) for name in ("missed", "worse"))
    total = (f"{summary.of_untuned:.3f}", "", f"{summary.of_grid:.3f}, worst {summary.worst:.3f}")
    rows.append(("all", *total, "", "", "", "", missed, worse, "", ""))
    return Table("Cost of the default for each loss", HEADER, rows)


def _row(r: SuiteResult) -> tuple[str, ...]:
    return (
        r.loss,
        f"{r.of_untuned:.3f}",
        f"{r.grid_of_untuned:.3f}",
        f"{r.of_grid:.3f}",
        f"{r.worst_of_grid:.3f}",
        r.setting,
        f"{r.of_setting:.3f}",
        f"{r.untuned} of {r.rows}",
        str(r.missed),
        str(r.worse),
        "-" if r.bd_rate is None else f"{r.bd_rate:+.1f} %",
        f"{r.seconds:.1f}",
    )


def _notes(summary: SuiteSummary, suite: Suite) -> list[str]:
    return [
        "costs: lmbda * loss + bits per pixel of the file, as geometric means of ratios over photographs and "
        "qualities; all: over losses",
        f"grid, of untuned: the cheapest of {', '.join(suite.grid)}, chosen anew for each photograph and quality",
        "worst: of the grid, for one photograph; setting: the one of the grid that is best for all, and the cost of it",
        f"missed: sent untuned where the grid gains {GAIN:.0%} or more; worse: dearer than untuned",
        "BD-rate: by the loss, against untuned files; seconds: the processor's, for one photograph",
        *summary.notes,
    ]
