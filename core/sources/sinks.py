"""Where outputs go: files beside their inputs or below a folder, objects at URLs, members of archives. No torch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import AtomicFile, clean_leftovers
from taskodec.files.inputs import STANDARD, argument
from taskodec.files.outputs import Write
from taskodec.files.plans import check_replaceable, writable_folder
from taskodec.sources.archives import ARCHIVES, ArchiveWriter, is_archive, is_whole
from taskodec.sources.entries import Broken, End, Entry
from taskodec.sources.remote import READ_ONLY, check_url, files_in, is_url, joined, put_file, split_url

__all__ = ["ArchiveSink", "FileSink", "NoSink", "Sink", "real"]

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
        return self._flaw_of(path) if path.is_file() else None

    def prepare(self, target: str) -> None:
        if not is_url(target) and (path := Path(target)) != STANDARD:
            check_replaceable([path])
            writable_folder(path.parent)

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


class ArchiveSink(Sink):
    """One archive of all results, or, with `each`, one for each archive of the input, under its name in `output`.

    An archive appears when it is whole: all of its input has been read and what could be made of it is in it.
    """

    ordered = True
    carries = True

    def __init__(self, output: str, each: bool, suffix: str, force: bool, skip_existing: bool) -> None:
        self.output, self.each, self.suffix, self.force, self.skip_existing = output, each, suffix, force, skip_existing
        self._open: tuple[str, AtomicFile, ArchiveWriter] | None = None
        self._broken = ""
        self._given: dict[str, str] = {}
        if is_url(output):
            check_url(output, written=True)

    def place(self, archive: str) -> str:
        """Where what is made of an archive goes."""
        if not self.each:
            return self.output
        name = archive.rpartition("/")[2]
        ending = next(suffix for suffix in ARCHIVES if name.lower().endswith(suffix))
        name = f"{name[: -len(ending)]}.tar"
        return joined(self.output, name) if is_url(self.output) else str(Path(self.output, name))

    def is_kept(self, given: Sequence[str]) -> bool:
        """Whether the one archive is there and is kept; UsageError for any that is there and must not be."""
        if not self.each:
            return self.is_there(self.output)
        for name in given:
            if is_archive(name):
                self.is_there(self.place(name))
        return False

    def target(self, entry: Entry) -> str:
        if self.each and not entry.archive:
            raise UsageError(f"{entry.name} is no archive, of which --shards could make another")
        key = entry.key if entry.copied else str(PurePosixPath(entry.key).with_suffix(self.suffix))
        return f"{self.place(entry.archive)}/{key}"

    def flaw(self, target: str) -> str | None:
        return None

    def done(self, archive: str) -> bool:
        if not self.each:
            return False
        place = self.place(archive)
        other = self._given.setdefault(place, archive)
        if other != archive:
            raise UsageError(f"{other} and {archive} would both be written to {place}: rename one")
        return self.is_there(place)

    def is_there(self, place: str) -> bool:
        """Whether an archive is there and is kept; UsageError if it is there and may be neither kept nor replaced."""
        if is_url(place):
            folder, _, name = place.rpartition("/")
            there = whole = bool(files_in(folder).get(name))
        else:
            there = Path(place).is_file()
            whole = there and is_whole(Path(place))
        if there and not (self.force or self.skip_existing):
            raise UsageError(
                f"{place} already there: overwrite with --force, keep with --skip-existing, or choose with -o"
            )
        return whole and self.skip_existing

    def write(self, target: str, data: bytes, entry: Entry) -> None:
        place = self.place(entry.archive)
        if self._broken == place:
            raise TaskodecError(f"{place} could not be written on")
        try:
            self._writer(place).add(target.removeprefix(f"{place}/"), data)
        except OSError as error:
            self._drop(place)
            raise TaskodecError(f"cannot write {place}: {error.strerror or error}") from error

    def ended(self, element: End | Broken) -> str:
        place = self.place(element.archive)
        if isinstance(element, Broken):
            self._drop(place)
        elif self.each and not element.kept:
            self._finish(place)
        return place

    def close(self, whole: bool) -> None:
        if whole and not self.each and self._broken != self.output:
            self._finish(self.output)
        else:
            self._drop("")

    def _writer(self, place: str) -> ArchiveWriter:
        if self._open is None:
            local = Path(tempfile.mkdtemp(prefix="taskodec-"), "archive.tar") if is_url(place) else Path(place)
            if not is_url(place):
                writable_folder(local.parent)
            file = AtomicFile(local)
            self._open = place, file, ArchiveWriter(file.file)
        return self._open[2]

    def _finish(self, place: str) -> None:
        """Write the end, and move the archive to its place."""
        if self._broken == place:
            return
        self._writer(place).close()
        assert self._open is not None
        _, file, _ = self._open
        file.commit()
        if is_url(place):
            try:
                put_file(place, str(file.path))
            finally:
                shutil.rmtree(file.path.parent, ignore_errors=True)
        self._open = None

    def _drop(self, broken: str) -> None:
        """What was written of an archive goes, and no more is written to it."""
        if self._open is not None:
            place, file, writer = self._open
            writer.give_up()
            file.discard()
            if is_url(place):
                shutil.rmtree(file.path.parent, ignore_errors=True)
        self._open, self._broken = None, broken


def real(name: str) -> str:
    """A name that two names of one place have in common."""
    return name if is_url(name) else os.path.realpath(name)
