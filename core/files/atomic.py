"""Which files are pictures, reading with a limit, and writing so that readers see the old content or all of the new."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

from taskodec.errors import TaskodecError

__all__ = ["IMAGE_SUFFIXES", "read_limited", "write_atomic"]

IMAGE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What is taken from a folder; a file that is named is tried whatever its suffix."""


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


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and move it into place; a failure leaves no partial file.

    A TaskodecError names the path when it cannot be written.
    """
    target = Path(os.path.realpath(path))  # through a link: its target is replaced, not the link
    if target.exists() and not target.is_file():
        raise TaskodecError(f"cannot write {path}: it exists and is not a regular file")
    temporary = target.with_name(f".{uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    except OSError as error:
        raise TaskodecError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
