"""Which files are pictures, and writing files so that a reader sees either the old content or the whole new one."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from taskodec.errors import TaskodecError

__all__ = ["IMAGE_SUFFIXES", "write_atomic"]

IMAGE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What is taken from a folder; a file that is named is tried whatever its suffix."""


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
