"""Where a file's bits went: by its parts, and by place in the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.coding.streams import Coded
from taskodec.contracts import Codec, Latents
from taskodec.isolation.activation import inactive
from taskodec.isolation.sharing import shared

__all__ = ["BitMap", "bit_map", "parts"]

NAMES = {"y": "latents y", "z": "hyper-latents z"}

LEAST = 1e-30
"""Likelihoods below it count as it: an element that cannot be there has no place on a scale."""


@dataclass(frozen=True)
class BitMap:
    """Bits per pixel at every position of the latents (h, w), and the bits of each kind of latents in all.

    They are code lengths by the likelihoods, which the file meets within a few bits in a thousand.
    """

    values: npt.NDArray[np.float32]
    totals: Mapping[str, float]


@torch.no_grad()
def bit_map(codec: Codec, latents: Latents, quality: float, pixels: int) -> BitMap | None:
    """Of the latents of one picture of so many pixels, padding included, as they are rounded for a stream.

    None of a codec whose likelihoods are no maps.
    """
    with inactive(), shared(codec):
        found = codec.entropy(latents, quality, "hard").likelihoods
    bits = {name: -torch.log2(p.detach().float().clamp_min(LEAST)) for name, p in found.items()}
    maps = [one.sum(1, keepdim=True) for one in bits.values() if one.dim() == 4]
    if not maps or len(maps) < len(bits):
        return None
    height, width = max(m.shape[2] for m in maps), max(m.shape[3] for m in maps)
    total = sum((_spread(one, (height, width)) for one in maps), start=maps[0].new_zeros(1, 1, height, width))
    values = (total[0, 0] * height * width / pixels).cpu().numpy().astype(np.float32)
    return BitMap(values, {name: float(one.sum()) for name, one in bits.items()})


def _spread(bits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bits (1, 1, h, w) at a finer grid: each position's are divided among those that it becomes."""
    if bits.shape[2:] == size:
        return bits
    finer = F.interpolate(bits, size, mode="nearest-exact")
    return finer * (bits.sum() / finer.sum().clamp_min(1e-12))


def parts(coded: Coded, bits: BitMap | None) -> dict[str, float]:
    """Bytes of each part of a file; the kinds of latents share theirs as their likelihoods say."""
    found = {"header": coded.header_bytes}
    totals = {} if bits is None else bits.totals
    whole = sum(totals.values())
    if len(totals) > 1 and whole > 0 and math.isfinite(whole):
        for name, own in totals.items():
            found[NAMES.get(name, f"latents {name}")] = coded.latent_bytes * own / whole
    else:
        found["latents"] = coded.latent_bytes
    if coded.adapter_bytes:
        found["adapter"] = coded.adapter_bytes
    return found
