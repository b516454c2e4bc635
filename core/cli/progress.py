"""The progress bar of tuning and training, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taskodec.console.progress import Progress
from taskodec.console.terminal import escaped, raw

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

__all__ = ["Progress", "progress_bar"]

LONGEST_LABEL = 24
BESIDE = 22
"""Columns of a line that are not label, steps or figures: a short bar, the time left, what is between them."""


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Progress | None]:
    """A callback `progress(step, total, info)` that draws, or None when nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(*_columns(), console=Console(file=raw(sys.stderr)), transient=True, expand=True) as bar:
        shown = _short(escaped(label))
        task = bar.add_task(shown, total=None, info="")

        def update(step: int, total: int, info: dict[str, float]) -> None:
            text = _figures(info, bar.console.width - len(shown) - 2 * len(str(total)) - BESIDE)
            if bar.tasks[0].total is None:  # a resumed run starts in the middle, which tells nothing of its speed
                bar.reset(task, completed=step, total=total, info=text)
            bar.update(task, completed=step, total=total, info=text)

        yield update


def _columns() -> list[ProgressColumn]:
    """Label, bar, count, figures and time, on one line; the bar takes what the others leave."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    def kept(**more: Any) -> Column:
        return Column(no_wrap=True, **more)

    return [
        TextColumn("{task.description}", markup=False, table_column=kept()),
        BarColumn(bar_width=None, table_column=kept(ratio=1, min_width=4)),
        MofNCompleteColumn(table_column=kept()),
        TextColumn("{task.fields[info]}", markup=False, table_column=kept()),
        TimeRemainingColumn(compact=True, table_column=kept()),
    ]


def _figures(info: dict[str, float], room: int) -> str:
    """As many of the figures, the first ones, as so many columns have room for."""
    text = ""
    for key, value in info.items():
        more = f"{text} {escaped(key)} {value:.4g}".lstrip()
        if len(more) > room:
            break
        text = more
    return text


def _short(label: str) -> str:
    """A label whose end stays to be read: of files, that is where names differ."""
    return label if len(label) <= LONGEST_LABEL else f"…{label[1 - LONGEST_LABEL :]}"
