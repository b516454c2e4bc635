"""Pictures as arrays: files, Pillow's pictures and arrays of several types become (H, W, 3) floats in [0, 1]. No torch.

Images are never resized. Colours become those of sRGB. What was changed for that, and what cannot be kept, such as an
alpha channel, is said in notes. `docs/limits.md` has what is read, and how.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from taskodec.errors import ImageError
from taskodec.extras import require
from taskodec.files.inputs import most_bytes, open_input
from taskodec.pixels.colour import GRAYS, Conversion, ProfileError, conversion
from taskodec.pixels.colour_tags import bits_a_channel, declared_profile
from taskodec.pixels.exif import orientation
from taskodec.pixels.pillow import Opened, check_size, decode_file, reading, warned
from taskodec.stream.bitstream import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Pixels", "picture_pixels", "read_image", "require_pillow", "unit_pixels"]

Pixels = tuple[NDArray[np.float32], list[str]]
"""RGB (H, W, 3) in [0, 1], and notes on what was done to get there."""

UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What Pillow calls the way from each orientation of EXIF to upright."""

WIDE_GRAYS = GRAYS - {"1", "L", "LA", "La"}
"""Modes of more than 8 bits, without alpha."""


def read_image(source: Path | bytes | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read a file, the bytes of one, or an open one from its start.

    ImageError says why it cannot be read, UsageError that Pillow is missing.
    """
    require_pillow()
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), "<bytes>", max_pixels)
    if not isinstance(source, Path):
        return _from_file(source, str(getattr(source, "name", "<file>")), max_pixels)
    try:
        with open_input(source, most_bytes(max_pixels)) as file:
            return _from_file(file, str(source), max_pixels)
    except OSError as error:
        raise ImageError(f"cannot open {source}: {error.strerror or error}") from error


def picture_pixels(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The pixels of a picture of Pillow's; ImageError if they cannot be read."""
    name = str(getattr(image, "filename", "") or "<image>")
    with reading(name, max_pixels) as said:
        check_size(name, image.height, image.width, max_pixels)
        left_out = _frames_left_out(image)
        channels, notes = _channels(image, name, None)
    return unit_pixels(channels, name, [*left_out, *notes, *warned(said)], max_pixels=max_pixels)


def require_pillow() -> None:
    """UsageError if it is not here."""
    require("encode", "what reads pictures")


def unit_pixels(
    values: NDArray[Any], name: str = "<array>", notes: list[str] | None = None, *, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """(H, W) or (H, W, 1|3|4) of uint8, uint16 or floats in [0, 1]; further notes are added to `notes`."""
    notes = notes or []
    if values.ndim == 2:
        values = values[..., None]  # (H, W) -> (H, W, 1)
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        raise ImageError(f"{name} has shape {values.shape}: valid are (H, W), (H, W, 1), (H, W, 3) and (H, W, 4)")
    check_size(name, values.shape[0], values.shape[1], max_pixels)
    unit = _to_unit(values, name)
    if unit.shape[2] == 4:
        colour, alpha = unit[..., :3], unit[..., 3:]
        unit = colour * alpha + (1 - alpha)
        notes = [*notes, "alpha composited on white" if alpha.min() < 1 else "opaque alpha dropped"]
    return np.broadcast_to(unit, (*unit.shape[:2], 3)), list(dict.fromkeys(notes))


def _from_file(file: IO[bytes], name: str, max_pixels: int) -> Pixels:
    def work(opened: Opened) -> tuple[NDArray[Any], list[str]]:
        left_out = _frames_left_out(opened.image) if opened.whole else []
        channels, notes = _channels(opened.image, name, opened.file)
        return channels, [*left_out, *notes]

    (channels, notes), more = decode_file(file, name, max_pixels, work)
    return unit_pixels(channels, name, [*notes, *more], max_pixels=max_pixels)


def _frames_left_out(image: Image.Image) -> list[str]:
    count = int(getattr(image, "n_frames", 1))
    return [f"{count} frames: only number {image.tell() + 1} is used"] if count > 1 else []


def _channels(image: Image.Image, name: str, file: IO[bytes] | None) -> tuple[NDArray[Any], list[str]]:
    """The frame, upright, as an array of grey, RGB or RGBA in sRGB; `file` is where it comes from, if that is known."""
    notes = []
    form, bits = image.format, 8 if image.mode in WIDE_GRAYS else bits_a_channel(image, file)
    notes += [f"{bits} bits a channel read as 8"] if bits > 8 else []
    image.load()  # some of what is beside the pixels comes after them
    clear = image.info.get("transparency")
    if bits == 16 and isinstance(clear, tuple):  # Pillow leaves it at 16 bits
        image = image.copy()  # which is ours to change
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    profile, said = declared_profile(image.info, form, file, gray=image.mode in GRAYS)
    notes += [said] if said else []
    if form != "TIFF":  # which Pillow turns
        image, said = _upright(image)
        notes += [said] if said else []
    to_srgb, said = _to_srgb(profile, image.mode)
    notes += [said] if said else []
    if image.mode in WIDE_GRAYS:
        return _wide_gray(image, name, to_srgb), notes
    return _colours(image, to_srgb), notes


def _upright(image: Image.Image) -> tuple[Image.Image, str]:
    from PIL import Image

    turn, note = orientation(image.info)
    return (image.transpose(Image.Transpose[UPRIGHT[turn]]) if turn in UPRIGHT else image), note


def _to_srgb(profile: object, mode: str) -> tuple[Conversion | None, str]:
    """What makes colours sRGB, and what there is to say of them."""
    if mode == "LAB":
        return None, "LAB converted to sRGB"
    reason = "without a colour profile"
    if profile is not None:
        try:
            found = conversion(profile, mode)
            return found, f"colours converted from {found.name!r} to sRGB" if found is not None else ""
        except ProfileError as error:
            reason = f"and the colour profile not used: {error}"
    if mode in ("CMYK", "YCbCr", "HSV"):
        return None, f"{mode} converted to RGB {reason}"
    return None, "" if profile is None else f"colours read as sRGB {reason}"


def _colours(image: Image.Image, to_srgb: Conversion | None) -> NDArray[Any]:
    """RGB or RGBA of 8 bits."""
    if to_srgb is not None:
        return np.asarray(to_srgb.picture(image))
    if image.mode == "La":  # premultiplied: Pillow has no direct way to RGBA
        image = image.convert("LA")
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _wide_gray(image: Image.Image, name: str, to_srgb: Conversion | None) -> NDArray[Any]:
    """Greyscale of 16 or 32 bits: integers count as 16-bit, floats must already lie in [0, 1]."""
    values = np.asarray(image)
    if image.mode != "F":
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"{name} holds 32-bit grey values from {values.min()} to {values.max()}: valid are 0 to 65535 (16 bits)"
            )
        values = values.astype(np.uint16)
    clear = image.info.get("transparency")
    unit = _to_unit(values, name)
    if to_srgb is not None:
        unit = to_srgb.grays(unit)
    if not isinstance(clear, int):
        return unit
    gray = unit[..., None]  # (H, W) -> (H, W, 1)
    alpha = (values != clear).astype(np.float32)[..., None]
    return np.concatenate([gray, gray, gray, alpha], axis=-1)


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
