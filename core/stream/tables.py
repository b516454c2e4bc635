"""Integer frequency tables: what the range coder takes symbols to be likely by.

The frequencies of a row sum to 2**16, so every machine builds exactly the same model and no error function is
evaluated at decoding time. The last entry of a row is the escape, for symbols outside the row.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from taskodec.errors import UsageError

__all__ = [
    "SCALES",
    "TOTAL",
    "IntArray",
    "Tables",
    "bit_lengths",
    "counts_by_weight",
    "escape_table",
    "gaussian_tables",
]

IntArray = npt.NDArray[Any]

TOTAL = 2**16
"""Sum of the frequencies of every row."""

SCALES: npt.NDArray[np.float64] = np.exp(np.linspace(np.log(0.11), np.log(256.0), 64))
"""Standard deviations of the Gaussian rows, the 64 that CompressAI uses."""

INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class Tables:
    """Frequency rows, each summing to 2**16 with its escape last; entry 0 of row i stands for `offsets[i]`."""

    rows: Sequence[IntArray]
    offsets: IntArray

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.offsets) or not 0 < len(self.rows) <= 2**16:
            found = f"{len(self.rows)} rows and {len(self.offsets)} offsets"
            raise UsageError(f"tables need 1 to 65536 rows and as many offsets, found {found}")
        for i, row in enumerate(self.rows):
            if row.ndim != 1 or len(row) < 2 or row.min() < 1 or int(row.sum()) != TOTAL:
                raise UsageError(f"table row {i}: need two or more counts of at least 1 that sum to {TOTAL}")
        if np.abs(self.offsets).max() > 2**30:
            raise UsageError("table offsets must lie within ±2**30")

    def __deepcopy__(self, memo: dict[int, Any]) -> Tables:
        """Itself: it never changes, and the range coder's models cannot be copied."""
        return self

    @classmethod
    def from_pmfs(cls, pmfs: Sequence[IntArray], offsets: IntArray) -> Tables:
        """Rows of the given probabilities; what is missing to 1 goes to the escape, which is added as last entry.

        Largest-remainder rounding with at least one count for every entry. Raises UsageError for values that
        are no probabilities.
        """
        return cls(tuple(_counts(pmf, i) for i, pmf in enumerate(pmfs)), np.asarray(offsets, dtype=np.int64))

    def bits(self, symbols: IntArray, indexes: IntArray) -> float:
        """Exact information content of these symbols, escapes included; both arrays of the same, any, shape."""
        symbols, indexes = self.check(symbols, indexes)
        entries = self.entries(symbols, indexes)
        bits = self.cost(entries, indexes)
        escaped = entries == self.lasts[indexes]
        if escaped.any():
            distances, above = self.distances(symbols[escaped], indexes[escaped])
            lengths = bit_lengths(distances)
            bits += escape_table().cost(2 * lengths + above, np.zeros_like(lengths)) + float(lengths.sum())
        return bits

    @functools.cached_property
    def fingerprint(self) -> bytes:
        """8 bytes that stand for the exact content (a prefix of a SHA-256)."""
        digest = hashlib.sha256(self.offsets.astype("<i8").tobytes())
        for row in self.rows:
            digest.update(len(row).to_bytes(4, "little") + row.astype("<u2").tobytes())
        return digest.digest()[:8]

    @functools.cached_property
    def lasts(self) -> IntArray:
        """The entry number of every row's escape."""
        return np.array([len(row) - 1 for row in self.rows], dtype=np.int64)

    @functools.cached_property
    def _costs(self) -> tuple[IntArray, IntArray]:
        """Bits of every entry, rows concatenated, and where each row starts."""
        counts = np.concatenate(self.rows).astype(np.float64)
        return np.log2(TOTAL / counts), np.concatenate(([0], np.cumsum(self.lasts + 1)[:-1]))

    @functools.cached_property
    def _models(self) -> dict[int, Any]:
        return {}

    def model(self, row: int) -> Any:
        """The range coder's model of a row, built at its first use.

        The probabilities are multiples of 2**-16, so the coder's own fixed-point conversion is exact in float64.
        """
        if row not in self._models:
            probabilities = self.rows[row].astype(np.float64) / TOTAL
            self._models[row] = constriction.stream.model.Categorical(probabilities, perfect=False)
        return self._models[row]

    def check(self, symbols: IntArray, indexes: IntArray) -> tuple[IntArray, IntArray]:
        """Both arrays flat and as int64, or a UsageError."""
        symbols = np.asarray(symbols)
        if symbols.shape != np.shape(indexes):
            raise UsageError(f"symbols {symbols.shape} and indexes {np.shape(indexes)} must have the same shape")
        if not _all_within(symbols, INT32.min, INT32.max):
            raise UsageError("symbols must be integers that fit in int32")
        return symbols.reshape(-1).astype(np.int64), self.check_indexes(indexes)

    def check_indexes(self, indexes: IntArray) -> IntArray:
        """The indexes flat and as int64, or a UsageError."""
        indexes = np.asarray(indexes)
        if not _all_within(indexes, 0, len(self.rows) - 1):
            raise UsageError(f"indexes must be integers from 0 to {len(self.rows) - 1}")
        return indexes.reshape(-1).astype(np.int64)

    def entries(self, symbols: IntArray, indexes: IntArray) -> IntArray:
        """Each symbol's entry number in its row; the escape's for symbols outside it."""
        entries = symbols - self.offsets[indexes]
        lasts = self.lasts[indexes]
        return np.where((entries < 0) | (entries > lasts), lasts, entries)

    def cost(self, entries: IntArray, indexes: IntArray) -> float:
        """Bits of these entries."""
        costs, starts = self._costs
        return float(costs[starts[indexes] + entries].sum())

    def distances(self, symbols: IntArray, indexes: IntArray) -> tuple[IntArray, IntArray]:
        """For escaped symbols: how far beyond their row's edge, from 1, and whether (0 or 1) above it."""
        first = self.offsets[indexes]
        end = first + self.lasts[indexes]
        above = symbols >= end
        return np.where(above, symbols - end + 1, first - symbols), above.astype(np.int64)

    def beyond(self, distances: IntArray, above: IntArray, indexes: IntArray) -> IntArray:
        """The symbols that `distances` was given."""
        first = self.offsets[indexes]
        return np.where(above == 1, first + self.lasts[indexes] + distances - 1, first - distances)


@functools.cache
def gaussian_tables() -> Tables:
    """Row i is N(0, SCALES[i]²) integrated over unit bins, from integers that ship with the package.

    `scripts/make_gaussian_tables.py` made the file.
    """
    raw = resources.files("taskodec.stream").joinpath("data/gaussian_tables.npz").read_bytes()
    with np.load(io.BytesIO(raw), allow_pickle=False) as data:
        lengths, counts = data["lengths"].astype(np.int64), data["counts"].astype(np.int64)
    rows = np.split(counts, np.cumsum(lengths)[:-1])
    return Tables(tuple(rows), -((lengths - 2) // 2))  # 2 r + 1 symbols from -r to r, and the escape


@functools.cache
def escape_table() -> Tables:
    """One row for `2 * bits below the leading one + above`, each length half as likely as the one before."""
    return Tables.from_pmfs([np.repeat(0.5 ** np.arange(2, 35), 2)], np.zeros(1, dtype=np.int64))


def counts_by_weight(weights: Sequence[int]) -> IntArray:
    """A row for entries of these integer weights, with an escape that is hardly ever needed: in integers only.

    Each entry and the escape get one count, the rest goes by weight, and what is left over to the heaviest entry.
    """
    spare = TOTAL - len(weights) - 1
    counts = [1 + spare * weight // sum(weights) for weight in weights]
    counts[int(np.argmax(counts))] += TOTAL - 1 - sum(counts)
    return np.array([*counts, 1])


def bit_lengths(distances: IntArray) -> IntArray:
    """floor(log2), exact for integers from 1 to 2**53."""
    return np.frexp(distances.astype(np.float64))[1].astype(np.int64) - 1


def _all_within(values: IntArray, low: int, high: int) -> bool:
    if not values.size:
        return True
    return values.dtype.kind in "iu" and low <= int(values.min()) and int(values.max()) <= high


def _counts(pmf: IntArray, row: int) -> IntArray:
    """Frequencies of a pmf and its escape."""
    pmf = np.asarray(pmf, dtype=np.float64)
    if pmf.ndim != 1 or not 0 < len(pmf) < TOTAL or not ((pmf >= 0) & (pmf <= 1)).all():
        raise UsageError(f"table row {row}: need 1 to {TOTAL - 1} probabilities from 0 to 1")
    weights = np.append(pmf, max(0.0, 1.0 - float(pmf.sum())))
    small = np.zeros(len(weights), dtype=bool)  # entries worth less than one count: they get one, the others share
    while True:
        shares = weights * ((TOTAL - small.sum()) / weights[~small].sum())
        if not (shares[~small] < 1).any():
            break
        small |= shares < 1
    shares[small] = 1
    counts: IntArray = np.floor(shares).astype(np.int64)
    missing = TOTAL - int(counts.sum())
    counts[np.argsort(counts - shares, kind="stable")[:missing]] += 1
    return counts
