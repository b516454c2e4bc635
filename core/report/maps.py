"""Numbers over a picture as colours: bits, differences, slopes of a loss, classes and masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Task
from taskodec.extras import require
from taskodec.tuning.checks import checked_loss

__all__ = ["HUES", "Scale", "amplified", "class_picture", "coloured", "factor_of", "mask_picture", "scale_of", "slope"]

Floats = npt.NDArray[np.float32]

LARGEST_SIDE = 768
"""Of a map in a page; finer ones are reduced."""

HUES = (
    (230, 90, 40),
    (0, 150, 210),
    (40, 170, 90),
    (200, 80, 180),
    (240, 180, 20),
    (120, 110, 230),
    (150, 100, 60),
    (90, 200, 200),
)
"""Colours of things and classes, told apart on light and dark ground and by most colour-blind eyes."""

FACTORS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Scale:
    """What the darkest and the brightest colour stand for; `colours` are some in between, as CSS has them."""

    low: float
    high: float
    colours: Sequence[str]


def scale_of(maps: Sequence[Floats], name: str = "inferno") -> Scale:
    """One scale for all of these maps, from 0 to what only a thousandth of the places exceed."""
    values = np.concatenate([one.reshape(-1) for one in maps])  # every (h, w) -> (n,)
    high = float(np.quantile(values, 0.999)) if values.size else 1.0
    shades = _colormap(name)(np.linspace(0, 1, 9))[:, :3]
    colours = ["#" + "".join(f"{round(255 * float(v)):02x}" for v in shade) for shade in shades]
    return Scale(0.0, high if high > 0 and math.isfinite(high) else 1.0, colours)


def coloured(values: Floats, scale: Scale, name: str = "inferno") -> Image.Image:
    """A map (h, w) in the colours of its scale."""
    share = np.clip((values - scale.low) / (scale.high - scale.low), 0, 1)
    rgb = (_colormap(name)(np.nan_to_num(share))[..., :3] * 255).round().astype(np.uint8)
    return _smaller(Image.fromarray(rgb))


def _colormap(name: str) -> Callable[[Any], Any]:
    require("report", "maps", only=["matplotlib"])
    from matplotlib import colormaps

    found: Callable[[Any], Any] = colormaps[name]
    return found


def factor_of(differences: Sequence[Tensor]) -> int:
    """How much differences of pictures are amplified: so that all but a hundredth of them stay within the scale."""
    usual = max(float(torch.quantile(_some(one.abs()), 0.99)) for one in differences)
    return max([f for f in FACTORS if f * usual <= 0.5], default=1)


def _some(v: Tensor) -> Tensor:
    """At most a million of the elements, evenly taken: quantiles of more are refused."""
    flat = v.flatten()
    return flat[:: max(1, flat.numel() // 1_000_000)][:1_000_000]


def amplified(difference: Tensor, factor: int) -> Image.Image:
    """A difference (1, 3, H, W) around grey."""
    shown = (0.5 + factor * difference[0]).clamp(0, 1)
    return _smaller(Image.fromarray((shown * 255).round().byte().permute(1, 2, 0).cpu().numpy()))  # to (H, W, 3)


def slope(task: Task, x_hat: Tensor, reference: object) -> Floats:
    """How steep the loss is at every pixel of x_hat (1, 3, H, W): the size of its gradient, (H, W).

    Of a loss without a finite gradient there, zeros.
    """
    with torch.enable_grad():
        given = x_hat.detach().clone().requires_grad_()
        loss = checked_loss(task, given, reference)
        (gradient,) = torch.autograd.grad(loss, given)
    sizes = torch.nan_to_num(gradient.detach().float(), posinf=0.0, neginf=0.0).square().sum(1, keepdim=True).sqrt()
    side = max(sizes.shape[2:])
    if side > LARGEST_SIDE:
        reduced = [max(1, round(s * LARGEST_SIDE / side)) for s in sizes.shape[2:]]
        sizes = F.interpolate(sizes, reduced, mode="area")
    found: Floats = sizes[0, 0].cpu().numpy().astype(np.float32)
    return found


def class_picture(classes: Tensor, empty: Sequence[int] = ()) -> Image.Image:
    """Classes (h, w) as colours on transparent ground; those in `empty` are not drawn."""
    numbers = classes.cpu().numpy()
    table = np.array(HUES, dtype=np.uint8)
    rgba = np.zeros((*numbers.shape, 4), dtype=np.uint8)
    rgba[..., :3] = table[numbers % len(HUES)]
    rgba[..., 3] = np.where(np.isin(numbers, list(empty)), 0, 255)
    return _smaller(Image.fromarray(rgba), Image.Resampling.NEAREST)


def mask_picture(masks: Sequence[tuple[Tensor, int]], size: tuple[int, int]) -> Image.Image:
    """Masks (H, W), each with the number of its colour, on transparent ground; the first one lies on top."""
    rgba = np.zeros((*size, 4), dtype=np.uint8)
    for mask, number in reversed(masks):
        rgba[mask.cpu().numpy().astype(bool)] = (*HUES[number % len(HUES)], 255)
    return _smaller(Image.fromarray(rgba), Image.Resampling.NEAREST)


def _smaller(picture: Image.Image, how: Image.Resampling = Image.Resampling.BOX) -> Image.Image:
    side = max(picture.size)
    if side <= LARGEST_SIDE:
        return picture
    width, height = (max(1, round(s * LARGEST_SIDE / side)) for s in picture.size)
    return picture.resize((width, height), how)
