"""How exported codecs read their latents: the steps between their graphs, in numpy. No torch.

A recipe belongs to a way of coding, not to a codec; a codec names the one that it is exported for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from taskodec.entropy import SCALES, SymbolDecoder, Tables, gaussian_tables
from taskodec.exact import ACTIVATIONS, LOG_FIRST, LOG_UNIT, MEAN_UNIT, Doubles, between, exact_exp, whole_bias
from taskodec.guard import read_guard
from taskodec.tables import IntArray

__all__ = ["FLOAT_MEANS", "RECIPES", "Floats", "Graph", "Recipe"]

Floats = npt.NDArray[np.float32]

Graph = Callable[..., list[Floats]]
"""Inputs by name to all outputs."""


class Recipe(Protocol):
    """Reads y_hat (1, M, h, w) of an image whose padded height and width are `size`."""

    def __call__(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats: ...


class Factorized:
    """y under a factorised prior alone. Tables `y`; arrays `medians` (M,) and `y_stride`."""

    def __init__(self, graphs: Mapping[str, Graph], tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]):
        self.tables, self.medians, self.stride = tables["y"], arrays["medians"], int(arrays["y_stride"])

    def __call__(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        return _read_prior(self.tables, (size[0] // self.stride, size[1] // self.stride), coder, self.medians)


class Hyperprior:
    """Scales and means of y from z by a network in floats, under a guard.

    Graph `hyper`: `z_hat` to `scales` and `means`. Tables `z`; arrays `medians` (Z,) and `z_stride`.
    """

    def __init__(self, graphs: Mapping[str, Graph], tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]):
        self.hyper, self.tables = graphs["hyper"], tables["z"]
        self.medians, self.stride = arrays["medians"], int(arrays["z_stride"])

    def __call__(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        z_hat = _read_prior(self.tables, (size[0] // self.stride, size[1] // self.stride), coder, self.medians)
        scales, means = self.hyper(z_hat=z_hat)
        guard = read_guard(scales.shape, coder)
        symbols = coder.decode(guard.indexes(scales.astype(np.float64)), gaussian_tables())
        y_hat: Floats = symbols.astype(np.float32) + means
        return y_hat


class IntegerCheckerboard:
    """Integer networks for the hyperprior and a checkerboard context, at qualities with a gain for each channel.

    Graph `hyper`: `z_symbols` and `bias` to `parameters` (log-scales and means) and `features`; graph `context`: `y`
    and `features` to `correction`. Tables `z`; arrays of the bias (`bias_real`, `bias_unit`, `bias_shift`,
    `bias_room`), of every level (`embedding`, `log_gain`), `y_exponents` (M,), `z_stride`. All steps are those of the
    encoder, in the same order and precision, so that the results are equal to the last bit.
    """

    def __init__(self, graphs: Mapping[str, Graph], tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]):
        self.hyper, self.context = graphs["hyper"], graphs["context"]
        self.tables, self.arrays, self.stride = tables["z"], arrays, int(arrays["z_stride"])

    def __call__(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        arrays = self.arrays
        symbols = _read_prior(self.tables, (size[0] // self.stride, size[1] // self.stride), coder)
        real = arrays["bias_real"] + between(arrays["embedding"].astype(np.float64), quality)
        bias = whole_bias(real, arrays["bias_unit"], arrays["bias_shift"], arrays["bias_room"])
        base, features = self.hyper(z_symbols=symbols, bias=bias.astype(np.float32))
        log_gain = between(arrays["log_gain"].astype(np.float64), quality)
        known = _first_fields(base.shape[2:])
        y_hat = np.zeros((1, base.shape[1] // 2, *base.shape[2:]), dtype=np.float32)
        self._read(base, log_gain, known, coder, y_hat)
        correction = self.context(y=self._context_input(base, log_gain, known, y_hat), features=features)[0]
        self._read(base + correction, log_gain, ~known, coder, y_hat)
        return y_hat

    def _read(self, whole: Floats, log_gain: Doubles, where: IntArray, coder: SymbolDecoder, y_hat: Floats) -> None:
        """Fill in the fields `where` of y_hat."""
        logs, means = np.split(whole[..., where], 2, axis=1)  # (1, 2M, h, w) -> 2 times (1, M, n)
        shift = np.rint((log_gain - LOG_FIRST) / LOG_UNIT).astype(np.float32)[:, None]
        steps = np.clip(logs + shift, 0, 16 * (len(SCALES) - 1)).astype(np.int64)
        read = coder.decode((steps + 15) // 16, gaussian_tables())  # 16 steps from one table to the next
        y_hat[..., where] = read.astype(np.float32) + _means(means, exact_exp(log_gain)[:, None])

    def _context_input(self, base: Floats, log_gain: Doubles, known: IntArray, y_hat: Floats) -> Floats:
        """The fields that are known, at unit gain and in integers, all others zero."""
        means = base[:, base.shape[1] // 2 :]
        gain = exact_exp(log_gain)
        step = np.ldexp(np.rint(np.ldexp(1 / gain, 16)), -16)[:, None, None]
        symbols = np.round(y_hat - _means(means, gain[:, None, None])).astype(np.float64)
        y = np.where(known, symbols * step + means.astype(np.float64) * MEAN_UNIT, 0.0)
        scale = np.ldexp(1.0, -self.arrays["y_exponents"])[:, None, None]
        whole: Floats = np.clip(np.floor(y * scale + 0.5), -ACTIVATIONS, ACTIVATIONS).astype(np.float32)
        return whole


RECIPES: Mapping[str, Callable[[Mapping[str, Graph], Mapping[str, Tables], Mapping[str, Any]], Recipe]] = {
    "factorized": Factorized,
    "hyperprior": Hyperprior,
    "integer-checkerboard": IntegerCheckerboard,
}

FLOAT_MEANS = frozenset({"hyperprior"})
"""Recipes whose latents are symbols plus a mean in float32, so that they equal the codec's but for its rounding."""


def _read_prior(
    tables: Tables, shape: tuple[int, int], coder: SymbolDecoder, medians: IntArray | float = 0.0
) -> Floats:
    """Symbols (1, C, *shape) under a factorised prior, plus its medians (C,)."""
    channels = np.arange(len(tables.rows), dtype=np.int32)[None, :, None, None]
    symbols = coder.decode(np.broadcast_to(channels, (1, len(tables.rows), *shape)), tables)
    return symbols.astype(np.float32) + np.asarray(medians, dtype=np.float32).reshape(1, -1, 1, 1)


def _means(whole: Floats, gain: Doubles) -> Floats:
    """Means from integers; `gain` is shaped to fit."""
    means: Floats = (whole.astype(np.float64) * (gain * MEAN_UNIT)).astype(np.float32)
    return means


def _first_fields(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The black fields of a checkerboard (h, w)."""
    rows, columns = np.indices(shape, sparse=True)
    black: npt.NDArray[np.bool_] = (rows + columns) % 2 == 0
    return black
