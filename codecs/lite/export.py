"""How `lite` is exported: its integer networks, its tables, and what depends on the quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.codecs.lite.graph import fast_synthesis
from taskodec.codecs.lite.prediction import IntegerPredictor
from taskodec.codecs.lite.transforms import Analysis, HyperAnalysis, Synthesis, compressed
from taskodec.contracts import EncoderParts, ExportParts, Network
from taskodec.stream.entropy import Tables

__all__ = ["lite_encoder_parts", "lite_parts"]

SIZE = (8, 12)
"""Height and width of the example y; no side is special."""


class GainedSynthesis(nn.Module):
    """y_hat (1, M, h, w) as decoded, and what its channels are multiplied by (M,), to the picture."""

    def __init__(self, g_s: Synthesis) -> None:
        super().__init__()
        self.g_s = g_s

    def forward(self, y_hat: Tensor, gain: Tensor) -> Tensor:
        return fast_synthesis(self.g_s, y_hat * gain[:, None, None])


class GainedAnalysis(nn.Module):
    """The picture and what each channel is multiplied by (M,), to y as it is coded (1, M, h, w)."""

    def __init__(self, g_a: nn.Module, coded: nn.Module) -> None:
        super().__init__()
        self.g_a, self.coded = g_a, coded

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        y: Tensor = self.coded(self.g_a(x) * gain[:, None, None])
        return y


class CompressedHyperAnalysis(nn.Module):
    """y as it is coded, and what the first layer adds at this quality (Z,), to z (1, Z, h/4, w/4)."""

    def __init__(self, h_a: HyperAnalysis) -> None:
        super().__init__()
        self.h_a = h_a

    def forward(self, y: Tensor, embedding: Tensor) -> Tensor:
        z: Tensor = self.h_a(compressed(y), embedding[:, None, None])
        return z


def lite_encoder_parts(
    g_a: Analysis, coded: nn.Module, h_a: HyperAnalysis, medians: Tensor, log_gain: Tensor, embedding: Tensor
) -> EncoderParts:
    """`log_gain` (L, M) and `embedding` (L, Z) are those of every level, `medians` (Z,) what z is coded around."""
    x = torch.full((1, 3, 16 * SIZE[0], 16 * SIZE[1]), 0.5)
    y = torch.zeros(1, log_gain.shape[1], *SIZE)
    networks = {
        "analysis": Network(GainedAnalysis(g_a, coded), {"x": x, "gain": torch.ones(log_gain.shape[1])}, ("y",)),
        "hyper_analysis": Network(
            CompressedHyperAnalysis(h_a), {"y": y, "embedding": torch.zeros(embedding.shape[1])}, ("z",)
        ),
    }
    arrays = {"log_analysis_gain": log_gain, "hyper_embedding": embedding, "medians": medians}
    return EncoderParts(networks, {name: value.detach().cpu().numpy() for name, value in arrays.items()})


def lite_parts(
    g_s: Synthesis,
    predictor: IntegerPredictor,
    tables: Tables,
    levels: Sequence[Tensor],
    qualities: Sequence[float],
    licence: str,
    encoder: EncoderParts,
) -> ExportParts:
    """`levels` are, of these qualities, gains and their inverses (L, M), in logarithms, and embeddings (L, 4 Z)."""
    log_gain, log_inverse_gain, embedding = (value.detach().cpu().numpy() for value in levels)
    first, channels = predictor.h_s.first, log_gain.shape[1]
    symbols, y = torch.zeros(1, len(tables.rows), SIZE[0] // 4, SIZE[1] // 4), torch.zeros(1, channels, *SIZE)
    features = torch.zeros(1, predictor.features, *SIZE)
    networks = {
        "hyper": Network(
            predictor.h_s, {"z_symbols": symbols, "bias": first.with_bias(0.0)}, ("parameters", "features")
        ),
        "context": Network(predictor.context, {"y": y, "features": features}, ("correction",)),
        "synthesis": Network(GainedSynthesis(g_s), {"y_hat": y, "gain": torch.ones(channels)}, ("x_hat",)),
    }
    arrays = {
        "bias_real": first.real_bias,
        "bias_unit": first.unit_out,
        "bias_shift": first.shift,
        "bias_room": first.room,
        "embedding": embedding,
        "log_gain": log_gain,
        "log_synthesis_gain": log_inverse_gain,
        "y_exponents": predictor.exponents,
        "z_stride": np.array(64),
        "knots": np.array(qualities, dtype=np.float32),
    }
    return ExportParts("integer-checkerboard", networks, {"z": tables}, arrays, licence=licence, encoder=encoder)
