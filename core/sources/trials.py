"""Whether outputs can be written, asked before they are made; nothing is left where it was asked. No torch."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import uuid4

from taskodec.errors import TaskodecError
from taskodec.files.atomic import AtomicFile
from taskodec.files.plans import check_replaceable
from taskodec.sources.remote import FILES, WHOLE, is_url, joined, remote_errors, split_url, writable

__all__ = ["check_folder", "check_target"]


def check_folder(folder: str) -> None:
    """TaskodecError if nothing can be written to a folder, a path or a URL, whether it is there or is to be made."""
    name = f".{uuid4().hex}.tmp"
    check_target(joined(folder, name) if is_url(folder) else str(Path(folder, name)), folder)


def check_target(target: str, called: str = "") -> None:
    """TaskodecError if an output, a path or a URL, cannot be written, `called` so; one that is there stays as it is."""
    if not is_url(target):
        _try_path(Path(target))
    elif split_url(target)[0] in FILES:
        _try_path(Path(writable(target, folders=False)[1]))
    else:
        _try_url(target, called or target)


def _try_path(path: Path) -> None:
    """Make a file in the folder, or where that would be made, and remove it: rights do not tell all of a system."""
    folder = path.parent
    try:
        there = next((place for place in (folder, *folder.parents) if _is_folder(place)), folder)
    except OSError as error:
        raise TaskodecError(f"cannot make folder {folder}: {error.strerror or error}") from error
    try:
        check_replaceable([path])
        AtomicFile(there / f".{uuid4().hex}.tmp").discard()
    except OSError as error:
        what = "write to" if there == folder else "make"
        raise TaskodecError(f"cannot {what} folder {folder}: {error.strerror or error}") from error


def _is_folder(place: Path) -> bool:
    """Whether a folder is there; OSError if none can be made there."""
    try:
        if not place.is_dir():
            place.lstat()
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except FileNotFoundError:
        return False
    return True


def _try_url(url: str, called: str) -> None:
    """Begin an upload and give it up: no object ever appears. Other file systems get a file for a moment."""
    with remote_errors(called, "write"):
        system, place = writable(url)
        if split_url(url)[0] == "memory":  # it has no rights, and writes as it opens
            return
        if split_url(url)[0] not in WHOLE:
            temporary = f"{place.rpartition('/')[0]}/.{uuid4().hex}.tmp"
            system.pipe_file(temporary, b"")
            system.rm(temporary)
            return
        begun = system.open(place, "wb", autocommit=False)
        try:
            begun.write(b"0")
            begun.flush(force=True)  # a request to begin
        finally:
            begun.discard()
            begun.closed = True
