"""Pictures in and out: anything Pillow reads, arrays and tensors become (1, 3, H, W) floats in [0, 1].

Images are never resized: codecs get them padded to their stride (`pad_to`), and what they decode is cropped
back (`crop_to`). What cannot be kept, such as an alpha channel, is said in `LoadedImage.notes`.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from taskodec.bitstream import MAX_PIXELS
from taskodec.errors import ImageError, UsageError
from taskodec.files import write_atomic

__all__ = [
    "MAX_PIXELS",
    "ImageInput",
    "LoadedImage",
    "crop_to",
    "load_image",
    "pad_to",
    "save_image",
    "to_8bit",
    "to_pil",
]

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
    uint8, uint16 or floats in [0, 1]. Transparent pixels are composited on white. ImageError names the
    picture, what was found and what is valid.
    """
    if isinstance(source, Tensor):
        return _from_channels(_tensor_channels(source), "<tensor>", [], max_pixels)
    if isinstance(source, np.ndarray):
        return _from_channels(source, "<array>", [], max_pixels)
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "<image>")
        return _decode(lambda: source, name, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        data = io.BytesIO(source)
        return _decode(lambda: Image.open(data), "<bytes>", max_pixels)
    if isinstance(source, str | os.PathLike):
        return _load_path(Path(source), max_pixels)
    if hasattr(source, "read"):
        return _decode(lambda: Image.open(source), str(getattr(source, "name", "<file>")), max_pixels)
    raise ImageError(
        f"cannot read an image from {type(source).__name__}: give a path, bytes, an open binary file, "
        "a PIL image, a numpy array or a tensor"
    )


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


def save_image(image: Tensor | Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture in the format of its suffix (PNG without one), whole or not at all.

    PNG, BMP, PPM, TIFF and WebP keep every pixel; JPEG is written at quality 95. UsageError for another suffix.
    """
    target = Path(path)
    suffix = target.suffix.lower() or ".png"
    if suffix not in _SAVE:
        raise UsageError(f"cannot write {target}: suffix {target.suffix!r} is unknown, valid are {', '.join(_SAVE)}")
    form, options = _SAVE[suffix]
    buffer = io.BytesIO()
    (to_pil(image) if isinstance(image, Tensor) else image).save(buffer, form, **options)
    write_atomic(target, buffer.getvalue())


def _load_path(path: Path, max_pixels: int) -> LoadedImage:
    try:
        with path.open("rb") as file:
            return _decode(lambda: Image.open(file), str(path), max_pixels)
    except OSError as error:
        raise ImageError(f"cannot open {path}: {error.strerror or error}") from error


def _decode(opened: Callable[[], Image.Image], name: str, max_pixels: int) -> LoadedImage:
    """Open and decode with Pillow, its warnings as notes, whatever it raises as an ImageError."""
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
    return _from_channels(channels, name, notes, max_pixels)


def _pixels(image: Image.Image, name: str, max_pixels: int) -> tuple[NDArray[Any], list[str]]:
    """The first frame, upright, as an array of grey, RGB or RGBA."""
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


def _from_channels(values: NDArray[Any], name: str, notes: list[str], max_pixels: int) -> LoadedImage:
    """(H, W) or (H, W, 1|3|4) of any supported type to the tensor a codec takes."""
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
    rgb = np.broadcast_to(unit, (*unit.shape[:2], 3))
    x = torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None]  # (H, W, 3) -> (1, 3, H, W)
    return LoadedImage(x, notes)


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
