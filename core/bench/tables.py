"""Tables of a report, in a terminal and as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from taskodec.console.terminal import escaped, raw

__all__ = ["Table", "markdown_tables", "print_report"]


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and rows of as many cells."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def print_report(tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Tables, then a line for each note, on standard output; no name in them is taken for a command."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Shown
    from rich.text import Text

    console = Console(highlight=False, file=raw(sys.stdout))
    if not console.is_terminal:
        console.width = 160
    for table in tables:
        title = Text(escaped(table.title), style="table.title")
        shown = Shown(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, head in enumerate(table.header):
            shown.add_column(Text(escaped(head)), justify="left" if number == 0 else "right")
        for row in table.rows:
            shown.add_row(*(Text(escaped(cell)) for cell in row))
        console.print(shown)
    for note in notes:
        console.print(Text(escaped(note)))


def markdown_tables(tables: Sequence[Table]) -> list[str]:
    """A heading and a table for each, as paragraphs."""
    parts = []
    for table in tables:
        rows = [tuple(escaped(cell).replace("|", r"\|") for cell in row) for row in table.rows]
        lines = [table.header, ("---", *["---:"] * (len(table.header) - 1)), *rows]
        parts += [f"## {table.title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return parts
