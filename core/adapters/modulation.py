"""A network beside an encoder's last output: what of the latents is sent, for a task that does not need all of them.

Low-rank updates of an analysis cannot leave out what a task does not look at: the latents of a region are a linear
function of its pixels, and to take them away where it matters little is a product of two things that depend on the
picture. So a small network looks at the latents around each position, and says for each of its channels how much of it
is kept, and what is added (in the spirit of the spatial-frequency modulation of Li et al., Adapt-ICMH, ECCV 2024,
section 3.2, but after the analysis and not within it). It is never sent: a decoder does not know of it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from taskodec.contracts import Codec
from taskodec.errors import UsageError
from taskodec.isolation.randomness import numbers_kept

__all__ = ["REACH", "Modulation", "build_modulation", "modulate"]

BLOCKS, KERNEL = 3, 5
MAX_WIDTH = 4096
REACH = BLOCKS * (KERNEL // 2)
"""How many positions of the latents away it looks."""


class Modulation(nn.Module):
    """Latents y (B, M, h, w), in units of their rounding, to `y * keep + add` of the same shape.

    `width` is the number of its hidden channels. It starts as the identity. What it sees of y are logarithms of
    magnitudes, so that one network serves all qualities, which it knows by them.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.first = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(BLOCKS))
        self.last = nn.Conv2d(width, 2 * channels, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, y: Tensor) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            seen = y.to(self.first.weight.dtype)
            h = self.first(seen.sign() * seen.abs().log1p())
            for block in self.blocks:
                h = block(h)
            keep, add = self.last(h).chunk(2, 1)
            made: Tensor = y * (2 * keep.sigmoid()) + add  # y may be wider than the network is
        return made


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
    blank = like.new_zeros(1, 3, codec.stride, codec.stride)
    channels = codec.analysis(blank, codec.qualities[0]).y.shape[1]
    with numbers_kept(like.device):
        torch.manual_seed(seed)
        return codec.latents_layer, Modulation(channels, width).to(like.device)


def modulate(network: nn.Module, name: str, modulation: Modulation) -> None:
    """Let the output of this module of a network go through a copy of the modulation, for good."""
    parent, _, own = name.rpartition(".")
    layer = network.get_submodule(name)
    setattr(network.get_submodule(parent), own, nn.Sequential(layer, copy.deepcopy(modulation)))
