"""What is read: files, pipes and standard input, each once, and never more of them than fits a limit. No torch.

What cannot be read is an OSError whose `strerror` says why, as it is of a file that is missing.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO

from taskodec.errors import UsageError

__all__ = [
    "MOST_BYTES",
    "MOST_LABELS",
    "STANDARD",
    "NamedBytes",
    "argument",
    "cannot_read",
    "expand_home",
    "most_bytes",
    "open_input",
    "read_input",
    "read_text",
]

STANDARD = Path("-")
"""Stands for standard input where something is read, and for standard output where something is written."""

MOST_BYTES = 2**26
"""Of settings and the like, which nobody writes larger."""

MOST_LABELS = 2**33
"""Of lists and labels; COCO's have half a gigabyte."""

BYTES_A_PIXEL = 16
"""No format that Pillow reads takes more: four channels of 32 bits."""

WRITER_WAIT = 10.0
"""Seconds in which somebody must open a named pipe for writing; who has may take any time."""

BLOCK = 2**20


class NamedBytes(io.BytesIO):
    """Bytes with a name for messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def argument(text: str) -> Path:
    """The path that an argument of a command means: `-` is `STANDARD`, `./-` a file of that name."""
    path = Path(text)
    return path.absolute() if path == STANDARD and text != str(STANDARD) else path


def most_bytes(max_pixels: int) -> int:
    """How many bytes a file, or a stream, of so many pixels may have where it cannot be looked into before."""
    return BYTES_A_PIXEL * max_pixels + MOST_BYTES


def open_input(path: Path, most: int) -> BinaryIO:
    """A file, open to be read; what a pipe holds, up to `most` bytes. OSError for all else."""
    if stat.S_ISREG(path.stat().st_mode):
        return path.open("rb")
    return io.BytesIO(read_input(path, most))


def read_input(path: Path, most: int) -> bytes:
    """All of a file, a pipe, or, for `STANDARD`, standard input; OSError for all else, and for more than `most` bytes.

    A named pipe that nobody writes to is an error after `WRITER_WAIT` seconds.
    """
    if path == STANDARD:
        return _read_standard(most)
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        raise _error("it is a device or a socket; valid are files, pipes and - for standard input")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(number, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
        begun = b""
        if stat.S_ISFIFO(kind):
            begun = _await_writer(number)
            os.set_blocking(number, True)
        return begun + _all_of(file, most - len(begun))


def cannot_read(path: Path, error: OSError) -> str:
    """What to say of an input that cannot be read."""
    name = "standard input" if path == STANDARD else str(path)
    return f"cannot read {name}: {error.strerror or error}"


def read_text(path: Path, encoding: str = "utf-8", most: int = MOST_BYTES) -> str:
    """The text of a file or a pipe. OSError as for `read_input`, UnicodeDecodeError for what is no text."""
    return read_input(path.absolute(), most).decode(encoding)


def expand_home(path: str | Path) -> Path:
    """The path with `~` and `~user` replaced; UsageError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no home directory that ~ could stand for; write the path out") from error


def _read_standard(most: int) -> bytes:
    """Standard input until its end; whatever stands in for it in a program that calls ours, too."""
    source: Any = getattr(sys.stdin, "buffer", sys.stdin)
    if source is None or sys.stdin.isatty():
        raise _error("it is closed" if source is None else "it is a terminal; redirect a file or a pipe to it")
    data = _all_of(source, most)
    if not data:
        raise _error("it is empty")
    return data


def _await_writer(number: int) -> bytes:
    """Wait until there is something to read from a pipe, or somebody has it open for writing; what was read for it."""
    waiting = select.poll()
    waiting.register(number, select.POLLIN)
    if waiting.poll(int(1000 * WRITER_WAIT)):
        return b""
    try:
        begun = os.read(number, 1)
    except BlockingIOError:  # a writer that has not written yet
        return b""
    if not begun:
        raise _error("nobody writes to this pipe: start its writer first")
    return begun


def _all_of(file: Any, most: int) -> bytes:
    data = bytearray()
    while block := file.read(min(BLOCK, most + 1 - len(data))):
        data += block
        if len(data) > most:
            raise _error(f"it holds more than {most} bytes, the limit for what is read at once")
    return bytes(data)


def _error(reason: str) -> OSError:
    return OSError(errno.EINVAL, reason)
