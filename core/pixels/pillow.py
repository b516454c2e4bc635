"""Pillow with the limits of this project: the formats that pictures are read in, and `max_pixels`. No torch.

Pillow has a limit of its own, beyond which it refuses pictures whatever is asked of it, and warns of what it finds odd.
"""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from taskodec.errors import ImageError, UsageError
from taskodec.files.atomic import FORMATS, pointer_to
from taskodec.pixels.bare_files import without_metadata

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Opened",
    "check_size",
    "decode_file",
    "encode_picture",
    "open_picture",
    "opened_size",
    "picture_size",
    "reading",
    "warned",
]

T = TypeVar("T")

_ONE_AT_A_TIME = threading.RLock()

SIDES = {"AVIF": 32768, "JPEG": 65500, "WEBP": 16383}
"""The most pixels that a side of a format has: those of libjpeg and libwebp, and what libavif reads again."""

SIGNS = (
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"8BPS", "a Photoshop document"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (0, b"<", "text (HTML, XML or SVG)"),
)
"""Where what begins files that are often taken for pictures that can be read."""


@contextmanager
def reading(name: str, max_pixels: int) -> Iterator[list[warnings.WarningMessage]]:
    """Whatever Pillow raises within is an ImageError, its warnings are collected, and `max_pixels` is its limit.

    Threads take turns, for warnings belong to the process. Others, that read by Pillow alone, keep its limit.
    """
    from PIL import UnidentifiedImageError

    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught, _limit(name, max_pixels):
        warnings.simplefilter("always")
        try:
            yield caught
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError("; ".join([str(error), *warned(caught)])) from error  # such as of a format that it lacks
        except MemoryError as error:
            raise ImageError(f"{name} does not fit into memory") from error
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise ImageError(
                f"{name} cannot be decoded, it may be damaged: {str(error) or type(error).__name__}"
            ) from error


def open_picture(file: IO[bytes], name: str, formats: Collection[str] = tuple(FORMATS)) -> Image.Image:
    """A file as Pillow's picture, its pixels not yet read; only within `reading`.

    UnidentifiedImageError says what else it is.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file, formats=tuple(formats))
    except UnidentifiedImageError as error:
        raise UnidentifiedImageError(f"{name} is {_what(file, formats)}") from error


@dataclass(frozen=True)
class Opened:
    """A picture whose pixels are not yet read, and its file, which can be read anywhere.

    `whole` is False where Pillow failed at first: then the pixels alone are opened, if the rest can be left out.
    """

    image: Image.Image
    file: IO[bytes]
    whole: bool


def decode_file(file: IO[bytes], name: str, max_pixels: int, work: Callable[[Opened], T]) -> tuple[T, list[str]]:
    """What `work` makes of the picture in a file, at the second try if need be, and notes; ImageError if it cannot."""
    with reading(name, max_pixels) as caught:
        file = file if _can_seek(file) else io.BytesIO(file.read())
        try:
            image = open_picture(file, name)
            check_size(name, image.height, image.width, max_pixels)
            notes, done = [], work(Opened(image, file, whole=True))
        except ImageError:
            raise
        except Exception as error:  # what is wrong may lie beside the pixels
            caught.clear()
            image = _again(file, name, error)
            check_size(name, image.height, image.width, max_pixels)
            notes = ["parts of the file beside the pixels cannot be read, and were left out"]
            done = work(Opened(image, file, whole=False))
    return done, [*notes, *warned(caught)]


def warned(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """What Pillow had to say; its other kinds of warnings are for programmers."""
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height from the header, of any size; ImageError if it cannot be read.

    They are those of the pixels as they are stored: a picture that lies on its side has them exchanged.
    """
    try:
        with path.open("rb") as file:
            return opened_size(file, str(path))
    except OSError as error:
        raise ImageError(f"cannot open {path}: {error.strerror or error}") from error


def opened_size(file: IO[bytes], name: str) -> tuple[int, int]:
    """The same of an open file."""
    return decode_file(file, name, sys.maxsize, lambda opened: opened.image.size)[0]


def encode_picture(image: Image.Image, form: str, **options: Any) -> bytes:
    """A file of one of Pillow's formats; UsageError if that cannot hold the picture."""
    size, most = f"{image.width}x{image.height}", SIDES.get(form)
    if most is not None and max(image.size) > most:
        name = "WebP" if form == "WEBP" else form
        raise UsageError(
            f"{name} takes at most {most} pixels a side, and the picture has {size}: choose another format"
        )
    buffer = io.BytesIO()
    try:
        image.save(buffer, form, **options)
    except Exception as error:  # encoders raise nearly anything on what is too large for them
        raise UsageError(
            f"a picture of {size} pixels, mode {image.mode}, cannot be written as {form}: "
            f"{str(error) or type(error).__name__}; choose another format"
        ) from error
    return buffer.getvalue()


def check_size(name: str, height: int, width: int, max_pixels: int) -> None:
    """ImageError for a picture without pixels, or with more than the limit."""
    if height < 1 or width < 1:
        raise ImageError(f"{name} is {width}x{height} pixels: an image needs at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"{name} is {width}x{height} pixels: the limit is {max_pixels} in all; raise limits.max_pixels for more"
        )


@contextmanager
def _limit(name: str, max_pixels: int) -> Iterator[None]:
    """`max_pixels` wherever Pillow asks for its own limit, before memory is taken, in this thread alone."""
    from PIL import Image

    own: Any = getattr(Image, "_decompression_bomb_check", None)
    if own is None:
        yield
        return
    thread = threading.get_ident()

    def check(size: tuple[int, int], **options: Any) -> None:
        if threading.get_ident() != thread:
            own(size, **options)
        elif size[0] > 0 and size[1] > 0:  # others are parts of pictures, or said to be wrong later
            check_size(name, size[1], size[0], max_pixels)

    Image._decompression_bomb_check = check
    try:
        yield
    finally:
        Image._decompression_bomb_check = own


def _can_seek(file: IO[bytes]) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if callable(seekable) else hasattr(file, "seek")


def _again(file: IO[bytes], name: str, error: Exception) -> Image.Image:
    """The picture in a file with its pixels alone, or in the same file where that cannot be made."""
    bare = without_metadata(file)
    if bare is None:
        return open_picture(file, name)
    try:
        image = open_picture(bare[0], name)
    except Exception:  # says less than the first
        raise error from None
    image.info.update(bare[1])
    return image


def _what(file: IO[bytes], formats: Collection[str]) -> str:
    """What a file is that is no picture."""
    file.seek(0)
    start = file.read(64)
    if not start:
        return "empty, not an image"
    known = next((f"{what}, " for at, sign, what in SIGNS if start.startswith(sign, at)), "")
    return pointer_to("the picture", start) or f"{known}not an image in a format that is read: {', '.join(formats)}"
