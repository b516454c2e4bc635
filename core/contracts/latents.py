"""What goes between the parts of a codec: latents, how they are rounded, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Annealed", "CodecOutput", "Entropy", "Latents", "Quality", "Rounding", "total_bits"]

Quality = float | Tensor
"""A quality level, or one per sample as a (B,) tensor for codecs that mix rates in one batch."""


@dataclass(frozen=True)
class Annealed:
    """Rounding up or down at random, by distance and temperature, with a gradient (`taskodec.coding.priors.anneal`)."""

    temperature: float


Rounding = Literal["noise", "ste", "mixed", "hard"] | Annealed
"""How latents become symbols.

`noise` adds uniform noise, `ste` rounds with a straight-through gradient, `mixed` gives the synthesis the
rounded and the rate the noisy latents (Minnen and Singh 2020, section 3.3, arXiv:2007.08739), `hard` rounds.
"""


@dataclass(frozen=True)
class Latents:
    """Unquantised latents: y (B, M, H/16, W/16 or so) and, for hyperprior codecs, z."""

    y: Tensor
    z: Tensor | None = None


@dataclass(frozen=True)
class Entropy:
    """Quantised latents with the likelihood of every element, by the names CompressAI uses."""

    y_hat: Tensor
    likelihoods: Mapping[str, Tensor]
    z_hat: Tensor | None = None

    @property
    def bits(self) -> Tensor:
        """Ideal code length of each sample, (B,)."""
        return total_bits(self.likelihoods)


@dataclass(frozen=True)
class CodecOutput:
    """A differentiable pass through a codec."""

    x_hat: Tensor
    y_hat: Tensor
    likelihoods: Mapping[str, Tensor]


def total_bits(likelihoods: Mapping[str, Tensor]) -> Tensor:
    """Sum of -log2 of all likelihoods of each sample, (B,)."""
    return sum((-torch.log(p).flatten(1).sum(1) / math.log(2) for p in likelihoods.values()), start=torch.zeros(()))
