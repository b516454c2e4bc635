"""Where outputs go that are members of archives. No torch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import AtomicFile
from taskodec.files.plans import writable_folder
from taskodec.sources.archives import ARCHIVES, ArchiveWriter, is_archive, is_whole
from taskodec.sources.entries import Broken, End, Entry
from taskodec.sources.remote import check_url, files_in, is_url, joined, put_file
from taskodec.sources.sinks import Sink
from taskodec.sources.trials import check_folder, check_target

__all__ = ["ArchiveSink"]


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

    def check(self) -> None:
        if self.each:
            check_folder(self.output)
        else:
            check_target(self.output)

    def place(self, archive: str) -> str:
        """Where what is made of an archive goes."""
        if not self.each:
            return self.output
        name = archive.rpartition("/")[2]
        ending = next(suffix for suffix in ARCHIVES if name.lower().endswith(suffix))
        name = f"{name[: -len(ending)]}.tar"
        return joined(self.output, name) if is_url(self.output) else str(Path(self.output, name))

    def is_kept(self, given: Sequence[str]) -> bool:
        """Whether the one archive is there and is kept; UsageError for any that is there and must not be.

        TaskodecError if the one archive is to be made and cannot be written.
        """
        if not self.each:
            kept = self.is_there(self.output)
            if not kept:
                self.check()
            return kept
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
        kept = self.is_there(place)
        if not kept:
            check_target(place)
        return kept

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
