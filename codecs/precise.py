"""Coding in float64: for codecs whose scales come from a float network.

Encoder and decoder must choose the same table for every symbol, and machines differ in the last digits of a
network's output. In float64 those digits are some 10^8 times smaller than in float32, and a scale so near to the
bound of a table is that much rarer. What is left: one that is so near all the same. The checksum in the stream
finds it, and decoding on the other machine is then an error and never a wrong picture. Only `lite`, which codes in
integers, has no such case.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from taskodec.contracts import Codec, Latents
from taskodec.entropy import SymbolDecoder, SymbolEncoder

__all__ = ["PreciseCodec"]


class PreciseCodec(Codec):
    """A codec that encodes and decodes with a private copy of itself, in float64 on the CPU.

    The copy is made at first use, without `g_a`, `h_a` and `g_s`, and dropped when weights are loaded or training
    begins. Training and tuning go through the codec itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._copies: list[Self] = []  # at most one; in a list it is no submodule, and its weights are not saved
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @abstractmethod
    def write(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        """Write the latents of one image, float64 as this module then is; returns y_hat."""

    @abstractmethod
    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        """Read y_hat of an image of this padded size."""

    @torch.no_grad()
    def encode(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        z = None if latents.z is None else latents.z.cpu().double()
        y_hat = self.precise().write(Latents(latents.y.cpu().double(), z), quality, coder)
        return y_hat.to(latents.y)

    @torch.no_grad()
    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        return self.precise().read(size, quality, coder).to(next(self.parameters()))

    def precise(self) -> Self:
        """The copy in float64."""
        if not self._copies:
            transforms = {
                id(part): nn.Identity() for name, part in self.named_children() if name in {"g_a", "h_a", "g_s"}
            }
            self._copies.append(copy.deepcopy(self, dict(transforms)).requires_grad_(False).cpu().double())
        return self._copies[0]

    def train(self, mode: bool = True) -> Self:
        """Training changes the weights, so the copy is dropped."""
        if mode:
            _forget(self)
        return super().train(mode)


def _forget(codec: PreciseCodec, *_: object) -> None:
    codec._copies.clear()
