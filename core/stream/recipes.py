"""How exported codecs read and write their latents: the steps between their graphs, in numpy. No torch.

A recipe belongs to a way of coding, not to a codec; a codec names the one that it is exported for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from taskodec.stream.checkerboard import IntegerCheckerboard
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables, gaussian_tables
from taskodec.stream.guard import read_guard, write_guard
from taskodec.stream.prior_coding import Floats, Graph, column, read_prior, shrunk, write_prior, write_symbols
from taskodec.stream.tables import IntArray

__all__ = ["FLOAT_MEANS", "RECIPES", "Floats", "Graph", "Recipe"]

PORTABLE = 2e-5
"""The least share of a scale by which another machine's may be off: twice that of `taskodec.codecs.precise`."""


class Recipe(Protocol):
    """How latents become a stream's payload, and back."""

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        """y_hat (1, M, h, w) of an image whose padded height and width are `size`."""

    def write(self, y: Floats, z: Floats | None, quality: float, coder: SymbolEncoder) -> Floats:
        """Write the latents of one image; returns y_hat. WeightsError for values that no stream can hold."""


class Factorized:
    """y under a factorised prior alone. Tables `y`; arrays `medians` (M,) and `y_stride`."""

    def __init__(self, graphs: Mapping[str, Graph], tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]):
        self.tables, self.medians, self.stride = tables["y"], arrays["medians"], int(arrays["y_stride"])

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        return read_prior(self.tables, shrunk(size, self.stride), coder) + column(self.medians)

    def write(self, y: Floats, z: Floats | None, quality: float, coder: SymbolEncoder) -> Floats:
        return write_prior(y - column(self.medians), self.tables, coder) + column(self.medians)


class Hyperprior:
    """y Gaussian, with scales and means from z, under a guard for float32.

    Graph `hyper`: `z_hat` to `scales` and `means`, (1, M, h, w) each. Tables `z`; arrays `medians` (Z,) and
    `z_stride`, and `scale_tolerance` (M,) to write: how far another machine's scales may be from these.
    """

    def __init__(self, graphs: Mapping[str, Graph], tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]):
        self.hyper, self.tables = graphs["hyper"], tables["z"]
        self.medians, self.stride = column(arrays["medians"]), int(arrays["z_stride"])
        self.tolerance = arrays.get("scale_tolerance")

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        z_hat = read_prior(self.tables, shrunk(size, self.stride), coder) + self.medians
        scales, means = self.hyper(z_hat=z_hat)
        guard = read_guard(scales.shape, coder)
        symbols = coder.decode(guard.indexes(scales.astype(np.float64)), gaussian_tables())
        y_hat: Floats = symbols.astype(np.float32) + means
        return y_hat

    def write(self, y: Floats, z: Floats | None, quality: float, coder: SymbolEncoder) -> Floats:
        assert z is not None
        assert self.tolerance is not None
        z_hat = write_prior(z - self.medians, self.tables, coder) + self.medians
        scales, means = self.hyper(z_hat=z_hat)
        own = scales.astype(np.float64)
        tolerance = np.maximum(column(self.tolerance).astype(np.float64), PORTABLE * np.abs(own))
        indexes = write_guard(own, tolerance, coder).indexes(own)
        y_hat: Floats = write_symbols(y - means, indexes, gaussian_tables(), coder) + means
        return y_hat


RECIPES: Mapping[str, Callable[[Mapping[str, Graph], Mapping[str, Tables], Mapping[str, Any]], Recipe]] = {
    "factorized": Factorized,
    "hyperprior": Hyperprior,
    "integer-checkerboard": IntegerCheckerboard,
}

FLOAT_MEANS = frozenset({"hyperprior"})
"""Recipes whose latents are symbols plus a mean in float32, so that they equal the codec's but for its rounding."""
