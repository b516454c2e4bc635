"""The progress bar of tuning and training, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from taskodec.console.progress import Progress
from taskodec.console.terminal import escaped, raw

__all__ = ["Progress", "progress_bar"]


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Progress | None]:
    """A callback `progress(step, total, info)` that draws, or None when nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[info]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(file=raw(sys.stderr)), transient=True) as bar:
        task = bar.add_task(escaped(label), total=None, info="")

        def update(step: int, total: int, info: dict[str, float]) -> None:
            text = escaped(" ".join(f"{key} {value:.4g}" for key, value in info.items()))
            if bar.tasks[0].total is None:  # a resumed run starts in the middle, which tells nothing of its speed
                bar.reset(task, completed=step, total=total, info=text)
            bar.update(task, completed=step, total=total, info=text)

        yield update
