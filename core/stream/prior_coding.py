"""What the recipes share: symbols of a factorised prior and of Gaussians, from and to streams. numpy only, no torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from taskodec.errors import WeightsError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.tables import IntArray

__all__ = ["Floats", "Graph", "column", "read_prior", "shrunk", "write_prior", "write_symbols"]

Floats = npt.NDArray[np.float32]

Graph = Callable[..., list[Floats]]
"""Inputs by name to all outputs."""

LARGEST_SYMBOL = 2**30
"""As in `taskodec.coding.priors`."""


def read_prior(tables: Tables, shape: tuple[int, int], coder: SymbolDecoder) -> Floats:
    """Symbols (1, C, *shape), of a row of the tables for each channel."""
    return coder.decode(_rows((1, len(tables.rows), *shape)), tables).astype(np.float32)


def write_prior(values: Floats, tables: Tables, coder: SymbolEncoder) -> Floats:
    """Write (1, C, h, w), rounded, by a row of the tables for each channel; returns the symbols."""
    return write_symbols(values, _rows(values.shape), tables, coder)


def write_symbols(values: Floats, indexes: IntArray, tables: Tables, coder: SymbolEncoder) -> Floats:
    """Write values, rounded, by the tables' rows `indexes`; returns the symbols.

    WeightsError for values that no stream can hold.
    """
    symbols = np.rint(values)
    if not (np.abs(symbols) <= LARGEST_SYMBOL).all():  # false for NaN too
        raise WeightsError(
            "the latents hold values that are not finite or beyond 2^30, which no stream can hold: the codec's weights "
            "are damaged; export it again"
        )
    coder.encode(symbols.astype(np.int32), indexes, tables)
    return symbols


def shrunk(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of latents at 1/stride of the picture's."""
    return size[0] // stride, size[1] // stride


def column(values: IntArray) -> IntArray:
    """(C,) to (1, C, 1, 1)."""
    return values.reshape(1, -1, 1, 1)  # (C,) -> (1, C, 1, 1)


def _rows(shape: tuple[int, ...]) -> IntArray:
    return np.broadcast_to(column(np.arange(shape[1], dtype=np.int32)), shape)
