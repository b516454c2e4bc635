"""The published table of test-time fine-tuning, beside what `taskodec eval` has measured with the presets of the paper.

Park et al., CVPR 2025: BD-rates in percent against plain TIC, and the gain in the task's figure at equal rate. Light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskodec.console.terminal import shown
from taskodec.errors import UsageError
from taskodec.files.atomic import read_limited
from taskodec.files.json_text import parse_json

__all__ = ["COLUMNS", "ROWS", "Cell", "Column", "PaperRow", "command", "measured"]


MAX_BYTES = 2**26
"""Of a summary."""


@dataclass(frozen=True)
class Cell:
    """A BD-rate in percent, and a gain in the column's units; None where there is none."""

    rate: float | None
    gain: float | None


@dataclass(frozen=True)
class Column:
    """A task, its main figure in our reports, and in how many units of that the paper gives gains."""

    task: str
    title: str
    metric: str
    units: float


@dataclass(frozen=True)
class PaperRow:
    """A row of the table: cells by task. `preset` ends the presets' names and `method` is ours; both None of others."""

    title: str
    published: Mapping[str, Cell]
    preset: str | None = None
    method: str | None = None


COLUMNS = (
    Column("seg", "instance segmentation, mask AP", "mask_ap", 100),
    Column("det", "detection, AP", "ap", 100),
    Column("cls", "classification, top-1", "top1", 1),
)


def _cells(seg: tuple[float, float], det: tuple[float, float], cls: tuple[float, float] | None) -> dict[str, Cell]:
    known = {"seg": Cell(*seg), "det": Cell(*det)}
    return known if cls is None else {**known, "cls": Cell(*cls)}


ROWS = (
    PaperRow("full fine-tuning", _cells((-75.55, 4.00), (-66.00, 4.10), (-100, 0.16))),
    PaperRow("TIC+SFT", _cells((-40.24, 1.67), (-27.24, 1.45), (-61.53, 0.11))),
    PaperRow("TransTIC", _cells((-47.45, 2.34), (-46.64, 2.71), (-58.76, 0.10))),
    PaperRow("closed set, pre-trained", _cells((-43.44, 1.99), (-38.62, 2.17), (-50.67, 0.08)), "closed", "pretrained"),
    PaperRow("closed set, with TTFT", _cells((-56.49, 2.68), (-54.96, 2.98), (-70.04, 0.14)), "closed", "ttft"),
    PaperRow("open set, without TTFT", _cells((-32.48, 1.97), (-29.61, 1.87), None), "open", "pretrained"),
    PaperRow("open set, with TTFT", _cells((-49.51, 2.43), (-48.94, 2.69), None), "open", "ttft"),
)


def command(row: PaperRow, column: Column, folder: Path) -> str:
    """The call that measures a cell, with the data sets as in docs/data.md; its folder has both rows of the preset."""
    name = f"{column.task}-{row.preset}"
    coco = "coco/annotations/instances_val2017.json"
    data = "ILSVRC2012/val" if column.task == "cls" else coco
    return (
        f"taskodec eval --config taskodec:paper/{name} --data {data} --labels {data} --methods plain,pretrained,ttft "
        f"--qualities 1,2,3,4 -o {folder / name}"
    )


def measured(folder: Path) -> dict[tuple[str, str], tuple[Cell, int]]:
    """What folders below `folder`, named as the presets, have: by row and task, the cell and the number of images.

    UsageError for a summary that is none.
    """
    found = {}
    for row in ROWS:
        for column in COLUMNS:
            path = folder / f"{column.task}-{row.preset}" / "summary.json"
            if row.preset is None or not path.is_file():
                continue
            try:
                summary = parse_json(read_limited(path, MAX_BYTES))
                cell = _cell(summary, str(row.method), column)
                if cell is not None:
                    found[row.title, column.task] = (cell, int(_number(summary["images"])))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{path} is no summary of `taskodec eval`: {error!r}; measure again") from error
    return found


def _cell(summary: Mapping[str, Any], method: str, column: Column) -> Cell | None:
    """A method against plain by the column's figure, or by that of the network's own predictions without labels."""
    for each in summary["comparisons"]:
        if (each["method"], each["anchor"], each["metric"]) == (method, "plain", column.metric):
            rate, gain = each["rate_estimate"], each["value_estimate"]
            return Cell(rate and _number(rate["value"]), gain and column.units * _number(gain["value"]))
    return None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise ValueError(f"found {shown(value)}, expected a number")
    return value
