"""How wide lines may be: those for a terminal are broken between words, those for files and pipes never.

Light to import.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TextIO

__all__ = ["columns", "counted", "fitted", "say"]

NARROWEST = 20
"""Columns below which breaking lines would help nobody."""


def counted(number: int, thing: str) -> str:
    """So many things: `1 step`, `2 steps`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def columns(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream is shown on, or what COLUMNS says; None for files and pipes."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if stream.isatty() else None


def fitted(text: str, width: int | None, indent: int = 4) -> str:
    """A line of at most `width` columns, broken between words and set in from the second line on; None breaks nothing.

    Words that are longer, such as URLs, stay whole.
    """
    if width is None or len(text) <= width:
        return text
    start = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(
        text.strip(),
        width,
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(text: str, indent: int = 4, file: TextIO | None = None) -> None:
    """Print a line, fitted to the terminal if it is for one; on standard output unless another file is given."""
    stream = file or sys.stdout
    print(fitted(text, columns(stream), indent), file=stream, flush=True)
