"""Tar archives, WebDataset's shards among them: members one after the other in, and whole archives out. No torch.

Nothing is ever unpacked to where an archive says: members are bytes with a name, and names that leave the folder they
would be in, links and devices are errors.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from taskodec.errors import TaskodecError
from taskodec.files.inputs import open_input
from taskodec.sources.entries import Broken, End, Entry, Stream
from taskodec.sources.remote import is_url, open_url

__all__ = ["ARCHIVES", "ArchiveWriter", "is_archive", "is_whole", "members", "outside"]

ARCHIVES = (".tar", ".tar.gz", ".tgz")
"""Suffixes of archives that are read; those that are written are `.tar`."""

END_MARK = bytes(2 * tarfile.BLOCKSIZE)

DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, LZMAError)
"""What reading a damaged archive raises."""


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive, by its suffix."""
    return name.lower().endswith(ARCHIVES)


def outside(name: str) -> bool:
    """Whether a name leaves the folder that it would be put into, or is none."""
    parts = name.split("/")
    return name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or not parts[-1].strip(".")


def members(name: str, wanted: Callable[[str], bool], most: int) -> Stream:
    """What is in an archive: the members whose names are `wanted`, and as `copied` the other files.

    None has more than `most` bytes. A `Broken` for each member that must not be used. The last is an `End`, or a
    `Broken` that names the archive, which was cut or damaged: what came before is right.
    """
    count = 0
    try:
        with _opened(name, most) as (archive, about):
            for member in archive:
                _forget(archive)
                count += 1
                if not member.isdir():
                    yield _member(archive, member, name, wanted, most)
            if about.cut:
                raise tarfile.ReadError("it does not end as archives do")
    except DAMAGE as error:
        said = str(error) or type(error).__name__
        yield Broken(name, TaskodecError(f"{name} cannot be read on after {count} members: {said}"), name)
    except TaskodecError as error:
        yield Broken(name, error, name)
    else:
        yield End(name)


def _member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, wanted: Callable[[str], bool], most: int
) -> Entry | Broken:
    key = member.name.removeprefix("./")
    shown = f"{name}/{key}"
    if outside(key):
        return Broken(shown, TaskodecError(f"{shown}: names in archives must be relative, without .. and \\"))
    if not member.isfile():
        kind = "a link" if member.islnk() or member.issym() else "a device"
        return Broken(shown, TaskodecError(f"{shown} is {kind}, and not followed: archive the file itself"))
    if member.size > most:
        return Broken(shown, TaskodecError(f"{shown} holds {member.size} bytes, the limit is {most}"))
    file = archive.extractfile(member)
    assert file is not None
    data = file.read()
    if len(data) != member.size:
        raise tarfile.ReadError(f"{key} is cut off")
    return Entry(shown, key, None, data, name, not wanted(key))


class _About:
    """What an archive's reading has met."""

    def __init__(self) -> None:
        self.cut = False


@contextmanager
def _opened(name: str, most: int) -> Iterator[tuple[tarfile.TarFile, _About]]:
    """An archive as a stream, which is read once and not kept."""
    about = _About()

    class Header(tarfile.TarInfo):
        """Remembers an end that is not marked, which tarfile takes for one."""

        @classmethod
        def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
            try:
                return super().fromtarfile(archive)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                raise
            except tarfile.HeaderError:
                about.cut = True
                raise

    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(open_url(name) if is_url(name) else open_input(Path(name), most))
        yield stack.enter_context(tarfile.open(fileobj=file, mode="r|*", tarinfo=Header)), about


def _forget(archive: Any) -> None:
    """What an archive keeps of its members, which is all of them."""
    archive.members = []


class ArchiveWriter:
    """Writes members one after the other; the same members are the same bytes, whenever and by whom."""

    def __init__(self, file: BinaryIO) -> None:
        self._archive = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, key: str, data: bytes) -> None:
        """Write a member; TaskodecError if it cannot be."""
        about = tarfile.TarInfo(key)
        about.size = len(data)
        self._archive.addfile(about, io.BytesIO(data))
        _forget(self._archive)

    def close(self) -> None:
        """Write the end."""
        self._archive.close()

    def give_up(self) -> None:
        """Nothing more is written: tarfile else does so when it is forgotten, into a file that is closed by then."""
        with suppress(Exception):
            self._archive.close()


def is_whole(path: Path) -> bool:
    """Whether an archive has its end: it was written to the last."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size < len(END_MARK):
            return False
        file.seek(-len(END_MARK), io.SEEK_END)
        return file.read() == END_MARK
