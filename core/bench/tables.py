"""Tables of a report, in a terminal and as Markdown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskodec.console.terminal import escaped, raw

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

__all__ = ["Table", "markdown_tables", "print_report"]

NAME = 28
"""Columns up to which a row's name is not broken."""


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and rows of as many cells."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def print_report(tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Tables, then a line for each note, on standard output; no name in them is taken for a command.

    A table that is wider than the terminal becomes several, each with the columns that name its rows.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, file=raw(sys.stdout))
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    for table in tables:
        for part in _fitting(table, console):
            console.print(_shown(part, whole=_least(part, console) <= console.width))
    for note in notes:
        console.print(Text(escaped(note)))


def _least(table: Table, console: Console) -> int:
    """The columns that it takes with whole cells."""
    return console.measure(_shown(table, whole=True), options=console.options.update(max_width=2**16)).minimum


def _shown(table: Table, whole: bool) -> RichTable:
    """As rich draws it: heads break between words, and cells only if they need not stay whole."""
    from rich import box
    from rich.table import Table as Shown
    from rich.text import Text

    title = Text(escaped(table.title), style="table.title")
    shown = Shown(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(table.header):
        longest = max((len(escaped(row[number])) for row in table.rows), default=0)
        least = longest if whole and (number or longest <= NAME) else None
        shown.add_column(Text(escaped(head)), justify="left" if number == 0 else "right", min_width=least)
    for row in table.rows:
        shown.add_row(*(Text(escaped(cell)) for cell in row))
    return shown


def _fitting(table: Table, console: Console) -> Iterator[Table]:
    """The table in as many parts as the console's width asks for; a column too wide for it is broken after all."""
    names = _names(table)
    part: list[int] = []
    for number in range(names, len(table.header)):
        wider = _part(table, names, [*part, number])
        if part and _least(wider, console) > console.width:
            yield _part(table, names, part)
            part = []
        part.append(number)
    yield _part(table, names, part)


def _part(table: Table, names: int, columns: Sequence[int]) -> Table:
    kept = [*range(names), *columns]
    return Table(
        table.title,
        tuple(table.header[number] for number in kept),
        [tuple(row[number] for number in kept) for row in table.rows],
    )


def _names(table: Table) -> int:
    """How many of the first columns it takes to tell rows apart, at most three."""
    telling = (count for count in (1, 2) if len({row[:count] for row in table.rows}) == len(table.rows))
    return min(next(telling, 3), len(table.header))


def markdown_tables(tables: Sequence[Table]) -> list[str]:
    """A heading and a table for each, as paragraphs."""
    parts = []
    for table in tables:
        rows = [tuple(escaped(cell).replace("|", r"\|") for cell in row) for row in table.rows]
        lines = [table.header, ("---", *["---:"] * (len(table.header) - 1)), *rows]
        parts += [f"## {table.title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return parts
