"""Pictures in and out: files, Pillow's pictures, arrays and tensors become (1, 3, H, W) floats in [0, 1], in sRGB.

Images are never resized: codecs get them padded to their stride (`pad_to`), and what they decode is cropped
back (`crop_to`). What cannot be kept, such as an alpha channel, is said in `LoadedImage.notes`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from taskodec.errors import ImageError, UsageError
from taskodec.files.atomic import write_atomic
from taskodec.pixels.pillow import encode_picture
from taskodec.pixels.reading import Pixels, picture_pixels, read_image, unit_pixels
from taskodec.stream.bitstream import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "ImageInput",
    "LoadedImage",
    "check_writable",
    "crop_to",
    "encode_image",
    "load_image",
    "pad_to",
    "save_image",
    "to_8bit",
    "to_pil",
]

log = logging.getLogger(__name__)

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | NDArray[Any] | Tensor

_SAVE: dict[str, tuple[str, dict[str, Any]]] = {
    ".bmp": ("BMP", {}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".png": ("PNG", {}),
    ".ppm": ("PPM", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".webp": ("WEBP", {"lossless": True}),
}


@dataclass(frozen=True)
class LoadedImage:
    """A picture as a codec takes it: `x` (1, 3, H, W), float32 in [0, 1], and what was done to get there."""

    x: Tensor
    notes: list[str] = field(default_factory=list)


def load_image(source: ImageInput, *, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Read a path, encoded bytes, an open file, a PIL image, a numpy array or a tensor.

    Arrays are (H, W) or (H, W, 1|3|4), tensors (3, H, W), (1, H, W), (1, 3, H, W) or (1, 1, H, W); both hold
    uint8, uint16 or floats in [0, 1]. Colours become those of sRGB, transparent pixels are composited on white.
    ImageError names the picture, what was found and what is valid.
    """
    rgb, notes = _read(source, max_pixels)
    x = torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None]  # (H, W, 3) -> (1, 3, H, W)
    log.debug("read a picture of %dx%d pixels%s", rgb.shape[1], rgb.shape[0], "".join(f"; {note}" for note in notes))
    return LoadedImage(x, notes)


def pad_to(x: Tensor, stride: int) -> Tensor:
    """Repeat the right column and the bottom row of (B, C, H, W) until H and W are multiples of `stride`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")


def crop_to(x: Tensor, height: int, width: int) -> Tensor:
    """The top left `height` x `width` of (B, C, H, W): what `pad_to` was given."""
    return x[..., :height, :width]


def to_8bit(x: Tensor) -> Tensor:
    """The floats in [0, 1] that an 8-bit picture of `x` holds; same shape, values outside are clamped."""
    return (x.clamp(0, 1) * 255).round() / 255


def to_pil(x: Tensor) -> Image.Image:
    """(1, 3, H, W) or (3, H, W) in [0, 1] to an RGB picture; values outside are clamped."""
    if x.dim() not in (3, 4) or x.shape[-3] != 3 or (x.dim() == 4 and x.shape[0] != 1):
        raise ImageError(f"cannot make a picture of shape {tuple(x.shape)}: give (1, 3, H, W) or (3, H, W)")
    pixels = x.detach().float().reshape(x.shape[-3:]).permute(1, 2, 0)  # (1, 3, H, W) -> (H, W, 3)
    if not bool(torch.isfinite(pixels).all()):
        raise ImageError("cannot make a picture of NaN or infinite values")
    return Image.fromarray((pixels.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def check_writable(path: Path) -> str:
    """The suffix that a picture is written by; UsageError for one that stands for no format here."""
    suffix = path.suffix.lower() or ".png"
    if suffix not in _SAVE:
        raise UsageError(f"cannot write {path}: suffix {path.suffix!r} is unknown, valid are {', '.join(_SAVE)}")
    return suffix


def save_image(image: Tensor | Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture in the format of its suffix (PNG without one), whole or not at all.

    PNG, BMP, PPM, TIFF and WebP keep every pixel; JPEG is written at quality 95. UsageError for another suffix, and for
    pictures that the format cannot hold: WebP takes 16383 pixels a side, JPEG 65500.
    """
    target = Path(path)
    write_atomic(target, encode_image(image, target))


def encode_image(image: Tensor | Image.Image, name: Path) -> bytes:
    """The file of a picture in the format that the suffix of a name stands for; UsageError as for `save_image`."""
    form, options = _SAVE[check_writable(name)]
    return encode_picture(to_pil(image) if isinstance(image, Tensor) else image, form, **options)


def _read(source: ImageInput, max_pixels: int) -> Pixels:
    if isinstance(source, Tensor):
        return unit_pixels(_tensor_channels(source), "<tensor>", max_pixels=max_pixels)
    if isinstance(source, np.ndarray):
        return unit_pixels(source, max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        return picture_pixels(source, max_pixels=max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        return read_image(bytes(source), max_pixels=max_pixels)
    if isinstance(source, str | os.PathLike):
        return read_image(Path(source), max_pixels=max_pixels)
    if hasattr(source, "read"):
        return read_image(source, max_pixels=max_pixels)
    raise ImageError(
        f"cannot read an image from {type(source).__name__}: give a path, bytes, an open binary file, "
        "a PIL image, a numpy array or a tensor"
    )


def _tensor_channels(x: Tensor) -> NDArray[Any]:
    """(C, H, W) or (1, C, H, W) with C of 1 or 3, as an (H, W, C) array."""
    if x.dim() == 4 and x.shape[0] == 1:
        x = x[0]  # (1, C, H, W) -> (C, H, W)
    if x.dim() != 3 or x.shape[0] not in (1, 3):
        raise ImageError(
            f"<tensor> has shape {tuple(x.shape)}: valid are (3, H, W), (1, H, W), (1, 3, H, W) and (1, 1, H, W)"
        )
    x = x.detach().cpu()
    x = x.float() if x.is_floating_point() else x
    return x.permute(1, 2, 0).numpy()  # (C, H, W) -> (H, W, C)
