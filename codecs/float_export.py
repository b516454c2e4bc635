"""How codecs in floats are exported: a factorised prior alone, or a hyperprior under a guard for float32."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.codecs.precise import SAFETY
from taskodec.coding.bottleneck import FactorizedPrior
from taskodec.contracts import EncoderParts, ExportParts, Network
from taskodec.stream.entropy import Tables
from taskodec.stream.exact import Doubles

__all__ = ["Transforms", "factorized_parts", "hyperprior_parts"]

SIZE = (8, 12)
"""Height and width of the example y; no side is special."""

SAMPLES = (16, 24)
"""Height and width of the z that rounding is measured on."""

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True)
class Transforms:
    """The four networks of a codec with a hyperprior."""

    g_a: nn.Module
    h_a: nn.Module
    h_s: nn.Module
    g_s: nn.Module


class Transform(nn.Module):
    """y_hat (1, M, h, w) to the picture."""

    def __init__(self, g_s: nn.Module) -> None:
        super().__init__()
        self.g_s = g_s

    def forward(self, y_hat: Tensor) -> Tensor:
        x_hat: Tensor = self.g_s(y_hat)
        return x_hat


class AnalysisTransform(nn.Module):
    """The picture to y (1, M, h, w)."""

    def __init__(self, g_a: nn.Module) -> None:
        super().__init__()
        self.g_a = g_a

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.g_a(x)
        return y


class HyperTransform(nn.Module):
    """y (1, M, h, w), or its magnitudes for codecs without means, to z."""

    def __init__(self, h_a: nn.Module, *, has_means: bool) -> None:
        super().__init__()
        self.h_a, self.has_means = h_a, has_means

    def forward(self, y: Tensor) -> Tensor:
        z: Tensor = self.h_a(y if self.has_means else y.abs())
        return z


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


def factorized_parts(g_a: nn.Module, g_s: nn.Module, prior: FactorizedPrior, tables: Tables) -> ExportParts:
    """For y under a factorised prior, at 1/16 of the picture's size."""
    y = torch.zeros(1, len(tables.rows), *SIZE)
    networks = {"synthesis": Network(Transform(g_s), {"y_hat": y}, ("x_hat",))}
    arrays = {"medians": _medians(prior), "y_stride": np.array(16)}
    return ExportParts("factorized", networks, {"y": tables}, arrays, encoder=EncoderParts(_analysis(g_a)))


def hyperprior_parts(
    transforms: Transforms, prior: FactorizedPrior, tables: Tables, *, has_means: bool = True
) -> ExportParts:
    """For y with scales and means from z, which is at 1/64 of the picture's size; streams need the portable guard."""
    hyper = ScalesAndMeans(transforms.h_s, has_means=has_means).eval()
    medians = _medians(prior)
    z_hat = torch.zeros(1, len(tables.rows), SIZE[0] // 4, SIZE[1] // 4)
    with torch.no_grad():
        y = torch.zeros_like(hyper(z_hat)[1])
    networks = {
        "hyper": Network(hyper, {"z_hat": z_hat}, ("scales", "means")),
        "synthesis": Network(Transform(transforms.g_s), {"y_hat": y}, ("x_hat",)),
    }
    hyper_analysis = Network(HyperTransform(transforms.h_a, has_means=has_means), {"y": y}, ("z",))
    encoder = EncoderParts(
        {**_analysis(transforms.g_a), "hyper_analysis": hyper_analysis},
        {"scale_tolerance": _tolerance(hyper, tables, medians)},
    )
    arrays = {"medians": medians, "z_stride": np.array(64)}
    return ExportParts(
        "hyperprior", networks, {"z": tables}, arrays, encode_with={"guard": "portable"}, encoder=encoder
    )


def _analysis(g_a: nn.Module) -> dict[str, Network]:
    x = torch.full((1, 3, 16 * SIZE[0], 16 * SIZE[1]), 0.5)
    return {"analysis": Network(AnalysisTransform(g_a), {"x": x}, ("y",))}


@torch.no_grad()
def _tolerance(hyper: ScalesAndMeans, tables: Tables, medians: Floats) -> Doubles:
    """How far the scales of a decoder, in float64 or float32, may be from those of an encoder in float32, (M,).

    As `PreciseCodec.tolerance`, but measured once, on z drawn from its own prior, and twice as much: both may be off.
    """
    rng = np.random.default_rng(0)
    drawn = [
        rng.choice(len(row) - 1, SAMPLES, p=row[:-1] / row[:-1].sum()) + offset  # the last is the escape
        for row, offset in zip(tables.rows, tables.offsets, strict=True)
    ]
    symbols = np.stack(drawn).reshape(1, len(drawn), *SAMPLES)  # (Z, h, w) -> (1, Z, h, w)
    z_hat = torch.from_numpy(symbols + medians[:, None, None].astype(np.float64))
    exact = copy.deepcopy(hyper).double()(z_hat)[0]
    worst = torch.zeros(exact.shape[1], dtype=exact.dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = copy.deepcopy(hyper).to(memory_format=layout)(z_hat.float().contiguous(memory_format=layout))[0]
        worst = torch.maximum(worst, (found.double() - exact).abs().amax((0, 2, 3)))
    tolerance: Doubles = (2 * SAFETY * worst).numpy()
    return tolerance


def _medians(prior: FactorizedPrior) -> Floats:
    medians: Floats = prior.quantiles[:, 0, 1].detach().cpu().float().numpy()
    return medians
