"""Coding in float64 and under a guard: for codecs whose scales come from a float network.

Encoder and decoder must choose the same table for every symbol, and machines differ in the last digits of a
network's output. Here they differ in those of float64; the guard in the stream (`taskodec.stream.guard`) settles the
scales that are so near to the bound of a table that even this would matter. `portable` streams are guarded for
decoders that compute scales in float32 too. `docs/exactness.md` has the figures behind the constants.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from threading import Lock
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from taskodec.contracts import Codec, Latents
from taskodec.errors import UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

__all__ = ["EXACT", "PORTABLE", "SAFETY", "PreciseCodec"]

EXACT = 1e-9
"""Share of a scale by which a decoder in float64 may be off; some 300 times the largest difference seen."""

PORTABLE = 1e-5
"""The least such share for a decoder in float32."""

SAFETY = 4
"""How many times a channel's largest difference between float64 and float32, as measured by the encoder, is allowed."""


class PreciseCodec(Codec):
    """A codec that encodes and decodes with a private copy of itself, in float64 on the CPU.

    The copy is made at first use, without `g_a`, `h_a` and `g_s`, and dropped when weights are loaded or training
    begins. Training and tuning go through the codec itself.
    """

    guards: ClassVar[tuple[str, ...]] = ("exact", "portable")
    """What `use_guard` takes."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = "exact"
        self._copies: list[Self] = []  # at most one; in a list it is no submodule, and its weights are not saved
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def use_guard(self, guard: str) -> Self:
        """Encode for decoders in float64 (`exact`) or also for ones in float32 (`portable`); UsageError for others."""
        if guard not in self.guards:
            raise UsageError(f"codec {self.name!r} has no guard {guard!r}; valid: {', '.join(self.guards)}")
        self.guard = guard
        return self

    @abstractmethod
    def write(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        """Write the latents of one image, float64 as this module then is; returns y_hat."""

    @abstractmethod
    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        """Read y_hat of an image of this padded size, in the precision that this module has."""

    @torch.no_grad()
    def encode(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        z = None if latents.z is None else latents.z.cpu().double()
        y_hat = self.precise().write(Latents(latents.y.cpu().double(), z), quality, coder)
        return y_hat.to(latents.y)

    @torch.no_grad()
    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        return self.precise().read(size, quality, coder).to(next(self.parameters()))

    def precise(self) -> Self:
        """The copy in float64, under the guard that is set."""
        with _copying:
            if not self._copies:
                transforms = {
                    id(part): nn.Identity() for name, part in self.named_children() if name in {"g_a", "h_a", "g_s"}
                }
                self._copies.append(copy.deepcopy(self, dict(transforms)).requires_grad_(False).cpu().double())
            found = self._copies[0]
        found.guard = self.guard
        return found

    def tolerance(self, scales: Tensor, z_hat: Tensor, scales_of: Callable[[Self, Tensor], Tensor]) -> Tensor:
        """How far a decoder's scales may be from these (1, M, h, w), each; for the copy in float64.

        `scales_of` computes the scales of z_hat with the codec it is given. For `portable` it runs in float32 in both
        memory layouts, whose sums are in different order, and a channel's error is taken from its worst place.
        """
        if self.guard == "exact":
            return EXACT * scales.abs()
        single = copy.deepcopy(self).float()
        worst = torch.zeros_like(scales[:, :, :1, :1])
        for layout in (torch.contiguous_format, torch.channels_last):
            found = scales_of(single.to(memory_format=layout), z_hat.float().contiguous(memory_format=layout))
            worst = torch.maximum(worst, (found.double() - scales).abs().amax((2, 3), keepdim=True))
        return torch.maximum(SAFETY * worst.expand_as(scales), PORTABLE * scales.abs())

    def coding_networks(self) -> Mapping[str, nn.Module]:
        decisive = ("h_s", "context_prediction", "entropy_parameters")
        return {name: part for name, part in self.precise().named_children() if name in decisive}

    def train(self, mode: bool = True) -> Self:
        """Training changes the weights, so the copy is dropped."""
        if mode:
            _forget(self)
        return super().train(mode)


_copying = Lock()


def _forget(codec: PreciseCodec, *_: object) -> None:
    codec._copies.clear()
