"""Objects at URLs, by fsspec: `s3://`, `gs://`, `memory://`, `file://` and what else it knows; http is for reading.

Which rights and which server: by the environment and the files that s3fs, gcsfs and fsspec look at. No torch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

from taskodec.errors import TaskodecError, UsageError
from taskodec.extras import require
from taskodec.files.atomic import write_atomic

__all__ = [
    "FILES",
    "READ_ONLY",
    "WHOLE",
    "Listing",
    "check_url",
    "files_in",
    "is_url",
    "joined",
    "names_at",
    "open_url",
    "put_bytes",
    "put_file",
    "read_url",
    "remote_errors",
    "split_url",
    "writable",
]

Listing = tuple[str, list[str] | TaskodecError]
"""A folder, by its name below the first, and the names of its files; or why it cannot be read."""

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""What a URL begins with; one letter is a drive."""

READ_ONLY = frozenset({"http", "https"})

WHOLE = frozenset({"abfs", "abfss", "az", "gcs", "gs", "memory", "oci", "oss", "s3", "s3a"})
"""Stores where an object appears when it is whole; elsewhere it is written beside its place and moved."""

FILES = frozenset({"file", "local"})
"""What is on this machine, or mounted: a folder that all machines of a cluster share."""

PACKAGES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""The extras of taskodec that bring what fsspec needs for a protocol."""


RIGHTS: Mapping[str | None, str] = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; FSSPEC_S3_ANON=true reads what is public",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`; FSSPEC_GS_TOKEN=anon is none",
}
"""By these extras, where the rights to a store come from."""

LOGGERS = ("aiobotocore", "fsspec", "gcsfs", "s3fs")
"""Of packages that log with a traceback what they raise as well."""


class _Arriving(RawIOBase):
    """What fsspec has opened, to be buffered: http gives what has arrived, which may be less than was asked for."""

    def __init__(self, file: Any, seekable: bool) -> None:
        self._file, self._seekable = file, seekable

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def is_url(name: str) -> bool:
    """Whether a name is a URL, and no path."""
    return URL.match(name) is not None


def split_url(url: str) -> tuple[str, str]:
    """The protocol, and what is below the bucket, host or root: the name of an object there."""
    protocol, _, rest = url.partition("://")
    if protocol.lower() in READ_ONLY:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    _, _, below = rest.partition("/")
    return protocol.lower(), below if protocol.lower() not in FILES | {"memory"} else rest.lstrip("/")


def joined(folder: str, key: str) -> str:
    """The URL of a name below another URL."""
    return f"{folder.rstrip('/')}/{key}"


def read_url(url: str, most: int) -> bytes:
    """All of an object of at most `most` bytes; TaskodecError if there are more, or it cannot be read."""
    with open_url(url) as file, remote_errors(url, "read"):
        data = file.read(most + 1)
    if len(data) > most:
        raise TaskodecError(f"cannot read {url}: it holds more than {most} bytes, the limit for what is read at once")
    return data


@contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """An object, open to be read from its start; TaskodecError if it cannot be."""
    with remote_errors(url, "read"):
        system, place = _found(url)
        streamed = {"block_size": 0, "size": 1} if split_url(url)[0] in READ_ONLY else {}  # one GET, and no HEAD
        opened = system.open(place, "rb", **streamed)
    with closing(opened):
        yield cast(BinaryIO, BufferedReader(_Arriving(opened, seekable=not streamed)))


def names_at(url: str, recursive: bool) -> Iterator[Listing] | None:
    """The folders at a URL and the names of the files in each, sorted, one folder at a time; None if it is a file.

    Without `recursive` that folder alone. TaskodecError if nothing is there.
    """
    protocol = split_url(url)[0]
    if protocol in READ_ONLY:
        return None
    with remote_errors(url, "read"):
        system, place = _found(url)
        if not url.endswith("/") and system.info(place)["type"] == "file":
            return None
    return _walk(url, system, place, recursive)


def files_in(url: str) -> dict[str, int]:
    """The files directly below a URL and their sizes, as they are now; none where nothing is."""
    with remote_errors(url, "read"):
        system, place = _found(url)
        try:
            listed = system.ls(place, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {_last(about["name"]): int(about.get("size") or 0) for about in listed if about["type"] == "file"}


def put_bytes(url: str, data: bytes) -> None:
    """Write an object, whole or not at all; TaskodecError says why it cannot be written."""
    with remote_errors(url, "write"):
        system, place = writable(url)
        if split_url(url)[0] in FILES:
            write_atomic(Path(place), data)
            return
        if split_url(url)[0] in WHOLE:
            system.pipe_file(place, data)
            return
        with _beside(system, place) as temporary:
            system.pipe_file(temporary, data)


def put_file(url: str, local: str) -> None:
    """The same with what a file holds."""
    with remote_errors(url, "write"):
        system, place = writable(url)
        if split_url(url)[0] in WHOLE:
            system.put_file(local, place)
            return
        with _beside(system, place) as temporary:
            system.put_file(local, temporary)


def check_url(url: str, written: bool = False) -> None:
    """UsageError for a URL that cannot be used here, or not written to."""
    protocol = split_url(url)[0]
    require("remote", f"the URL {url}")
    if "::" in url:
        raise UsageError(f"{url}: chains of URLs are not supported; give the URL of the object itself")
    if written and protocol in READ_ONLY:
        raise UsageError(f"cannot write to {url}: http is for reading only; give a folder, or a URL such as s3://")
    _system(protocol)


@contextmanager
def remote_errors(url: str, verb: str) -> Iterator[None]:
    """Whatever a file system raises within is a TaskodecError that names the URL."""
    try:
        yield
    except TaskodecError:
        raise
    except FileNotFoundError as error:
        raise TaskodecError(f"cannot {verb} {url}: there is no such object, bucket or host") from error
    except PermissionError as error:
        raise TaskodecError(f"cannot {verb} {url}: no right to ({_said(error)}){_rights(url)}") from error
    except Exception as error:  # each of fsspec's file systems has errors of its own
        rights = _rights(url) if "credentials" in str(error).lower() else ""
        raise TaskodecError(f"cannot {verb} {url}: {_said(error)}{rights}") from error


def _rights(url: str) -> str:
    """Where the rights to a store come from."""
    where = RIGHTS.get(PACKAGES.get(split_url(url)[0], ""))
    return f"; rights are those of {where}" if where else ""


def _said(error: BaseException) -> str:
    """The first line of what an error says, and of which kind it is where it says nothing."""
    text = str(error).strip().partition("\n")[0]
    return text[:300] or type(error).__name__


def _found(url: str) -> tuple[Any, str]:
    check_url(url)
    system = _system(split_url(url)[0])
    return system, system._strip_protocol(url)


def writable(url: str, folders: bool = True) -> tuple[Any, str]:
    """The file system of a URL, and the name there of what is written; `folders` above it are made where needed."""
    check_url(url, written=True)
    system, place = _found(url)
    parent = place.rpartition("/")[0]
    if folders and parent and split_url(url)[0] not in WHOLE:
        system.makedirs(parent, exist_ok=True)
    return system, place


@lru_cache
def _system(protocol: str) -> Any:
    """fsspec's file system of a protocol; UsageError with what to install where it is not here."""
    import fsspec

    for name in LOGGERS:
        logging.getLogger(name).addHandler(logging.NullHandler())  # instead of Python's last resort, standard error
    options = {} if protocol in READ_ONLY else {"use_listings_cache": False}  # which would grow with every folder
    try:
        return fsspec.filesystem(protocol, skip_instance_cache=False, **options)
    except ImportError as error:
        extra = PACKAGES.get(protocol)
        how = f"`pip install 'taskodec[{extra}]'`" if extra else "install the package that fsspec needs for it"
        raise UsageError(f"{protocol}:// cannot be used here: {_said(error)}; {how}") from error
    except ValueError as error:
        raise UsageError(
            f"{protocol}:// is unknown; valid are those of fsspec, such as s3, gs, http, memory"
        ) from error
    except Exception as error:  # such as of credentials that are no such file
        raise UsageError(f"{protocol}:// cannot be used here: {_said(error)}") from error


def _walk(url: str, system: Any, place: str, recursive: bool) -> Iterator[Listing]:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        here = f"{place.rstrip('/')}/{below}".rstrip("/") if below else place
        try:
            with remote_errors(joined(url, below) if below else url, "read"):
                listed = system.ls(here, detail=True)
        except TaskodecError as error:
            if not below:
                raise
            yield below, error
            continue
        files = [_last(about["name"]) for about in listed if about["type"] == "file"]
        yield below, sorted(name for name in files if name)
        if recursive:
            folders = [_last(about["name"]) for about in listed if about["type"] == "directory"]
            shown = sorted((name for name in folders if name and not name.startswith(".")), reverse=True)
            waiting += [f"{below}/{name}" if below else name for name in shown]


def _last(place: str) -> str:
    return "" if place.endswith("/") else place.rpartition("/")[2]


@contextmanager
def _beside(system: Any, place: str) -> Iterator[str]:
    """A name beside a place, which what is written there is moved to; nothing stays there after an error."""
    folder, slash, _ = place.rpartition("/")
    temporary = f"{folder}{slash}.{uuid4().hex}.tmp"
    try:
        yield temporary
        system.mv(temporary, place)
    except BaseException:
        with suppress(Exception):  # the first error says why
            system.rm(temporary)
        raise
