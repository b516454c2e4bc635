"""How `lite` is exported: its integer networks, its tables, and what depends on the quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.codecs.lite_prediction import IntegerPredictor
from taskodec.entropy import Tables
from taskodec.export_parts import ExportParts, Network

__all__ = ["lite_parts"]

SIZE = (8, 12)
"""Height and width of the example y; no side is special."""


class GainedSynthesis(nn.Module):
    """y_hat (1, M, h, w) as decoded, and what its channels are multiplied by (M,), to the picture."""

    def __init__(self, g_s: nn.Module) -> None:
        super().__init__()
        self.g_s = g_s

    def forward(self, y_hat: Tensor, gain: Tensor) -> Tensor:
        x_hat: Tensor = self.g_s(y_hat * gain[:, None, None])
        return x_hat


def lite_parts(
    g_s: nn.Module, predictor: IntegerPredictor, tables: Tables, levels: Sequence[Tensor], licence: str
) -> ExportParts:
    """`levels` are the gains, their inverses (L, M) and the embeddings (L, 4 Z) of every level, gains in logarithms."""
    log_gain, log_inverse_gain, embedding = (value.detach().cpu().numpy() for value in levels)
    first, channels = predictor.h_s.first, log_gain.shape[1]
    symbols, y = torch.zeros(1, len(tables.rows), SIZE[0] // 4, SIZE[1] // 4), torch.zeros(1, channels, *SIZE)
    networks = {
        "hyper": Network(
            predictor.h_s, {"z_symbols": symbols, "bias": first.with_bias(0.0)}, ("parameters", "features")
        ),
        "context": Network(predictor.context, {"y": y, "features": y}, ("correction",)),
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
    }
    return ExportParts("integer-checkerboard", networks, {"z": tables}, arrays, licence=licence)
