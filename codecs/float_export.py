"""How codecs in floats are exported: a factorised prior alone, or a hyperprior under a guard for float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.compressai_import import EntropyBottleneck
from taskodec.entropy import Tables
from taskodec.export_parts import ExportParts, Network

__all__ = ["factorized_parts", "hyperprior_parts"]

SIZE = (8, 12)
"""Height and width of the example y; no side is special."""


class Transform(nn.Module):
    """y_hat (1, M, h, w) to the picture."""

    def __init__(self, g_s: nn.Module) -> None:
        super().__init__()
        self.g_s = g_s

    def forward(self, y_hat: Tensor) -> Tensor:
        x_hat: Tensor = self.g_s(y_hat)
        return x_hat


class ScalesAndMeans(nn.Module):
    """z_hat (1, Z, h/4, w/4) to the scales and means of y, each (1, M, h, w); means of zero where h_s gives none."""

    def __init__(self, h_s: nn.Module, *, has_means: bool) -> None:
        super().__init__()
        self.h_s, self.has_means = h_s, has_means

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        out: Tensor = self.h_s(z_hat)
        if not self.has_means:
            return out, torch.zeros_like(out)
        scales, means = out.chunk(2, 1)
        return scales, means


def factorized_parts(g_s: nn.Module, prior: EntropyBottleneck, tables: Tables) -> ExportParts:
    """For y under a factorised prior, at 1/16 of the picture's size."""
    y = torch.zeros(1, len(tables.rows), *SIZE)
    networks = {"synthesis": Network(Transform(g_s), {"y_hat": y}, ("x_hat",))}
    return ExportParts("factorized", networks, {"y": tables}, {"medians": _medians(prior), "y_stride": np.array(16)})


def hyperprior_parts(
    g_s: nn.Module, h_s: nn.Module, prior: EntropyBottleneck, tables: Tables, *, has_means: bool = True
) -> ExportParts:
    """For y with scales and means from z, which is at 1/64 of the picture's size; streams need the portable guard."""
    hyper = ScalesAndMeans(h_s, has_means=has_means).eval()
    z_hat = torch.zeros(1, len(tables.rows), SIZE[0] // 4, SIZE[1] // 4)
    with torch.no_grad():
        y_hat = torch.zeros_like(hyper(z_hat)[1])
    networks = {
        "hyper": Network(hyper, {"z_hat": z_hat}, ("scales", "means")),
        "synthesis": Network(Transform(g_s), {"y_hat": y_hat}, ("x_hat",)),
    }
    arrays = {"medians": _medians(prior), "z_stride": np.array(64)}
    return ExportParts("hyperprior", networks, {"z": tables}, arrays, encode_with={"guard": "portable"})


def _medians(prior: EntropyBottleneck) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    medians: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = prior.quantiles[:, 0, 1].detach().cpu().float().numpy()
    return medians
