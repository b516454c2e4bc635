"""What is printed: nothing that a file, a plugin or a stream says of itself reaches the terminal as a command to it.

Names may hold any character: an escape sequence would colour, move or erase what was printed before, a line break would
make a line of its own up, and marks of direction let letters trade places. They are shown as
Python writes them, `\\x1b`.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

__all__ = ["about", "escaped", "guarded", "indented", "raw", "shown"]

LINES = "\t\n"
"""Control characters that texts of several lines are made of."""

_UNSEEN = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # marks of direction, separators of lines and paragraphs
_COMMANDS = re.compile(f"[\x00-\x1f\x7f-\x9f{_UNSEEN}\ud800-\udfff]")
_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_UNSEEN}\ud800-\udfff]")


def about(source: str, text: str) -> str:
    """What went wrong with a source, which is named once: many errors name it themselves."""
    named = re.search(rf"(^|\s){re.escape(source)}(?=[:\s]|$)", text) if source else None
    return indented(text) if named else f"{escaped(source)}: {indented(text)}"


def escaped(text: str, keep_lines: bool = False) -> str:
    """The text with every character that a terminal obeys, rather than shows, as an escape.

    Line breaks and tabs among them, unless `keep_lines` is set.
    """
    return (_IN_LINES if keep_lines else _COMMANDS).sub(lambda match: ascii(match[0])[1:-1], text)


def indented(text: str) -> str:
    """An error's text, whose further lines are set in, so that no name in it can begin an error of its own."""
    return text.replace("\n", "\n  ")


def shown(value: object) -> str:
    """A value that was found, for an error message: on one line of at most 200 characters, whatever it is."""
    text = escaped(" ".join(line.strip() for line in _SHORT.repr(value).splitlines()))
    return text if len(text) <= 200 else f"{text[:197]}..."


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write numbers of thousands of digits."""
        return repr(x) if x.bit_length() <= 128 else f"a whole number of {x.bit_length()} bits"


_SHORT = _Short()


class _Guard:
    """A text stream whose `write` escapes; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; a carriage return in front stays, with which progress draws over its own line."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        start = "\r" if text.startswith("\r") else ""
        self._stream.write(start + escaped(text[len(start) :], keep_lines=True))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def raw(stream: TextIO) -> TextIO:
    """The stream itself, for what draws with escape sequences of its own and escapes names before."""
    return stream._stream if isinstance(stream, _Guard) else stream


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and error escape whatever is printed, for as long as this lasts."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Guard(raw(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
