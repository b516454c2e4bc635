"""CompressAI's models of variable rate: one network, any quality.

Kamisli, Racapé and Choi 2024, "Variable-Rate Learned Image Compression with Multi-Objective Optimization and
Quantization-Reconstruction Offsets" (arXiv:2402.18930). y is coded in steps of 1 / gain around its mean; a small
network moves what is not zero towards it; z has steps too where the checkpoint says how.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from taskodec.codecs.compressai.families import Autoregressive, Hyperprior, ScaleHyperprior
from taskodec.coding.priors import (
    bottleneck_tables,
    decode_bottleneck,
    encode_bottleneck,
    estimate_bottleneck,
    estimate_gaussian,
    quantize,
)
from taskodec.contracts import Entropy, ExportParts, Latents, Quality, Rounding
from taskodec.errors import UsageError
from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, Tables

__all__ = ["VariableAutoregressive", "VariableHyperprior", "VariableScaleHyperprior"]

MAX_TABLES = 16
"""Tables of z kept for as many qualities."""


class SteppedBottleneck(nn.Module):
    """A factorised prior in units of a step: what `taskodec.coding.priors` asks of a prior, for z / step."""

    def __init__(self, bottleneck: nn.Module, step: Tensor) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        self.register_buffer("step", step)

    @property
    def quantiles(self) -> Tensor:
        """(C, 1, 3), in steps."""
        quantiles: Tensor = self.bottleneck.get_parameter("quantiles") / self.get_buffer("step")
        return quantiles

    def likelihood(self, values: Tensor) -> Tensor:
        """Probability mass of the step around each value, (C, 1, K) for (C, 1, K)."""
        step = self.get_buffer("step")
        mass: Tensor = self.bottleneck._likelihood_variable(values * step, qs=step)[0]  # type: ignore[operator]
        return mass


class Variable(Hyperprior):
    """What makes the rate of a hyperprior codec variable; comes first among the bases of each model."""

    continuous = True
    latents_layer = None  # y itself is in no units of its rounding
    Gain: Tensor
    QuantABCD: nn.Module

    def export_parts(self) -> ExportParts:
        raise UsageError(
            f"codec {self.name!r} cannot be exported: its tables of z are computed anew at every quality, in float64; "
            "export a codec whose tables are fixed, such as 'mbt2018-mean', or 'lite', whose rate is variable too"
        )

    def lmbda(self, quality: float) -> float:
        """Between two levels, the geometric interpolation."""
        return float(_between(torch.tensor(self.lmbdas, dtype=torch.float64), quality))

    def gain(self, quality: Quality) -> Tensor:
        """Steps per unit of y; between two levels, the geometric interpolation. A scalar."""
        return _between(self.Gain.abs(), float(quality))

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        if not isinstance(quality, Tensor) or quality.numel() == 1:
            return super().entropy(latents, quality, rounding)
        assert latents.z is not None
        each = [
            super(Variable, self).entropy(Latents(y[None], z[None]), float(q), rounding)
            for y, z, q in zip(latents.y, latents.z, quality, strict=True)
        ]
        likelihoods = {part: torch.cat([one.likelihoods[part] for one in each]) for part in each[0].likelihoods}
        z_hats = [one.z_hat for one in each if one.z_hat is not None]
        return Entropy(torch.cat([one.y_hat for one in each]), likelihoods, torch.cat(z_hats))

    def estimate_y(
        self, y: Tensor, scales: Tensor, means: Tensor, quality: Quality, rounding: Rounding
    ) -> tuple[Tensor, Tensor]:
        gain = self.gain(quality)
        steps, likelihoods = estimate_gaussian((y - means) * gain, scales * gain, torch.zeros_like(y), rounding)
        if rounding == "noise":  # no value is zero then, and there is nothing to move
            return steps / gain + means, likelihoods
        return self.in_units(steps, scales, means, gain), likelihoods

    def in_units(self, steps: Tensor, scales: Tensor, means: Tensor, gain: Tensor) -> Tensor:
        """Whole steps to values of y, those that are not zero moved towards it."""
        deviation = (scales * gain).clamp_min(float(SCALES[0]))
        inputs = torch.stack((deviation, gain.expand_as(deviation)), dim=-1)  # (B, M, h, w, 2)
        towards_zero: Tensor = self.QuantABCD(inputs).squeeze(-1)  # (B, M, h, w, 1) -> (B, M, h, w)
        sign = steps.detach().round().sign()
        return (steps - sign * towards_zero) / gain + means

    def step_of_z(self, quality: Quality) -> Tensor | None:
        """The step of z, at least 1/2, or None if z is coded in steps of 1."""
        if not hasattr(self, "gayn2zqstep"):
            return None
        step: Tensor = self.get_submodule("gayn2zqstep")(1 / self.gain(quality).view(1))
        return step.clamp_min(0.5)[0]

    def estimate_z(self, z: Tensor, quality: Quality, rounding: Rounding) -> tuple[Tensor, Tensor]:
        step = self.step_of_z(quality)
        if step is None:
            return super().estimate_z(z, quality, rounding)
        steps, likelihoods = estimate_bottleneck(z / step, SteppedBottleneck(self.entropy_bottleneck, step), rounding)
        return steps * step, likelihoods

    def encode_z(self, z: Tensor, quality: float, coder: SymbolEncoder) -> Tensor:
        step = self.step_of_z(quality)
        if step is None:
            return super().encode_z(z, quality, coder)
        prior = SteppedBottleneck(self.entropy_bottleneck, step)
        return encode_bottleneck(z / step, prior, self._tables_at(quality, prior), coder) * step

    def decode_z(self, shape: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        step = self.step_of_z(quality)
        if step is None:
            return super().decode_z(shape, quality, coder)
        prior = SteppedBottleneck(self.entropy_bottleneck, step)
        return decode_bottleneck(shape, prior, self._tables_at(quality, prior), coder) * step

    def _tables_at(self, quality: float, prior: SteppedBottleneck) -> Tables:
        found = self._tables.get(quality)
        if found is None:  # threads that come here at once make the same ones
            if len(self._tables) >= MAX_TABLES:
                self._tables.clear()
            found = self._tables[quality] = bottleneck_tables(prior)
        return found


class VariableHyperprior(Variable):
    """mbt2018-mean-vbr."""


class VariableScaleHyperprior(Variable, ScaleHyperprior):
    """bmshj2018-hyperprior-vbr."""


class VariableAutoregressive(Variable, Autoregressive):
    """mbt2018-vbr; as slow to encode and decode as `Autoregressive`."""

    scale_to_context: nn.Module

    def context_input(self, y: Tensor, quality: Quality, rounding: Rounding) -> Tensor:
        gain = self.gain(quality)
        return quantize(y * gain, torch.zeros_like(y), rounding)[0] / gain

    def conditioned(self, params: Tensor, context: Tensor, quality: Quality) -> tuple[Tensor, Tensor]:
        shift = self.scale_to_context(self.gain(quality).view(1, 1)).view(1, -1, 1, 1)  # (1, 2M) -> (1, 2M, 1, 1)
        return super().conditioned(params, context + shift, quality)


def _between(levels: Tensor, quality: float) -> Tensor:
    """The value of `levels` at a quality from 1 on, geometrically interpolated."""
    position = quality - 1
    low = min(int(position), len(levels) - 2)
    logs = levels.log()
    return torch.lerp(logs[low], logs[low + 1], position - low).exp()
