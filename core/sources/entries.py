"""What a stream of inputs is made of. A stream holds one of them at a time, never all. Light to import."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taskodec.errors import TaskodecError
from taskodec.files.inputs import STANDARD, cannot_read, read_input

__all__ = ["Broken", "Element", "End", "Entry", "Stream", "read_entry"]


@dataclass(frozen=True, eq=False)
class Entry:
    """Something that is read: a file, an object at a URL, a member of an archive, or standard input.

    `name` is what it is called in messages, and the URL of an object. `key` decides on the name of its output: its name
    below the folder that was given, with `/` between. `path` is set for files and standard input, `data` for what
    has been read already. `archive` is the name of that which it is a member of. A `copied` member is no picture, and
    goes with the pictures from archive to archive.
    """

    name: str
    key: str
    path: Path | None = None
    data: bytes | None = None
    archive: str = ""
    copied: bool = False


@dataclass(frozen=True, eq=False)
class Broken:
    """What could not be read, or must not, and why; `archive` is the archive that it ends, if it does."""

    name: str
    error: TaskodecError
    archive: str = ""


@dataclass(frozen=True, eq=False)
class End:
    """An archive has been read to its end; or, `kept`, need not be read, for what is made of it is there."""

    archive: str
    kept: bool = False


Element = Entry | Broken | End

Stream = Iterator[Element]


def read_entry(entry: Entry, most: int) -> bytes:
    """All bytes of an entry, at most `most`; TaskodecError says why they cannot be read."""
    if entry.data is not None:
        return entry.data
    if entry.path is None:
        from taskodec.sources.remote import read_url

        return read_url(entry.name, most)
    try:
        return read_input(STANDARD if entry.path == STANDARD else entry.path, most)
    except OSError as error:
        raise TaskodecError(cannot_read(entry.path, error)) from error
