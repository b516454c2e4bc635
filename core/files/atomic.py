"""Which files are pictures, reading with a limit, and writing so that readers see the old content or all of the new."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from taskodec.errors import TaskodecError

try:
    import fcntl
except ImportError:  # pragma: no cover - of systems other than POSIX, which have no such locks
    fcntl = None  # type: ignore[assignment]

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "AtomicFile", "clean_leftovers", "pointer_to", "read_limited", "write_atomic"]

FORMATS: Mapping[str, tuple[str, ...]] = {
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "JPEG2000": (".j2k", ".jp2"),
    "PNG": (".apng", ".png"),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""Every format that pictures are read in, as Pillow calls it, and the suffixes of its files.

Pillow opens some forty, by their first bytes whatever their names, and starts Ghostscript for one of them.
"""

IMAGE_SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""What is taken from a folder; a file that is named is tried whatever its suffix."""

TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""Names of files that are not whole yet."""

POINTERS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "git lfs pull"),
    (b"version https://hawser.github.com/spec/", "a Git LFS pointer", "git lfs pull"),  # what LFS began as
    (b"/annex/objects/", "a git-annex pointer", "git annex get"),
)


def pointer_to(what: str, source: Path | bytes) -> str:
    """What a file is that stands for `what` in a Git repository without its large files, and how to get those.

    Empty if it is no such file, or cannot be read; `source` is the file, or what it begins with.
    """
    try:
        start = source if isinstance(source, bytes) else _start(source)
    except OSError:
        return ""
    found = (f"{kind}, not {what}: run `{call}`" for sign, kind, call in POINTERS if start.startswith(sign))
    return next(found, "")


def _start(path: Path) -> bytes:
    """The first bytes of a regular file; a pipe can be read only once, and is left to its reader."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(max(len(sign) for sign, _, _ in POINTERS))


def read_limited(path: Path, limit: int) -> bytes:
    """All bytes of a file of at most `limit`; ValueError if there are more, also of one without an end, or OSError."""
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):  # a pipe, or a device such as /dev/zero
            data: bytes | None = file.read(limit + 1)
        else:
            data = file.read() if about.st_size <= limit else None
    if data is None or len(data) > limit:
        raise ValueError(f"it is larger than the limit of {limit} bytes")
    return data


class AtomicFile:
    """A file that is written beside its place, and is there when `commit` has moved it; else `discard` removes it.

    OSError for what the system refuses, TaskodecError for a place that no file can have.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise TaskodecError(f"cannot write {path}: it exists and is not a regular file")
        self.path = path
        self._target = Path(os.path.realpath(path))  # through a link: its target is replaced, not the link
        self._temporary = self._target.with_name(f".{uuid4().hex}.tmp")
        self.file = _locked(self._temporary)

    def commit(self) -> None:
        """Move it to its place."""
        self.file.flush()
        os.fsync(self.file.fileno())  # a disk that is full may say so only now
        if fcntl is None:  # pragma: no cover - where open files cannot be moved
            self.file.close()
        self._temporary.replace(self._target)
        self.file.close()

    def discard(self) -> None:
        """Remove what is not in its place; nothing after `commit`."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):  # it is gone when all went well, as is its folder at times
            self._temporary.unlink()


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and move it into place; a failure leaves no partial file.

    A TaskodecError names the path when it cannot be written.
    """
    try:
        made = AtomicFile(path)
        try:
            made.file.write(data)
            made.commit()
        finally:
            made.discard()
    except OSError as error:
        raise TaskodecError(f"cannot write {path}: {error.strerror or error}") from error


def clean_leftovers(folder: Path) -> None:
    """Remove what writing that was killed has left in a folder; what somebody is writing stays."""
    with contextlib.suppress(OSError):  # a folder that is not there, or not ours, has nothing to be cleaned
        for path in [path for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)]:
            if fcntl is None:  # pragma: no cover - nothing says whether it is in use
                return
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _locked(path: Path) -> BinaryIO:
    """A new file, open and locked as long as it is; with its process the lock goes, which makes it a leftover."""
    while True:
        file = path.open("xb")
        if fcntl is None:  # pragma: no cover
            return file
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()  # taken for a leftover before it was locked
