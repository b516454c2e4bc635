"""What a codec is.

Data flows one way: `image → analysis → y, z → entropy model → stream → y_hat → synthesis → x_hat → task`.
Images are float tensors (B, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from taskodec.contracts.earlier import EarlierWeights
from taskodec.contracts.export_parts import ExportParts
from taskodec.contracts.latents import CodecOutput, Entropy, Latents, Quality, Rounding
from taskodec.errors import UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.grids import Tiling

__all__ = ["Codec", "Side"]

Side = Literal["encoder", "decoder"]


class Codec(nn.Module, ABC):
    """A learned image codec.

    Height and width of every tensor given to it are multiples of `stride`; callers pad and crop
    (`taskodec.images.tensors.pad_to`). Training, tuning, coding and export all go through the five methods
    `analysis`, `entropy`, `synthesis`, `encode`, `decode`.
    """

    name: str
    """The registered name, as it stands in configurations and streams."""
    stride: int
    """Height and width must be multiples of this."""
    qualities: Sequence[float]
    """The levels this instance can code at, ascending; low is a small file."""
    continuous: bool = False
    """Whether any value between the first and the last level is valid too."""
    tiling: Tiling | None = None
    """How `analysis` and `synthesis` of large pictures may be tiled (`taskodec.coding.tiles`); None for never."""
    latents_layer: str | None = None
    """The module whose output is y, in units of its rounding, before z is made of it; there adapters modulate."""

    earlier: Mapping[str, EarlierWeights] = MappingProxyType({})
    """The weights that the codec came with before, by their fingerprint: 8 hexadecimal digits."""
    weights_format: int = 1
    """The version of its files of weights, which are refused where theirs is newer."""

    @abstractmethod
    def lmbda(self, quality: float) -> float:
        """The trade-off at this level, for `lmbda * 255**2 * mse + bpp`."""

    @abstractmethod
    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        """g_a and h_a: an image to unquantised latents. Differentiable."""

    @abstractmethod
    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        """Quantise the latents and say how likely every element is. Differentiable unless `hard`."""

    @abstractmethod
    def synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        """g_s: quantised latents to an image, not clamped. Differentiable."""

    @abstractmethod
    def encode(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        """Write the latents of one image; returns exactly the y_hat that `decode` will return."""

    @abstractmethod
    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        """Read y_hat (1, M, h, w) of an image whose padded height and width are `size`."""

    @abstractmethod
    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        """Layers that adapters may act on, by their module name, in forward order.

        The names are those of `named_modules()`. Layers whose output decides how symbols are decoded
        (h_s, context models) must not be among the decoder's. Of a batch, each gets the samples one after the other
        along the first side.
        """

    def adapter_defaults(self, side: Side) -> Sequence[str]:
        """The names out of `adapter_layers` that are adapted when the user chooses none."""
        return tuple(self.adapter_layers(side))

    def coding_networks(self) -> Mapping[str, nn.Module]:
        """The networks in use whose outputs decide how symbols are coded, for checks that runtimes agree on them.

        None by default. They are the ones that `encode` and `decode` call, not copies.
        """
        return {}

    def export_parts(self) -> ExportParts:
        """The decoder in parts, for `taskodec export`; UsageError, which all codecs raise by default, says why not."""
        raise UsageError(
            f"codec {self.name!r} cannot be exported, it has no `export_parts`: decode with taskodec itself"
        )

    def check_quality(self, quality: float) -> float:
        """The level as a float, or a UsageError that says which ones exist."""
        first, last = self.qualities[0], self.qualities[-1]
        if (self.continuous and first <= quality <= last) or quality in self.qualities:
            return float(quality)
        levels = ", ".join(f"{q:g}" for q in self.qualities)
        valid = f"any value from {first:g} to {last:g}" if self.continuous else levels
        raise UsageError(f"quality {quality:g} does not exist for codec {self.name!r}; valid: {valid}")

    def calibrate(self, x: Tensor) -> None:
        """Set data-dependent initial values from training images (B, 3, H, W); nothing by default."""

    def finish(self, x: Tensor) -> None:
        """Set what depends on the final weights from training images (B, 3, H, W); nothing by default."""

    def aux_loss(self) -> Tensor:
        """A loss that only fits the entropy model's own parameters; zero for codecs that have none."""
        return torch.zeros(())

    def forward(self, x: Tensor, quality: Quality, rounding: Rounding = "noise") -> CodecOutput:
        """Analysis, entropy model and synthesis in one differentiable pass.

        Under autocast the entropy model still computes in 32 bits: rates are differences of nearly equal numbers.
        """
        latents = self.analysis(x, quality)
        with torch.autocast(x.device.type, enabled=False):
            latents = Latents(_at_least_32_bits(latents.y), None if latents.z is None else _at_least_32_bits(latents.z))
            coded = self.entropy(latents, quality, rounding)
        return CodecOutput(self.synthesis(coded.y_hat, quality), coded.y_hat, coded.likelihoods)


def _at_least_32_bits(v: Tensor) -> Tensor:
    return v.float() if v.dtype.itemsize < 4 else v
