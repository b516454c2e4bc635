"""Colours to sRGB by ICC profiles, through LittleCMS as Pillow has it. No torch.

Relative colorimetric with black-point compensation, as photographs are mostly printed and shown; for profiles made of
primaries and curves, which those of cameras and screens are, every intent gives the same.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["GRAYS", "Conversion", "ProfileError", "conversion"]

GRAYS = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of one colour."""

SPACES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}
"""What profiles call a space of colours, and Pillow's mode of pictures in it."""

SAME = 2
"""By how many of 255 steps a profile may differ from sRGB anywhere and be one of its many versions."""


class ProfileError(Exception):
    """A profile cannot be used; says why."""


@dataclass(frozen=True)
class Conversion:
    """From the space of a profile to sRGB, by LittleCMS' `transform` of pictures in a mode of Pillow.

    `name` is what the profile calls itself, fit to be printed; `unchanged` says that the space is sRGB.
    """

    name: str
    mode: str
    transform: Any
    unchanged: bool

    def picture(self, image: Image.Image) -> Image.Image:
        """A picture of 8 bits in RGB, or RGBA if some of it is transparent."""
        if not image.has_transparency_data:
            return self._apply(image.convert(self.mode)).convert("RGB")
        whole = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        opaque = whole.getchannel("R") if self.mode == "L" else whole.convert("RGB")  # of grey all channels are equal
        converted = self._apply(opaque).convert("RGB")
        converted.putalpha(whole.getchannel("A"))
        return converted

    def grays(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """Grey values in [0, 1] of any shape, more than 8 bits fine: between steps of 8 bits the curve is straight."""
        return np.interp(unit, np.linspace(0, 1, 256), self._curve() / 255).astype(np.float32)

    def _apply(self, image: Image.Image) -> Image.Image:
        if self.mode == "L":
            return image.point(self._curve().tolist())
        converted: Image.Image = self.transform.apply(image)
        return converted

    def _curve(self) -> NDArray[np.uint8]:
        """What becomes of each grey value; greys stay without colour, up to rounding."""
        curve: NDArray[np.uint8] = np.asarray(self.transform.apply(_ramp()))[0, :, 1]
        return curve


def conversion(profile: object, mode: str) -> Conversion | None:
    """How pictures of a mode of Pillow with this profile become sRGB; None if they are.

    ProfileError if the profile is broken, for other colours than the mode has, or there is no LittleCMS.
    """
    if not isinstance(profile, bytes) or not profile:
        raise ProfileError("it is damaged")
    try:
        found = _conversion(profile)
    except ProfileError:
        raise
    except ImportError as error:
        raise ProfileError("this Pillow has no LittleCMS") from error
    except Exception as error:  # profiles come from anywhere, and LittleCMS has many ways to say no
        raise ProfileError("it is damaged") from error
    wanted = "L" if mode in GRAYS else "CMYK" if mode == "CMYK" else "RGB"
    if found.mode != wanted:
        if found.unchanged and wanted == "L":  # grey values of sRGB are what greys without a profile are
            return None
        raise ProfileError(f"it is for {found.mode}, and the picture is {wanted}")
    return None if found.unchanged else found


@lru_cache(maxsize=16)
def _conversion(profile: bytes) -> Conversion:
    """Photographs of one camera have the same; called by one thread at a time, for which transforms are made."""
    from PIL import ImageCms

    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space.strip()
    if space not in SPACES:
        raise ProfileError(f"it is for {_printable(space)}; valid: {', '.join(SPACES)}")
    mode, flags = SPACES[space], ImageCms.Flags.BLACKPOINTCOMPENSATION
    if mode == "L":  # of which LittleCMS makes so coarse a table that dark greys are off by ten steps
        flags |= ImageCms.Flags.NOOPTIMIZE
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)
    name = _printable(opened.profile.profile_description or "") or "a colour profile without a name"
    return Conversion(name, mode, transform, _changes_nothing(transform, mode))


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether 4096 colours all over the space stay as they are."""
    if mode == "CMYK":
        return False
    probe = _ramp() if mode == "L" else _grid()
    before, after = np.asarray(probe.convert("RGB")), np.asarray(transform.apply(probe))
    return int(np.abs(before.astype(int) - after).max()) <= SAME


def _ramp() -> Image.Image:
    """All grey values in a row."""
    from PIL import Image

    return Image.fromarray(np.arange(256, dtype=np.uint8)[None])


def _grid() -> Image.Image:
    from PIL import Image

    steps = np.linspace(0, 255, 16).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    return Image.fromarray(grid.reshape(64, 64, 3))  # (16, 16, 16, 3) -> (64, 64, 3)


def _printable(text: str) -> str:
    """Text of a stranger, without what would steer a terminal, and not more than a line of it."""
    kept = "".join(c for c in text if c.isprintable()).strip()
    return kept if len(kept) <= 60 else f"{kept[:59]}…"
