"""Where outputs go: files beside their inputs or below a folder, and objects at URLs. No torch."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import clean_leftovers
from taskodec.files.inputs import STANDARD, argument
from taskodec.files.outputs import Write
from taskodec.files.plans import check_replaceable, writable_folder
from taskodec.sources.entries import Broken, End, Entry
from taskodec.sources.remote import READ_ONLY, check_url, files_in, is_url, joined, split_url
from taskodec.sources.trials import check_folder, check_target

__all__ = ["FileSink", "NoSink", "Sink", "real"]

FOLDERS = 16
"""So many folders of outputs are remembered; a stream of names goes through one after the other."""


class Sink:
    """What outputs are called, whether they are there, and how they are written.

    With `ordered`, results must be written in the order of their inputs. What `carries` takes the other members of
    archives as well.
    """

    ordered = False
    carries = False

    def sends(self, target: str) -> bool:
        """Whether who makes an output writes it, wherever that is."""
        return False

    def target(self, entry: Entry) -> str:
        """The name of what is made of an entry: a path, a URL, or that of a member."""
        raise NotImplementedError

    def flaw(self, target: str) -> str | None:
        """What is wrong with an output that is there, empty if it is whole; None for one that is not there."""
        raise NotImplementedError

    def check(self) -> None:
        """Make sure that outputs can be written, before anything is loaded for them; TaskodecError if not."""

    def prepare(self, target: str) -> None:
        """Make sure that it can be written, before it is made; TaskodecError if not."""

    def write(self, target: str, data: bytes, entry: Entry) -> None:
        """Write it, whole or not at all; TaskodecError if it cannot be."""
        raise NotImplementedError

    def done(self, archive: str) -> bool:
        """Whether an archive of the input need not be read, because what is made of it is there."""
        return False

    def ended(self, element: End | Broken) -> str:
        """An archive of the input has been read, or could not be; where what is made of it goes, if it has a place."""
        return ""

    def close(self, whole: bool) -> None:
        """All inputs have been read, or, if not `whole`, the run has stopped."""


class NoSink(Sink):
    """Of commands that only look at their inputs, and have no outputs."""

    def target(self, entry: Entry) -> str:
        return ""

    def flaw(self, target: str) -> str | None:
        return None


class FileSink(Sink):
    """Files, and objects at URLs.

    Args:
        output: a folder or, if `exact`, the one output; a path, a URL or `-`; None for places beside the inputs.
        suffix: of outputs.
        write: of `results_to`.
        flaw_of: what is wrong with a file that is there.
        clean: remove what killed runs have left, in each folder when it is first written to.
    """

    def __init__(
        self,
        output: str | None,
        exact: bool,
        suffix: str,
        write: Write,
        flaw_of: Callable[[Path], str],
        clean: bool = False,
    ) -> None:
        self.output, self.exact, self.suffix, self.clean = output, exact, suffix, clean
        self._write, self._flaw_of = write, flaw_of
        self._listed: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._sure: deque[str] = deque(maxlen=FOLDERS)
        if output is not None and is_url(output):
            check_url(output, written=True)

    def target(self, entry: Entry) -> str:
        if self.exact and self.output is not None:
            return self.output if is_url(self.output) else str(argument(self.output))
        key = str(PurePosixPath(entry.key).with_suffix(self.suffix)) if entry.key.strip(".") else entry.key
        if self.output is not None:
            return joined(self.output, key) if is_url(self.output) else str(Path(self.output, key))
        if entry.archive:
            raise UsageError(f"{entry.archive} is an archive: say with -o where its members go")
        if entry.path is not None:
            return str(entry.path.with_name(PurePosixPath(key).name))
        if split_url(entry.name)[0] in READ_ONLY:
            raise UsageError(f"{entry.name} is for reading only: give -o")
        return joined(entry.name.rpartition("/")[0], PurePosixPath(key).name)

    def sends(self, target: str) -> bool:
        return is_url(target)

    def flaw(self, target: str) -> str | None:
        if is_url(target):
            folder, _, name = target.rpartition("/")
            size = self._files(folder).get(name)
            return None if size is None else "" if size else "it is empty"
        path = Path(target)
        if path == STANDARD:
            return None
        if self.clean and self._first_time(str(path.parent)):
            clean_leftovers(path.parent)
        try:
            there = path.is_file()
        except OSError:  # such as of a name that is too long: no file has it, and `prepare` says why
            return None
        return self._flaw_of(path) if there else None

    def check(self) -> None:
        if self.output is None or self.output == str(STANDARD):
            return
        if self.exact:
            check_target(self.output if is_url(self.output) else str(argument(self.output)))
        else:
            check_folder(self.output)

    def prepare(self, target: str) -> None:
        if is_url(target) and (place := self.output or target.rpartition("/")[0]) not in self._sure:
            check_target(target)
            self._sure.append(place)
        if not is_url(target) and (path := Path(target)) != STANDARD:
            writable_folder(path.parent)
            try:
                check_replaceable([path])
            except OSError as error:
                raise TaskodecError(f"cannot write {path}: {error.strerror or error}") from error

    def write(self, target: str, data: bytes, entry: Entry) -> None:
        self._write(Path(target), data)

    def _first_time(self, folder: str) -> bool:
        first = folder not in self._listed
        self._remember(folder, {})
        return first

    def _files(self, folder: str) -> dict[str, int]:
        """The files of a remote folder, listed once, which costs less than to ask for each."""
        if folder not in self._listed:
            self._remember(folder, files_in(folder))
        return self._listed[folder]

    def _remember(self, folder: str, files: dict[str, int]) -> None:
        self._listed[folder] = files
        self._listed.move_to_end(folder)
        while len(self._listed) > FOLDERS:
            self._listed.popitem(last=False)


def real(name: str) -> str:
    """A name that two names of one place have in common."""
    return name if is_url(name) else os.path.realpath(name)
