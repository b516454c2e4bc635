"""A network beside an encoder's last output: what of the latents is sent, for a task that does not need all of them.

Low-rank updates of an analysis cannot leave out what a task does not look at: the latents of a region are a linear
function of its pixels, and to take them away where it matters little is a product of two things that depend on the
picture. So a small network looks at the latents around each position, and says for each of its channels how much of it
is kept, and what is added (in the spirit of the spatial-frequency modulation of Li et al., Adapt-ICMH, ECCV 2024,
section 3.2, but after the analysis and not within it). It is never sent: a decoder does not know of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taskodec.contracts import Codec
from taskodec.errors import UsageError
from taskodec.isolation.pieces import whole_size
from taskodec.isolation.randomness import numbers_kept

__all__ = ["REACH", "Modulation", "build_modulation", "modulate", "pixels_of"]

BLOCKS, KERNEL = 3, 5
MAX_WIDTH = 4096
SIZED = 32
MIDDLE = 320
"""The shorter side of a picture, in pixels, from which sizes are counted."""
REACH = BLOCKS * (KERNEL // 2)
"""How many positions of the latents away it looks."""


class Modulation(nn.Module):
    """Latents y (B, M, h, w), in units of their rounding, to `y * keep + add` of the same shape.

    `width` is the number of its hidden channels. It starts as the identity. What it sees of y are logarithms of
    magnitudes, so that one network serves all qualities, which it knows by them. After `see_sizes` it also knows
    the shorter side of the padded picture: a network that scales its pictures sees more of the detail of small ones.
    Beyond an octave from `MIDDLE` one size is as another.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.first = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(BLOCKS))
        self.last = nn.Conv2d(width, 2 * channels, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        self.size: nn.Sequential | None = None
        self.pixels = 1

    def see_sizes(self, pixels: int, seed: int = 0) -> None:
        """Look at the size of pictures from now on, at first without any effect; nothing new where it does already.

        `pixels` is how many a position of y stands for, along a side.
        """
        self.pixels = pixels
        if self.size is None:
            like = self.first.weight
            with numbers_kept(like.device):
                torch.manual_seed(seed)
                last = nn.Linear(SIZED, (1 + BLOCKS) * self.width)
                self.size = nn.Sequential(nn.Linear(1, SIZED), nn.GELU(), last).to(like)
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, y: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            seen = y.to(self.first.weight.dtype)
            first, *others = self._of_size(seen)
            h = self.first(seen.sign() * seen.abs().log1p()) + first
            for block, other in zip(self.blocks, others, strict=True):
                h = block(h) + other
            keep, add = self.last(h).chunk(2, 1)
            made: Tensor = y * (2 * keep.sigmoid()) + add  # y may be wider than the network is
        return made

    def _of_size(self, y: Tensor) -> Sequence[Tensor | float]:
        """What the size adds before the first block, and after each, (1, width, 1, 1)."""
        if self.size is None:
            return [0.0] * (1 + BLOCKS)
        whole = whole_size()
        short = self.pixels * _shorter_side(y) if whole is None else y.new_tensor(min(whole))
        octaves = (short / MIDDLE).log2().clamp(-1, 1)
        added: Tensor = self.size(octaves.reshape(1, 1))
        return torch.split(added.view(1, -1, 1, 1), self.width, dim=1)  # (1, 4 * width) -> 4 of (1, width, 1, 1)


def _shorter_side(y: Tensor) -> Tensor:
    """Of y (B, M, h, w), in operations of tensors: a graph is for all sizes."""
    ones = torch.ones_like(y[0, 0])
    return torch.minimum(ones[0].sum(), ones[:, 0].sum())


class _Block(nn.Module):
    """`h` (B, C, h, w) and what its neighbours say (Liu et al., ConvNeXt, CVPR 2022, section 2.6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.across = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        seen = self.around(h).permute(0, 2, 3, 1)  # (B, h, w, C)
        made: Tensor = h + self.across(seen).permute(0, 3, 1, 2)
        return made


@torch.no_grad()
def build_modulation(codec: Codec, width: int, seed: int) -> tuple[str, Modulation] | None:
    """The module of the codec to modulate after, and what does; None for a width of 0. UsageError where there is none.

    Its hidden weights come from the seed, without drawing from the numbers of others.
    """
    if isinstance(width, bool) or not isinstance(width, int) or not 0 <= width <= MAX_WIDTH:
        raise UsageError(f"found modulation={width!r}; it is the number of hidden channels, up to {MAX_WIDTH}, or 0")
    if not width:
        return None
    if codec.latents_layer is None:
        raise UsageError(
            f"found modulation={width}, but codec {codec.name!r} has no latents_layer that an adapter could modulate "
            "after; leave it at 0"
        )
    like = next(codec.parameters())
    channels = _blank(codec).shape[1]
    with numbers_kept(like.device):
        torch.manual_seed(seed)
        return codec.latents_layer, Modulation(channels, width).to(like.device)


@torch.no_grad()
def pixels_of(codec: Codec) -> int:
    """How many pixels a position of the codec's y stands for, along a side."""
    return codec.stride // _blank(codec).shape[2]


def _blank(codec: Codec) -> Tensor:
    """y (1, M, h, w) of the smallest picture there is."""
    blank = next(codec.parameters()).new_zeros(1, 3, codec.stride, codec.stride)
    return codec.analysis(blank, codec.qualities[0]).y


def modulate(network: nn.Module, name: str, modulation: Modulation) -> None:
    """Let the output of this module of a network go through a copy of the modulation, for good."""
    parent, _, own = name.rpartition(".")
    layer = network.get_submodule(name)
    setattr(network.get_submodule(parent), own, nn.Sequential(layer, copy.deepcopy(modulation)))
