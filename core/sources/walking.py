"""From what a command is given to the names that it means, one by one. No torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from taskodec.errors import TaskodecError, UsageError
from taskodec.files.inputs import STANDARD, argument
from taskodec.sources.archives import is_archive, members, outside
from taskodec.sources.entries import Broken, Element, End, Entry, Stream
from taskodec.sources.remote import Listing, check_url, is_url, joined, names_at, open_url, split_url

__all__ = ["LIST", "Inputs"]

LIST = "@"
"""Before a list of names."""

LONGEST = 2**16
"""Bytes of a line in a list; no system has longer paths."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of a command, which can be gone through as often as they can be read.

    Args:
        given: paths, URLs, `-`, and lists as `@FILE`.
        suffixes: those of files that are taken from folders and archives.
        recursive: take folders at any depth, and keep the folders that names have.
        most: bytes that a member of an archive may have.
    """

    given: Sequence[str]
    suffixes: frozenset[str]
    recursive: bool = False
    most: int = 2**30

    @cached_property
    def alone(self) -> bool:
        """Whether it is one file, or standard input, which can become one file."""
        if len(self.given) != 1 or self.given[0].startswith(LIST) or is_archive(self.given[0]):
            return False
        only = self.given[0]
        if is_url(only):
            return not only.endswith("/") and names_at(only, False) is None
        return only == str(STANDARD) or not Path(only).is_dir()

    @property
    def listed(self) -> bool:
        """Whether all names can be gone through beforehand, at no cost: those on this machine, outside archives."""
        return not any(is_url(name) or is_archive(name) or name in ("-", "@-") for name in self.given)

    def elements(self, done: Callable[[str], bool] | None = None) -> Stream:
        """Everything, in the order given; of an archive that is `done`, no more than its end.

        UsageError for a name that is wrong in itself: a folder without pictures, a list that is not there.
        """
        for name in self.given:
            if name.startswith(LIST):
                yield from self._of_list(name[len(LIST) :], done)
            else:
                yield from self._of(name, done)

    def _of(self, name: str, done: Callable[[str], bool] | None, listed: bool = False) -> Stream:
        if name == str(STANDARD):
            yield Entry(name, name, STANDARD)
        elif not is_url(name) and Path(name).is_dir():
            yield from self._of_folder(name)
        elif is_archive(name):
            yield from [End(name, kept=True)] if done and done(name) else members(name, self._is_wanted, self.most)
        elif is_url(name):
            yield from self._of_url(name, listed)
        else:
            path = argument(name)
            yield Entry(str(path), self._key(name, listed), path)

    def _of_folder(self, folder: str) -> Stream:
        empty = True
        for below, names in _folders(folder, self.recursive):
            if isinstance(names, TaskodecError):
                yield Broken(str(Path(folder, below)), names)
                continue
            for name in filter(self._is_wanted, names):
                empty = False
                path = Path(folder, below, name)
                yield Entry(str(path), f"{below}/{name}" if below else name, path)
        if empty:
            raise UsageError(self._no_file(folder))

    def _of_url(self, url: str, listed: bool) -> Stream:
        check_url(url)
        try:
            yield from self._found_at(url, listed)
        except UsageError:
            raise
        except TaskodecError as error:  # of this one; others are done, as with a file that is not there
            yield Broken(url, error)

    def _found_at(self, url: str, listed: bool) -> Stream:
        found = names_at(url, self.recursive)
        if found is None:
            yield Entry(url, self._key(split_url(url)[1], listed))
            return
        empty = True
        for below, names in found:
            if isinstance(names, TaskodecError):
                yield Broken(joined(url, below), names)
                continue
            for name in filter(self._is_wanted, names):
                empty = False
                key = f"{below}/{name}" if below else name
                yield Entry(joined(url, key), key)
        if empty:
            raise UsageError(self._no_file(url))

    def _of_list(self, name: str, done: Callable[[str], bool] | None) -> Stream:
        """What a list names, line by line; what is wrong with a line does not end the list."""
        empty = True
        for line in _lines(name):
            empty = False
            if line in ("-", "") or "\0" in line:
                yield Broken(line, UsageError(f"{name}: a line that names no file: {line!r}"))
                continue
            yield from _guarded(line, self._of(line, done, listed=True))
        if empty:
            raise UsageError(f"the list {name} names nothing; give a text file with a name in each line")

    def _key(self, name: str, listed: bool) -> str:
        """The name of what is named by itself; of a list, with `recursive`, with its folders."""
        key = os.path.normpath(name).lstrip("/") if listed and self.recursive else name.rstrip("/").rpartition("/")[2]
        if outside(key):
            raise UsageError(f"{name}: names that lead upwards cannot be kept below -o; leave --recursive out")
        return key

    def _is_wanted(self, key: str) -> bool:
        """Whether a file of this name is taken from a folder: hidden ones are not, macOS puts them beside pictures."""
        name = key.rpartition("/")[2]
        return not name.startswith(".") and os.path.splitext(name)[1].lower() in self.suffixes  # noqa: PTH122

    def _no_file(self, folder: str) -> str:
        deeper = "" if self.recursive else "; --recursive looks into the folders below too"
        return f"folder {folder} holds no file of type {', '.join(sorted(self.suffixes))}{deeper}"


def _guarded(name: str, stream: Stream) -> Iterator[Element]:
    try:
        yield from stream
    except TaskodecError as error:
        yield Broken(name, error)


def _folders(folder: str, recursive: bool) -> Iterator[Listing]:
    """A folder and those below it, from its top, each with the names of its files, sorted; one is held at a time."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        place = Path(folder, below)
        try:
            with os.scandir(place) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False), entry.is_file()) for entry in found]
        except OSError as error:
            failed = UsageError(f"cannot read folder {place}: {error.strerror or error}")
            if not below:
                raise failed from error
            yield below, failed
            continue
        yield below, sorted(name for name, _, is_file in entries if is_file)
        if recursive:
            shown = sorted((name for name, is_folder, _ in entries if is_folder and name[0] != "."), reverse=True)
            waiting += [f"{below}/{name}" if below else name for name in shown]


def _lines(name: str) -> Iterator[str]:
    """The lines of a list, a file, a URL or `-`, one at a time; names are bytes where they are no UTF-8."""
    try:
        if name == str(STANDARD):
            yield from _lines_of(sys.stdin.buffer, "standard input")
        elif is_url(name):
            with open_url(name) as file:
                yield from _lines_of(file, name)
        else:
            with Path(name).open("rb") as file:
                yield from _lines_of(file, name)
    except OSError as error:
        raise UsageError(f"cannot read the list {name}: {error.strerror or error}") from error


def _lines_of(file: IO[bytes], name: str) -> Iterator[str]:
    first = True
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise UsageError(f"the list {name} has a line of more than {LONGEST} bytes: it is no list of names")
        line = line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False
        if line := line.rstrip(b"\r\n"):
            yield os.fsdecode(line)
