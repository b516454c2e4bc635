"""Pictures as arrays: whatever Pillow reads, and arrays of several types, become (H, W, 3) floats in [0, 1]. No torch.

Images are never resized. What cannot be kept, such as an alpha channel, is said in notes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from taskodec.errors import ImageError
from taskodec.extras import require
from taskodec.stream.bitstream import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Pixels", "decode_image", "read_image", "require_pillow", "unit_pixels"]

Pixels = tuple[NDArray[np.float32], list[str]]
"""RGB (H, W, 3) in [0, 1], and notes on what was done to get there."""


def read_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read a file, or the bytes of one. ImageError says why it cannot be read, UsageError that Pillow is missing."""
    require_pillow()
    from PIL import Image

    if isinstance(source, bytes):
        return decode_image(lambda: Image.open(io.BytesIO(source)), "<bytes>", max_pixels)
    try:
        with source.open("rb") as file:
            return decode_image(lambda: Image.open(file), str(source), max_pixels)
    except OSError as error:
        raise ImageError(f"cannot open {source}: {error.strerror or error}") from error


def require_pillow() -> None:
    """UsageError if it is not here."""
    require("encode", "what reads pictures")


def decode_image(opened: Callable[[], Image.Image], name: str, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Open and decode with Pillow, its warnings as notes, whatever it raises as an ImageError."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            channels, notes = _pixels(opened(), name, max_pixels)
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name} is too large: {error}") from error
        except UnidentifiedImageError as error:
            raise ImageError(f"{name} is not an image in a format that Pillow reads (PNG, JPEG, WebP, …)") from error
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise ImageError(f"{name} cannot be decoded, it may be damaged: {error}") from error
    notes += [str(w.message) for w in caught if w.category is UserWarning]
    return unit_pixels(channels, name, notes, max_pixels=max_pixels)


def unit_pixels(
    values: NDArray[Any], name: str = "<array>", notes: list[str] | None = None, *, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """(H, W) or (H, W, 1|3|4) of uint8, uint16 or floats in [0, 1]; further notes are added to `notes`."""
    notes = notes or []
    if values.ndim == 2:
        values = values[..., None]  # (H, W) -> (H, W, 1)
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        raise ImageError(f"{name} has shape {values.shape}: valid are (H, W), (H, W, 1), (H, W, 3) and (H, W, 4)")
    _check_size(name, values.shape[0], values.shape[1], max_pixels)
    unit = _to_unit(values, name)
    if unit.shape[2] == 4:
        colour, alpha = unit[..., :3], unit[..., 3:]
        unit = colour * alpha + (1 - alpha)
        notes = [*notes, "alpha composited on white" if alpha.min() < 1 else "opaque alpha dropped"]
    return np.broadcast_to(unit, (*unit.shape[:2], 3)), notes


def _pixels(image: Image.Image, name: str, max_pixels: int) -> tuple[NDArray[Any], list[str]]:
    """The first frame, upright, as an array of grey, RGB or RGBA."""
    from PIL import ImageOps

    _check_size(name, image.height, image.width, max_pixels)
    notes = []
    if _frames(image) > 1:
        notes.append(f"{_frames(image)} frames: only number {image.tell() + 1} is used")
    if ";16" in str(getattr(image, "tile", "")) and image.mode in ("LA", "RGB", "RGBA"):
        notes.append("16 bits a channel read as 8")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I", "I;16", "I;16B", "I;16L", "I;16N"):
        return _wide_grey(image, name), notes
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        notes.append(f"{image.mode} converted to RGB without a colour profile")
    if image.mode == "La":  # premultiplied: Pillow has no direct way to RGBA
        image = image.convert("LA")
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA")), notes
    return np.asarray(image.convert("RGB")), notes


def _wide_grey(image: Image.Image, name: str) -> NDArray[Any]:
    """Greyscale of 16 or 32 bits: integers count as 16-bit, floats must already lie in [0, 1]."""
    values = np.asarray(image)
    if image.mode == "F":
        return values
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name} holds 32-bit grey values from {values.min()} to {values.max()}: valid are 0 to 65535 (16 bits)"
        )
    return values.astype(np.uint16)


def _frames(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _to_unit(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """uint8, uint16 or floats in [0, 1] to float32 in [0, 1]."""
    if values.dtype in (np.uint8, np.uint16):
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if not np.issubdtype(values.dtype, np.floating):
        raise ImageError(f"{name} holds {values.dtype}: valid are uint8, uint16, and floats in [0, 1]")
    if not np.isfinite(values).all():
        raise ImageError(f"{name} holds NaN or infinite values: valid are floats in [0, 1]")
    if values.min() < 0 or values.max() > 1:
        raise ImageError(
            f"{name} holds floats from {values.min():g} to {values.max():g}: valid are floats in [0, 1]; "
            "divide 8-bit values by 255"
        )
    return values.astype(np.float32)


def _check_size(name: str, height: int, width: int, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"{name} is {width}x{height} pixels: an image needs at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"{name} is {width}x{height} pixels: the limit is {max_pixels} in all; raise limits.max_pixels for more"
        )
