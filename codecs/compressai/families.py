"""CompressAI's image models behind this project's contract, one class for each way of coding y.

Each takes over the transforms of a CompressAI network under their own names, so that CompressAI's checkpoints
fit as they are, and codes through `taskodec.coding.priors`. CompressAI's own coder and its `update()` are never used.
What decides on scales runs in float64 where it codes, and under a guard (see `taskodec.codecs.precise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.compressai.imports import CompressionModel, entropy_models, own_bottleneck
from taskodec.codecs.float_export import Transforms, factorized_parts, hyperprior_parts
from taskodec.codecs.precise import EXACT, PreciseCodec
from taskodec.coding.priors import (
    bottleneck_tables,
    decode_bottleneck,
    decode_guarded,
    decode_indexed,
    encode_bottleneck,
    encode_guarded,
    encode_indexed,
    estimate_bottleneck,
    estimate_gaussian,
    quantize,
)
from taskodec.contracts import Entropy, ExportParts, Latents, Quality, Rounding, Side, Tiling
from taskodec.errors import UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.guard import read_guard, write_guard

__all__ = ["Autoregressive", "CompressAICodec", "Factorized", "Hyperprior", "ScaleHyperprior"]


class CompressAICodec(PreciseCodec):
    """What all of CompressAI's models share.

    Args:
        name: the registered name.
        net: the network whose parts this codec takes over.
        qualities: the levels it can code at.
        lmbdas: the trade-off of each of them.
    """

    latents_layer: str | None = "g_a"
    tiling = Tiling(align=64, analysis=256, synthesis=192)  # of cheng2020-attn, whose kernels reach farthest
    g_a: nn.Module
    g_s: nn.Module
    entropy_bottleneck: Any

    def __init__(self, name: str, net: CompressionModel, qualities: Sequence[float], lmbdas: Sequence[float]) -> None:
        super().__init__()
        self.name = name
        self.qualities = tuple(qualities)
        self.lmbdas = tuple(lmbdas)
        for part, module in net.named_children():
            if type(module) is entropy_models.EntropyBottleneck:
                self.add_module(part, own_bottleneck(module))
            elif part != "gaussian_conditional":  # its tables are the project's own
                self.add_module(part, module)
        for part, parameter in net.named_parameters(recurse=False):
            self.register_parameter(part, parameter)
        self._tables: dict[float, Tables] = {}

    def lmbda(self, quality: float) -> float:
        """CompressAI's for mean squared error, also for models that were trained on MS-SSIM."""
        return self.lmbdas[self.qualities.index(quality)]

    def synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        x_hat: Tensor = self.g_s(y_hat)
        return x_hat

    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        """All (transposed) convolutions of g_a or g_s."""
        root, transform = ("g_a", self.g_a) if side == "encoder" else ("g_s", self.g_s)
        kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        return {f"{root}.{name}": layer for name, layer in transform.named_modules() if isinstance(layer, kinds)}

    def aux_loss(self) -> Tensor:
        loss: Tensor = self.entropy_bottleneck.loss()
        return loss

    # The bottleneck as it is coded at one quality; models of variable rate have their own three.

    def estimate_z(self, z: Tensor, quality: Quality, rounding: Rounding) -> tuple[Tensor, Tensor]:
        """The quantised values under the factorised prior, and their likelihoods."""
        return estimate_bottleneck(z, self.entropy_bottleneck, rounding)

    def encode_z(self, z: Tensor, quality: float, coder: SymbolEncoder) -> Tensor:
        """Write what follows the factorised prior."""
        return encode_bottleneck(z, self.entropy_bottleneck, self.tables(), coder)

    def decode_z(self, shape: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        """Read what follows the factorised prior: (1, C, *shape)."""
        return decode_bottleneck(shape, self.entropy_bottleneck, self.tables(), coder)

    def tables(self) -> Tables:
        """Integer tables of the factorised prior, made at first use."""
        if not self._tables:
            self._tables[0.0] = bottleneck_tables(self.entropy_bottleneck)
        return self._tables[0.0]


class Factorized(CompressAICodec):
    """y under a factorised prior: bmshj2018-factorized (Ballé et al. 2018, arXiv:1802.01436)."""

    stride = 16

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        return Latents(self.g_a(x))

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        y_hat, likelihoods = self.estimate_z(latents.y, quality, rounding)
        return Entropy(y_hat, {"y": likelihoods})

    def write(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        return self.encode_z(latents.y, quality, coder)

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        return self.decode_z((size[0] // 16, size[1] // 16), quality, coder)

    def export_parts(self) -> ExportParts:
        return factorized_parts(self.g_a, self.g_s, self.entropy_bottleneck, self.tables())


class Hyperprior(CompressAICodec):
    """y Gaussian, with scales and means from z: mbt2018-mean (Minnen et al. 2018, arXiv:1809.02736)."""

    stride = 64
    predicts_means = True
    h_a: nn.Module
    h_s: nn.Module

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        y = self.g_a(x)
        return Latents(y, self.h_a(y))

    def scales_and_means(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """h_s: the scales and means of y."""
        scales, means = self.h_s(z_hat).chunk(2, 1)
        return scales, means

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        assert latents.z is not None
        z_hat, z_likelihoods = self.estimate_z(latents.z, quality, rounding)
        y_hat, y_likelihoods = self.estimate_y(latents.y, *self.scales_and_means(z_hat), quality, rounding)
        return Entropy(y_hat, {"y": y_likelihoods, "z": z_likelihoods}, z_hat)

    def write(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        assert latents.z is not None
        z_hat = self.encode_z(latents.z, quality, coder)
        scales, means = self.scales_and_means(z_hat)
        tolerance = self.tolerance(scales, z_hat, lambda codec, z: codec.scales_and_means(z)[0])
        gain = self.gain(quality)
        steps = (latents.y - means) * gain
        steps = encode_guarded(steps, scales * gain, torch.zeros_like(means), tolerance * gain, coder)
        return self.in_units(steps, scales, means, gain)

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        z_hat = self.decode_z((size[0] // 64, size[1] // 64), quality, coder)
        scales, means = self.scales_and_means(z_hat)
        gain = self.gain(quality)
        steps = decode_guarded(scales * gain, torch.zeros_like(means), coder)
        return self.in_units(steps, scales, means, gain)

    def export_parts(self) -> ExportParts:
        transforms = Transforms(self.g_a, self.h_a, self.h_s, self.g_s)
        return hyperprior_parts(transforms, self.entropy_bottleneck, self.tables(), has_means=self.predicts_means)

    # y as it is coded at one quality; models of variable rate have their own three.

    def estimate_y(
        self, y: Tensor, scales: Tensor, means: Tensor, quality: Quality, rounding: Rounding
    ) -> tuple[Tensor, Tensor]:
        """Quantised y and the likelihood of every element."""
        return estimate_gaussian(y, scales, means, rounding)

    def gain(self, quality: Quality) -> Tensor:
        """Steps per unit of y, a scalar."""
        return torch.ones(())

    def in_units(self, steps: Tensor, scales: Tensor, means: Tensor, gain: Tensor) -> Tensor:
        """Whole steps around the mean to values of y."""
        return steps + means


class ScaleHyperprior(Hyperprior):
    """y Gaussian around zero, with scales from z: bmshj2018-hyperprior (Ballé et al. 2018, arXiv:1802.01436)."""

    predicts_means = False

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        y = self.g_a(x)
        return Latents(y, self.h_a(y.abs()))

    def scales_and_means(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        scales = self.h_s(z_hat)
        return scales, torch.zeros_like(scales)


class Autoregressive(Hyperprior):
    """y Gaussian, with scales and means from z and from the y_hat already decoded: mbt2018, cheng2020-*.

    Minnen et al. 2018, section 3 (arXiv:1809.02736); Cheng et al. 2020 (arXiv:2001.01568). Encoding and
    decoding are SLOW: both visit the (H/16)·(W/16) positions one after the other, in raster order.

    `entropy` does all positions at once, as in training: the context is y rounded without its mean, which is
    not quite what the coder's loop sees. Its rates and y_hat are therefore close to the coded ones, not equal.
    """

    guards = ("exact",)  # scales follow from the y_hat before them, and what float32 adds up to is not measured
    entropy_parameters: nn.Module
    context_prediction: nn.Conv2d

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        assert latents.z is not None
        z_hat, z_likelihoods = self.estimate_z(latents.z, quality, rounding)
        context = self.context_prediction(self.context_input(latents.y, quality, rounding))
        scales, means = self.conditioned(self.h_s(z_hat), context, quality)
        y_hat, y_likelihoods = self.estimate_y(latents.y, scales, means, quality, rounding)
        return Entropy(y_hat, {"y": y_likelihoods, "z": z_likelihoods}, z_hat)

    def export_parts(self) -> ExportParts:
        raise UsageError(
            f"codec {self.name!r} cannot be exported: it decodes y position by position, each from those before, and "
            "has no guard for decoders in float32; export a codec without such a context model, such as "
            "'mbt2018-mean' or 'lite'"
        )

    def context_input(self, y: Tensor, quality: Quality, rounding: Rounding) -> Tensor:
        """What stands for y_hat before any mean is known."""
        return quantize(y, torch.zeros_like(y), rounding)[0]

    def conditioned(self, params: Tensor, context: Tensor, quality: Quality) -> tuple[Tensor, Tensor]:
        """Scales and means from what z and what the context says, each (B, 2M, h, w)."""
        scales, means = self.entropy_parameters(torch.cat((params, context), dim=1)).chunk(2, 1)
        return scales, means

    def write(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        assert latents.z is not None
        y, params, gain = latents.y, self.h_s(self.encode_z(latents.z, quality, coder)), self.gain(quality)
        all_steps, all_scales = torch.empty_like(y), torch.empty_like(y)

        def code(i: int, j: int, scales: Tensor, means: Tensor) -> Tensor:
            steps = torch.round((y[:, :, i : i + 1, j : j + 1] - means) * gain)
            all_steps[:, :, i, j], all_scales[:, :, i, j] = steps[:, :, 0, 0], (scales * gain)[:, :, 0, 0]
            return self.in_units(steps, scales, means, gain)

        y_hat = self._in_turn(params, quality, code)  # the guard, which goes first, needs the scales of all positions
        own = all_scales.numpy()
        indexes = write_guard(own, EXACT * np.abs(own), coder).indexes(own)
        for i, j in np.ndindex(*own.shape[2:]):
            at = (slice(None), slice(None), slice(i, i + 1), slice(j, j + 1))
            encode_indexed(all_steps[at], torch.zeros_like(all_steps[at]), indexes[at], coder)
        return y_hat

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        params, gain = self.h_s(self.decode_z((size[0] // 64, size[1] // 64), quality, coder)), self.gain(quality)
        guard = read_guard((1, self.context_prediction.in_channels, *params.shape[2:]), coder)

        def code(i: int, j: int, scales: Tensor, means: Tensor) -> Tensor:
            sides = guard.sides[:, :, i : i + 1, j : j + 1]
            indexes = guard.indexes((scales * gain).double().numpy(), sides)
            return self.in_units(decode_indexed(torch.zeros_like(means), indexes, coder), scales, means, gain)

        return self._in_turn(params, quality, code)

    def _in_turn(self, params: Tensor, quality: float, code: Callable[[int, int, Tensor, Tensor], Tensor]) -> Tensor:
        """The one loop of encoder and decoder: position by position, `code` gives (1, M, 1, 1) of y_hat."""
        layer = self.context_prediction
        weight = layer.weight * layer.get_buffer("mask")
        reach = weight.shape[-1] // 2
        height, width = params.shape[-2:]
        # Zeros stand for what is outside, and for what is not decoded yet: the mask looks at neither.
        y_hat = params.new_zeros(1, weight.shape[1], height + 2 * reach, width + 2 * reach)
        for i in range(height):
            for j in range(width):
                crop = y_hat[:, :, i : i + 2 * reach + 1, j : j + 2 * reach + 1]
                context = F.conv2d(crop, weight, layer.bias)
                scales, means = self.conditioned(params[:, :, i : i + 1, j : j + 1], context, quality)
                y_hat[:, :, i + reach, j + reach] = code(i, j, scales, means)[:, :, 0, 0]
        return y_hat[:, :, reach:-reach, reach:-reach]
