"""Figures as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from taskodec.console.terminal import escaped
from taskodec.extras import require
from taskodec.files.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE_SIZE", "new_figure", "plain", "save_figure"]

FIGURE_SIZE = (6.4, 4.8)
"""Of a rate-distortion plot, in inches: so small that its letters can be read on a phone and in a column of a paper."""


def plain(name: str) -> str:
    """A name as matplotlib draws it letter by letter: dollars are no formula, and one that begins with _ is shown."""
    text = escaped(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def new_figure() -> Figure:
    """An empty figure, which needs no display; UsageError without matplotlib."""
    require("eval", "plots", only=["matplotlib"])
    from matplotlib.figure import Figure

    return Figure(figsize=FIGURE_SIZE, layout="constrained")


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write the figure as `stem`.png and `stem`.svg, the same bytes for the same figure; needs no display."""
    import matplotlib as mpl

    written = []
    for suffix in (".png", ".svg"):
        path = stem.with_name(stem.name + suffix)
        buffer = io.BytesIO()
        metadata = {"Date": None} if suffix == ".svg" else {}
        with mpl.rc_context({"svg.hashsalt": "taskodec"}):
            figure.savefig(buffer, format=suffix[1:], dpi=150, metadata=metadata)
        write_atomic(path, buffer.getvalue())
        written.append(path)
    return written
