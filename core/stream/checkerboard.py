"""The recipe of `lite`: integer networks, and the black fields of a checkerboard before the white ones. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, Tables, gaussian_tables
from taskodec.stream.exact import (
    ACTIVATIONS,
    LOG_FIRST,
    LOG_UNIT,
    MEAN_UNIT,
    Doubles,
    between,
    exact_exp,
    knots_of,
    whole_bias,
)
from taskodec.stream.prior_coding import Floats, Graph, column, read_prior, shrunk, write_prior, write_symbols
from taskodec.stream.tables import IntArray

__all__ = ["IntegerCheckerboard"]

Code = Callable[[IntArray, Floats, IntArray], Floats]
"""Table rows and means, each (M, n), of these n fields to the symbols that are there."""


@dataclass(frozen=True)
class _Level:
    """What depends on the quality: the bias of the first layer, and per channel (M, 1) what scales and means need."""

    bias: Floats
    shift: Floats
    mean_unit: Doubles
    step: Doubles


class IntegerCheckerboard:
    """Integer networks for the hyperprior and a checkerboard context, at qualities with a gain for each channel.

    Graph `hyper`: `z_symbols` and `bias` to `parameters` (log-scales and means) and `features`; graph `context`: `y`
    and `features` to `correction`. Tables `z`; arrays of the bias (`bias_real`, `bias_unit`, `bias_shift`,
    `bias_room`), of every level (`embedding`, `log_gain`) and its quality (`knots`), `y_exponents` (M,), `z_stride`,
    and `medians` (Z,) to write.
    All steps are those of the codec, in the same order and precision, so that results are equal to the last bit.
    """

    def __init__(self, graphs: Mapping[str, Graph], tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]):
        self.hyper, self.context = graphs["hyper"], graphs["context"]
        self.tables, self.arrays, self.stride = tables["z"], arrays, int(arrays["z_stride"])
        self.y_scale = np.ldexp(1.0, -arrays["y_exponents"])[:, None]
        self.knots = knots_of(arrays, len(arrays["log_gain"]))
        self._levels: dict[float, _Level] = {}

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Floats:
        """As `taskodec.stream.recipes.Recipe`."""

        def code(rows: IntArray, *_: object) -> Floats:
            return coder.decode(rows, gaussian_tables()).astype(np.float32)

        return self._both_colours(read_prior(self.tables, shrunk(size, self.stride), coder), quality, code)

    def write(self, y: Floats, z: Floats | None, quality: float, coder: SymbolEncoder) -> Floats:
        """As `taskodec.stream.recipes.Recipe`."""
        assert z is not None
        flat = y.reshape(y.shape[1], -1)  # (1, M, h, w) -> (M, h*w)

        def code(rows: IntArray, means: Floats, where: IntArray) -> Floats:
            return write_symbols(flat[:, where] - means, rows, gaussian_tables(), coder)

        return self._both_colours(write_prior(z - column(self.arrays["medians"]), self.tables, coder), quality, code)

    def _both_colours(self, z_symbols: Floats, quality: float, code: Code) -> Floats:
        """The one way through of encoder and decoder: `code` gives the symbols of each colour; returns y_hat."""
        level = self._level(quality)
        base, features = self.hyper(z_symbols=z_symbols, bias=level.bias)
        height, width = base.shape[2:]
        flat = base.reshape(base.shape[1], -1)  # (1, 2M, h, w) -> (2M, h*w)
        black, white = _fields(height, width)
        y_hat = np.empty((len(flat) // 2, height * width), dtype=np.float32)
        self._fill(y_hat, black, flat[:, black], level, code)
        y = self._context_input(flat, level, y_hat, black).reshape(1, -1, height, width)  # (M, h*w) -> (1, M, h, w)
        correction = self.context(y=y, features=features)[0]
        more = correction.reshape(len(flat), -1)[:, white]  # (1, 2M, h, w) -> (2M, h*w)
        self._fill(y_hat, white, flat[:, white] + more, level, code)
        return y_hat.reshape(1, -1, height, width)  # (M, h*w) -> (1, M, h, w)

    def _fill(self, y_hat: Floats, where: IntArray, whole: Floats, level: _Level, code: Code) -> None:
        """Fill in the fields `where` of y_hat (M, h*w), whose parameters are `whole` (2M, n)."""
        logs, whole_means = np.split(whole, 2)
        steps = np.clip(logs + level.shift, 0, 16 * (len(SCALES) - 1)).astype(np.int32)
        means = _means(whole_means, level)
        y_hat[:, where] = code((steps + 15) // 16, means, where) + means  # 16 steps from one table to the next

    def _context_input(self, base: Floats, level: _Level, y_hat: Floats, known: IntArray) -> Floats:
        """The fields that are known, at unit gain and in integers, all others zero."""
        means = base[len(base) // 2 :, known]
        symbols = np.rint(y_hat[:, known] - _means(means, level)).astype(np.float64)
        y = symbols * level.step + means.astype(np.float64) * MEAN_UNIT
        whole = np.zeros_like(y_hat)
        whole[:, known] = np.clip(np.floor(y * self.y_scale + 0.5), -ACTIVATIONS, ACTIVATIONS)
        return whole

    def _level(self, quality: float) -> _Level:
        """Made once for each quality."""
        if quality not in self._levels:
            arrays = self.arrays
            real = arrays["bias_real"] + between(arrays["embedding"].astype(np.float64), quality, self.knots)
            bias = whole_bias(real, arrays["bias_unit"], arrays["bias_shift"], arrays["bias_room"])
            log_gain = between(arrays["log_gain"].astype(np.float64), quality, self.knots)
            gain = exact_exp(log_gain)
            self._levels[quality] = _Level(
                bias.astype(np.float32),
                np.rint((log_gain - LOG_FIRST) / LOG_UNIT).astype(np.float32)[:, None],
                (gain * MEAN_UNIT)[:, None],
                np.ldexp(np.rint(np.ldexp(1 / gain, 16)), -16)[:, None],
            )
        return self._levels[quality]


def _means(whole: Floats, level: _Level) -> Floats:
    """Means (M, n) from integers."""
    means: Floats = (whole.astype(np.float64) * level.mean_unit).astype(np.float32)
    return means


def _fields(height: int, width: int) -> tuple[IntArray, IntArray]:
    """Where, of all h*w fields of a checkerboard, the black ones are, and the white ones."""
    rows, columns = np.indices((height, width), sparse=True)
    black = ((rows + columns) % 2 == 0).reshape(-1)  # (h, w) -> (h*w,)
    return np.flatnonzero(black), np.flatnonzero(~black)
