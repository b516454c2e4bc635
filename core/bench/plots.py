"""Figures as files."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from taskodec.console.terminal import escaped
from taskodec.extras import require
from taskodec.files.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE_SIZE", "name_curves", "new_figure", "plain", "save_figure"]

FIGURE_SIZE = (6.4, 4.8)
"""Of a rate-distortion plot, in inches: so small that its letters can be read on a phone and in a column of a paper."""

LEGEND_INSIDE = 8
"""Names that a legend within the axes has room for."""


def plain(name: str) -> str:
    """A name as matplotlib draws it letter by letter: dollars are no formula, and one that begins with _ is shown."""
    text = escaped(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def new_figure() -> Figure:
    """An empty figure, which needs no display; UsageError without matplotlib."""
    require("eval", "plots", only=["matplotlib"])
    from matplotlib.figure import Figure

    return Figure(figsize=FIGURE_SIZE, layout="constrained")


def name_curves(figure: Figure, place: Literal["best", "lower right"] = "best") -> None:
    """A legend within the axes, at this place; one of many names would hide the curves, and stands below."""
    (axes,) = figure.axes
    names = axes.get_legend_handles_labels()[1]
    if len(names) <= LEGEND_INSIDE:
        axes.legend(fontsize="small", loc=place)
        return
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.17 * math.ceil(len(names) / 2))
    figure.legend(fontsize="x-small", loc="outside lower center", ncols=2)


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
