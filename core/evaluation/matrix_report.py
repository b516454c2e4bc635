"""The matrix of judges as tables: who is better served by which method, and how many are satisfied."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.bench.tables import Table
from taskodec.evaluation.deltas import Estimate
from taskodec.evaluation.matrix import JudgeMatrix, MatrixCell, Satisfied, Unseen

__all__ = ["judge_notes", "judge_tables"]

SEEN = "*"
TITLES = {"loss": "their losses", "figure": "their main figures"}

MATRIX_NOTE = (
    "of judges: BD-rate against {baseline} by what each says; * marks files made for this judge, and the mean "
    "is over the others that have a BD-rate. In brackets: 95 % intervals, bootstrap over images"
)
SATISFIED_NOTE = (
    "satisfied machine ratio: share of judges and images whose answer is that to the original (arXiv:2211.06797)"
)


def judge_tables(matrix: JudgeMatrix) -> list[Table]:
    """The matrix by losses and by main figures, a judge a row, and the satisfied machine ratio."""
    tables = []
    for by, title in TITLES.items():
        cells = [cell for cell in matrix.cells if (cell.metric == "task_loss") == (by == "loss")]
        if cells:
            tables.append(Table(f"Judged by {title}", _head(cells), _rows(matrix, cells, by)))
    rows = [_satisfied(one) for one in matrix.satisfied if one.every is not None]
    if rows:
        tables.append(Table("Satisfied machine ratio", ("method", "quality", "bpp", "unseen judges", "all"), rows))
    return tables


def judge_notes(matrix: JudgeMatrix) -> list[str]:
    """What the tables mean, and everything that could not be compared."""
    notes = [MATRIX_NOTE.format(baseline=matrix.baseline)] if matrix.cells else []
    if not matrix.baseline:
        notes.append("no BD-rates of judges: there is no method plain to compare with")
    answering = {name for one in matrix.satisfied for name in one.judges}
    notes += [SATISFIED_NOTE] * bool(answering)
    if silent := [name for name in matrix.judges if name not in answering]:
        notes.append(f"no satisfied machine ratio of {', '.join(silent)}: what they say is no matter of yes or no")
    problems: dict[str, list[str]] = {}
    for cell in matrix.cells:
        if cell.rate.value is None:
            problems.setdefault(cell.rate.problem, []).append(f"{cell.method} by {cell.judge}'s {cell.metric}")
    return notes + [f"no BD-rate: {problem} ({', '.join(which)})" for problem, which in problems.items()]


def _head(cells: Sequence[MatrixCell]) -> tuple[str, ...]:
    made_for = {cell.method: cell.made_for for cell in cells}
    return ("judge", *(_column(method, task) for method, task in made_for.items()))


def _column(method: str, made_for: str) -> str:
    return f"{method}, for {made_for}" if made_for and not method.endswith(f"={made_for}") else method


def _rows(matrix: JudgeMatrix, cells: Sequence[MatrixCell], by: str) -> list[tuple[str, ...]]:
    methods = list(dict.fromkeys(cell.method for cell in cells))
    found = {(cell.judge, cell.method): cell for cell in cells}
    rows = []
    for judge in matrix.judges:
        own = [found[judge, method] for method in methods if (judge, method) in found]
        if own:
            name = judge if by == "loss" else f"{judge}: {own[0].metric}"
            rows.append((name, *(f"{_percent(cell.estimate)}{SEEN * cell.seen}" for cell in own)))
    means = {mean.method: mean for mean in matrix.means if mean.by == by}
    if means:
        rows.append(("mean of unseen", *(_mean(means.get(method)) for method in methods)))
    return rows


def _mean(found: Unseen | None) -> str:
    if found is None or not found.judges:
        return "-"
    some = f" ({len(found.judges)} of {len(found.judges) + len(found.left_out)})" if found.left_out else ""
    return _percent(found.estimate) + some


def _satisfied(one: Satisfied) -> tuple[str, ...]:
    quality = "-" if one.quality is None else f"{one.quality:g}"
    rate = "-" if one.bpp is None else f"{one.bpp:.4f}"
    return (one.method, quality, rate, _ratio(one.unseen), _ratio(one.every))


def _percent(found: Estimate | None) -> str:
    if found is None:
        return "-"
    interval = "" if found.low is None else f" [{found.low:+.1f}, {found.high:+.1f}]"
    return f"{found.value:+.1f} %{interval}"


def _ratio(found: Estimate | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.3f}" + ("" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]")
