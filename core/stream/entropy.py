"""Entropy coding of integers from integer tables: numpy and the range coder of `constriction`, no torch.

Symbols are coded group by group, one group for each table row in use. A symbol outside its row is coded as the
row's escape; the escaped values follow the groups in a universal code.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.tables import INT32, SCALES, IntArray, Tables, bit_lengths, escape_table, gaussian_tables

__all__ = ["SCALES", "SymbolDecoder", "SymbolEncoder", "Tables", "gaussian_tables"]

DAMAGED = "the coded data is damaged: it holds a value that no encoder writes; get the file again"


class SymbolEncoder:
    """Writes integers; a `SymbolDecoder` reads them back in the same order."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self._bits = 0.0
        self._choices = _Checksum()

    @property
    def bits(self) -> float:
        """Information content written so far; the bytes have about 8 bits more at the end of all."""
        return self._bits

    @property
    def checksum(self) -> int:
        """16 bits over all tables and indexes given so far."""
        return self._choices.value & 0xFFFF

    def encode(self, symbols: IntArray, indexes: IntArray, tables: Tables) -> None:
        """Write int32 symbols, each by the table row of its index; both arrays of the same, any, shape."""
        symbols, indexes = tables.check(symbols, indexes)
        self._choices.add(indexes, tables)
        entries = tables.entries(symbols, indexes)
        self._bits += tables.cost(entries, indexes)
        for row, where in _groups(indexes):
            self._coder.encode(entries[where].astype(np.int32), tables.model(row))
        escaped = entries == tables.lasts[indexes]
        if escaped.any():
            self._encode_escapes(*tables.distances(symbols[escaped], indexes[escaped]))

    def encode_uniform(self, value: int, bits: int) -> None:
        """Write an integer of up to 16 bits as it is."""
        _check_width(bits)
        if not 0 <= value < 1 << bits:
            raise UsageError(f"value {value} does not fit in {bits} bits; valid: 0 to {(1 << bits) - 1}")
        self._raw(np.array([value]), bits)

    def encode_bits(self, values: IntArray, bits: int) -> None:
        """Write (n,) integers below 2**bits as they are, `bits` up to 32: all lower halves before all upper ones."""
        self._raw(values & 0xFFFF, min(bits, 16))
        self._raw(values >> 16, max(bits - 16, 0))

    def getvalue(self) -> bytes:
        """The shortest bytes that decode to everything written so far; more can be written afterwards.

        The range coder holds an interval, and every number in it decodes alike. Of these the one with the most
        trailing zero bytes is taken, as a big-endian number, and the zeros are left out.
        """
        count, (lower, width) = self._coder.pos()
        length = 4 * (count + 2)  # bytes of the numbers at the interval's ends
        words = self._coder.get_compressed().astype(">u4").tobytes()
        inside = int.from_bytes(words.ljust(length, b"\0"), "big")
        first = inside - (inside - lower) % 2**64  # `lower` is the interval's start modulo 2**64
        rounded = (-(-first >> shift) << shift for shift in range(64, -1, -8))
        number: int = next(number for number in rounded if number < first + width)
        return number.to_bytes(length, "big").rstrip(b"\0")

    def _raw(self, values: IntArray, bits: int) -> None:
        if bits and len(values):
            self._coder.encode(values.astype(np.int32), constriction.stream.model.Uniform(1 << bits))
            self._bits += bits * len(values)

    def _encode_escapes(self, distances: IntArray, above: IntArray) -> None:
        """Elias gamma code (1975): the number of bits, with the side, then the bits below the leading one."""
        lengths = bit_lengths(distances)
        classes = 2 * lengths + above
        self._coder.encode(classes.astype(np.int32), escape_table().model(0))
        self._bits += escape_table().cost(classes, np.zeros_like(classes))
        for length, where in _groups(lengths):
            self.encode_bits(distances[where] - (1 << length), length)


class SymbolDecoder:
    """Reads what a `SymbolEncoder` wrote. Takes any bytes: time and memory depend only on what is asked for."""

    def __init__(self, data: bytes) -> None:
        words = np.frombuffer(bytes(data) + bytes(-len(data) % 4), dtype=">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)  # reads zeros beyond the end
        self._choices = _Checksum()

    @property
    def checksum(self) -> int:
        """16 bits over all tables and indexes given so far."""
        return self._choices.value & 0xFFFF

    def decode(self, indexes: IntArray, tables: Tables) -> npt.NDArray[np.int32]:
        """Read one symbol per index, in the shape of `indexes`. Raises DamagedStreamError."""
        shape = np.shape(indexes)
        indexes = tables.check_indexes(indexes)
        self._choices.add(indexes, tables)
        entries = np.empty(len(indexes), dtype=np.int64)
        for row, where in _groups(indexes):
            entries[where] = self._take(tables.model(row), len(where))
        symbols = entries + tables.offsets[indexes]
        escaped = entries == tables.lasts[indexes]
        if escaped.any():
            symbols[escaped] = self._decode_escapes(tables, indexes[escaped])
        result: npt.NDArray[np.int32] = symbols.astype(np.int32).reshape(shape)
        return result

    def decode_uniform(self, bits: int) -> int:
        """Read an integer of up to 16 bits. Raises DamagedStreamError."""
        _check_width(bits)
        return int(self._raw(1, bits)[0])

    def decode_bits(self, count: int, bits: int) -> IntArray:
        """Read `count` integers of up to 32 bits. Raises DamagedStreamError."""
        values = self._raw(count, min(bits, 16))
        values += self._raw(count, max(bits - 16, 0)) << 16
        return values

    def _take(self, model: Any, count: int) -> IntArray:
        try:
            values: IntArray = self._coder.decode(model, count)
        except AssertionError as error:  # so constriction reports a number outside the model's range
            raise DamagedStreamError(DAMAGED) from error
        return values.astype(np.int64)

    def _raw(self, count: int, bits: int) -> IntArray:
        if not bits:
            return np.zeros(count, dtype=np.int64)
        return self._take(constriction.stream.model.Uniform(1 << bits), count)

    def _decode_escapes(self, tables: Tables, indexes: IntArray) -> IntArray:
        classes = self._take(escape_table().model(0), len(indexes))
        lengths, above = classes >> 1, classes & 1
        if lengths.max() > 32:  # the table's own escape
            raise DamagedStreamError(DAMAGED)
        distances = np.empty(len(indexes), dtype=np.int64)
        for length, where in _groups(lengths):
            distances[where] = (1 << length) + self.decode_bits(len(where), length)
        symbols = tables.beyond(distances, above, indexes)
        if symbols.min() < INT32.min or symbols.max() > INT32.max:
            raise DamagedStreamError(DAMAGED)
        return symbols


class _Checksum:
    """CRC32 of what chooses the symbols' probabilities: every table when it is first used, and all indexes."""

    def __init__(self) -> None:
        self.value = 0
        self._seen: set[bytes] = set()

    def add(self, indexes: IntArray, tables: Tables) -> None:
        """Chain the indexes, whatever their dtype, after the tables' fingerprint if that is new."""
        if len(indexes) and tables.fingerprint not in self._seen:
            self._seen.add(tables.fingerprint)
            self.value = zlib.crc32(tables.fingerprint, self.value)
        self.value = zlib.crc32(indexes.astype("<u2").tobytes(), self.value)


def _groups(indexes: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Each value that occurs, ascending, with the positions where it does."""
    if len(indexes) == 0:
        return
    order = np.argsort(indexes.astype(np.uint16), kind="stable")  # there are at most 2^16 rows; 16 bits sort by radix
    counts = np.bincount(indexes)
    values = np.flatnonzero(counts)
    yield from zip(values.tolist(), np.split(order, np.cumsum(counts[values])[:-1]), strict=True)


def _check_width(bits: int) -> None:
    if not 0 <= bits <= 16:
        raise UsageError(f"bits must be 0 to 16, found {bits}")
