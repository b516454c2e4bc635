"""Where results go: files, each whole or not at all, or, for `-`, the bytes of standard output. No torch."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, TextIO

from taskodec.errors import TaskodecError
from taskodec.files.atomic import write_atomic
from taskodec.files.inputs import STANDARD

__all__ = ["Write", "results_to"]

STANDARD_ERROR = 2
"""Its number in every process."""

Write = Callable[[Path, bytes], None]
"""Writes a result where it belongs; TaskodecError if it cannot be written."""


@contextlib.contextmanager
def results_to(targets: Sequence[Path]) -> Iterator[Write]:
    """What writes results. If standard output is among the targets, all that is printed within goes to standard error.

    That includes what is printed past Python, by libraries and by other programs that are started.
    """
    if STANDARD not in targets:
        yield write_atomic
        return
    with _reserved() as out:

        def write(path: Path, data: bytes) -> None:
            if path != STANDARD:
                write_atomic(path, data)
                return
            try:
                _write_all(out, data)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise TaskodecError(f"cannot write to standard output: {error.strerror or error}") from error

        yield write


@contextlib.contextmanager
def _reserved() -> Iterator[RawIOBase | BinaryIO]:
    """Standard output for bytes; its place, also for those who write by its number, is taken by standard error."""
    printed = sys.stdout
    printed.flush()
    with contextlib.redirect_stdout(sys.stderr):
        try:
            number = printed.fileno()
        except (OSError, ValueError):  # a program that calls ours has put something of its own there
            yield _bytes_of(printed)
            return
        with os.fdopen(os.dup(number), "wb", buffering=0) as out:
            os.dup2(STANDARD_ERROR, number)
            try:
                yield out
            finally:
                os.dup2(out.fileno(), number)


def _write_all(out: RawIOBase | BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[out.write(rest) or 0 :]
    out.flush()


def _bytes_of(stream: TextIO) -> BinaryIO:
    if not hasattr(stream, "buffer"):
        raise TaskodecError("standard output takes no bytes here: write to a file with -o FILE")
    return stream.buffer
