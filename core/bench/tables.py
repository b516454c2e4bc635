"""Tables of a report, in a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Table", "markdown_tables", "print_report"]


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and rows of as many cells."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def print_report(tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Tables, then a line for each note, on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Shown

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    for table in tables:
        shown = Shown(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, head in enumerate(table.header):
            shown.add_column(head, justify="left" if number == 0 else "right")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for note in notes:
        console.print(note, markup=False)


def markdown_tables(tables: Sequence[Table]) -> list[str]:
    """A heading and a table for each, as paragraphs."""
    parts = []
    for table in tables:
        lines = [table.header, ("---", *["---:"] * (len(table.header) - 1)), *table.rows]
        parts += [f"## {table.title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return parts
