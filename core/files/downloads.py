"""Downloads that survive cut connections: resumed, tried again, and in their place only when whole and right.

What has arrived lies beside the target as `NAME.part` until its SHA-256 is checked; the next call, of any process, goes
on from there. Of the libraries at hand, pooch has hashes and retries but begins anew, and torch.hub has neither.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock

from taskodec.errors import SettingsError, WeightsError

__all__ = ["LONGEST", "DownloadOptions", "Received", "download", "mirrored", "sha256_of"]

log = logging.getLogger(__name__)

CHUNK = 2**18
FIRST_WAIT = 1.0
"""Seconds before the second attempt; doubled before each further one."""

LONGEST = 86400
"""Seconds that anything here may wait."""

PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses that another attempt may not meet again."""

PASSING_ERRORS = (ConnectionError, TimeoutError, http.client.IncompleteRead, http.client.BadStatusLine)
HOPELESS = (ConnectionRefusedError,)
"""What stays as it is for as long as a user would wait: no server at that address."""

Received = Callable[[int, int | None], None]
"""Told the bytes that are here, and how many there will be, if the server says."""


@dataclass(frozen=True)
class DownloadOptions:
    """How to download; the settings below `downloads`, which reach every process through the environment.

    A mirror is a folder's URL to which the file's name is added, or `FROM=TO`, which replaces the start of URLs.
    `timeout` is in seconds without a byte, `attempts` are at every URL.
    """

    mirrors: tuple[str, ...] = ()
    offline: bool = False
    timeout: float = 30.0
    attempts: int = 5

    @classmethod
    def from_environment(cls) -> DownloadOptions:
        """Of TASKODEC_MIRRORS (spaces between), _OFFLINE, _TIMEOUT and _ATTEMPTS; SettingsError for no numbers."""
        value = {name: os.environ.get(f"TASKODEC_{name.upper()}", "") for name in cls.__dataclass_fields__}
        try:
            timeout, attempts = float(value["timeout"] or cls.timeout), int(value["attempts"] or cls.attempts)
        except ValueError as error:
            raise SettingsError(f"TASKODEC_TIMEOUT and TASKODEC_ATTEMPTS must be numbers: {error}") from error
        if not (0 < timeout <= LONGEST and attempts >= 1):
            raise SettingsError(
                f"TASKODEC_TIMEOUT and TASKODEC_ATTEMPTS are {timeout:g} and {attempts}; valid: above 0 and up to "
                f"{LONGEST} seconds, and 1 or more"
            )
        offline = value["offline"].lower() not in {"", "0", "false", "no"}
        return cls(tuple(value["mirrors"].split()), offline, timeout, attempts)

    def to_environment(self) -> None:
        """Make these the options of this process and of those that it starts; what is as usual changes nothing."""
        usual = DownloadOptions()
        for name in self.__dataclass_fields__:
            if (value := getattr(self, name)) != getattr(usual, name):
                text = " ".join(value) if isinstance(value, tuple) else str(value)
                os.environ[f"TASKODEC_{name.upper()}"] = text


def mirrored(url: str, file: str, mirrors: Sequence[str]) -> list[str]:
    """The URLs at which to look for a file, mirrors first."""
    found = []
    for mirror in mirrors:
        start, equals, other = mirror.partition("=")
        if not equals:
            found.append(f"{mirror.rstrip('/')}/{file}")
        elif url.startswith(start):
            found.append(other + url.removeprefix(start))
    return [*found, url]


def download(
    urls: Sequence[str], target: Path, sha256: str, options: DownloadOptions, received: Received | None = None
) -> str:
    """Bring a file to `target` from the first URL that has it; returns its SHA-256.

    `sha256` is what that must begin with, empty if unknown. Another process that wants the same file waits.
    WeightsError says what went wrong at each URL; what arrived stays for the next call, unless it is another file.
    """
    failures = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_file():
            return sha256_of(target)
        partial = _Partial(target.with_name(f"{target.name}.part"), bool(sha256))
        for url in urls:
            log.info("downloading %s to %s", url, target)
            try:
                digest = _whole(url, partial, sha256, options, received)
            except (OSError, http.client.HTTPException, WeightsError, ValueError) as error:
                failures.append(f"{url}: {_reason(error)}")
                log.info("failed, %s", failures[-1])
                continue
            partial.path.replace(target)
            log.info("downloaded %s, SHA-256 %s", target, digest)
            partial.forget()
            return digest
    raise WeightsError("; ".join(failures))


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class _Partial:
    """What has arrived of a file, and the server's name for the version that it is of (RFC 9110, section 13.1.5)."""

    def __init__(self, path: Path, known: bool) -> None:
        self.path, self.tag, self.known = path, path.with_name(f"{path.name}.tag"), known

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def headers(self) -> dict[str, str]:
        """What asks a server for the rest; nothing where parts of two files might be put together unseen."""
        tag = self.tag.read_text(encoding="utf-8") if self.tag.is_file() else ""
        if not self.size or not (tag or self.known):
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": tag} if tag else {})}

    def remember(self, response: Any) -> None:
        etag = response.headers.get("ETag", "")
        tag = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self.tag.write_text(tag, encoding="utf-8")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def _whole(url: str, partial: _Partial, sha256: str, options: DownloadOptions, received: Received | None) -> str:
    """All of a file, with the hash; once more from its beginning if what was there already does not fit the rest."""
    while True:
        begun = partial.size > 0
        _arrive(url, partial, options, received)
        digest = sha256_of(partial.path)
        if digest.startswith(sha256):
            return digest
        partial.forget()
        if not begun:
            raise WeightsError(f"the file there has the SHA-256 {digest}, expected {sha256}; it was removed again")


def _arrive(url: str, partial: _Partial, options: DownloadOptions, received: Received | None) -> None:
    """Read until the end, in several attempts."""
    for attempt in range(options.attempts):
        if attempt:
            time.sleep(min(LONGEST, FIRST_WAIT * 2.0 ** min(attempt - 1, 30)))
        try:
            _read(url, partial, options.timeout, received)
            return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, HTTPError) and error.code == 416:  # more here than there: another file
                partial.forget()
            elif not _passes(error) or attempt == options.attempts - 1:
                raise
            log.info(
                "attempt %d of %d ended: %s; %d bytes are here", attempt + 1, options.attempts, error, partial.size
            )
    raise ConnectionError("the server offers parts that it does not have")


def _read(url: str, partial: _Partial, timeout: float, received: Received | None) -> None:
    headers = {"User-Agent": "taskodec", "Accept-Encoding": "identity", **partial.headers()}
    with urlopen(Request(url, headers=headers), timeout=timeout) as response:
        start = 0
        if response.status == 206:
            start = partial.size
            if not str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
                partial.forget()
                raise ConnectionError("the server sent another part than it was asked for")
        log.debug("HTTP %s from %s, from byte %d", response.status, url, start)
        partial.remember(response)
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        size = start
        with partial.path.open("ab" if start else "wb") as file:
            while chunk := response.read1(CHUNK) if hasattr(response, "read1") else response.read(CHUNK):
                file.write(chunk)
                size += len(chunk)
                if received is not None:
                    received(size, total)
    if total is not None and size < total:
        raise ConnectionError(f"the connection ended after {size} of {total} bytes")


def _passes(error: Exception) -> bool:
    """Whether it may be otherwise in a moment."""
    if isinstance(error, HTTPError):
        return error.code in PASSING
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, PASSING_ERRORS) and not isinstance(cause, HOPELESS)


def _reason(error: Exception) -> str:
    if isinstance(error, WeightsError):
        return str(error)
    cause = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)
