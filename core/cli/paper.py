"""`taskodec paper`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common

if TYPE_CHECKING:
    from taskodec.evaluation.paper import Cell

__all__ = ["paper"]


def paper(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where results are, or will be.")] = Path(
        "runs/paper"
    ),
    commands: Annotated[
        bool, typer.Option("--commands", help="Print the calls that measure, one for a preset.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each row.")] = False,
) -> None:
    """Print the published table of test-time fine-tuning beside what was measured with the presets of the paper.

    FOLDER has a folder of `taskodec eval` for each preset: cls-closed, det-closed, det-open, seg-closed, seg-open.
    """
    from taskodec.evaluation.paper import COLUMNS, ROWS, command, measured

    if commands:
        calls = [
            command(row, column, folder)
            for row in ROWS
            if row.preset
            for column in COLUMNS
            if column.task in row.published
        ]
        print("\n".join(dict.fromkeys(calls)))
        return
    found = measured(folder)
    if as_json:
        for row in ROWS:
            tasks = {
                column.task: _as_json(row.published.get(column.task), found.get((row.title, column.task)))
                for column in COLUMNS
            }
            common.print_json({"row": row.title, **tasks})
        return
    from taskodec.bench.tables import Table, print_report

    cells = [
        [_text(row.published.get(c.task), found.get((row.title, c.task)), row.preset is not None) for c in COLUMNS]
        for row in ROWS
    ]
    title = "BD-rate % / gain against plain TIC: published | measured here"
    table = Table(
        title, ("", *(c.title for c in COLUMNS)), [(row.title, *own) for row, own in zip(ROWS, cells, strict=True)]
    )
    print_report([table], _notes(found))


def _notes(found: dict[tuple[str, str], tuple[Cell, int]]) -> list[str]:
    images = "; ".join(f"{task}, {row}: {count} images" for (row, task), (_, count) in found.items())
    return [
        "published rates are summed likelihoods, of pictures resized to multiples of 256; those here are of real files",
        f"measured: {images}" if found else "nothing is measured yet: `taskodec paper --commands` prints the calls",
    ]


def _text(published: Cell | None, own: tuple[Cell, int] | None, ours: bool) -> str:
    if published is None:
        return "-"
    mine = "" if not ours else f" | {_pair(own[0]) if own else 'not measured'}"
    return _pair(published) + mine


def _pair(cell: Cell) -> str:
    rate = "-" if cell.rate is None else f"{cell.rate:+.2f}"
    return f"{rate} / {'-' if cell.gain is None else f'{cell.gain:.2f}'}"


def _as_json(published: Cell | None, own: tuple[Cell, int] | None) -> dict[str, object]:
    return {
        "published": published and vars(published),
        "measured": own and {**vars(own[0]), "images": own[1]},
    }
