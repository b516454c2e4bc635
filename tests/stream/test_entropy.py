import bisect
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, Tables, gaussian_tables
from taskodec.stream.tables import escape_table

INT32 = st.one_of(st.integers(-3, 3), st.integers(-3000, 3000), st.integers(-(2**31), 2**31 - 1))


def some_tables(seed: int, rows: int) -> Tables:
    """Rows of all kinds: short, long, flat, certain, with and without mass for the escape."""
    rng = np.random.default_rng(seed)
    pmfs = [rng.dirichlet(np.full(rng.integers(1, 40), 10.0 ** rng.integers(-3, 2))) for _ in range(rows)]
    pmfs = [np.minimum(pmf * rng.choice([1.0, 0.9, 0.01]), 1.0) for pmf in pmfs]
    return Tables.from_pmfs(pmfs, rng.integers(-50, 50, rows))


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[Tables, np.ndarray, np.ndarray]]:
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        rows = draw(st.integers(1, 5))
        tables = draw(st.sampled_from([gaussian_tables(), some_tables(draw(st.integers(0, 99)), rows)]))
        pairs = draw(st.lists(st.tuples(INT32, st.integers(0, rows - 1)), max_size=50))
        symbols, indexes = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        parts.append((tables, symbols, indexes))
    return parts


def write(parts: list[tuple[Tables, np.ndarray, np.ndarray]]) -> SymbolEncoder:
    coder = SymbolEncoder()
    for i, (tables, symbols, indexes) in enumerate(parts):
        coder.encode_uniform(i, 2)
        coder.encode(symbols, indexes, tables)
    return coder


def reads_back(data: bytes, parts: list[tuple[Tables, np.ndarray, np.ndarray]]) -> bool:
    coder = SymbolDecoder(data)
    try:
        return all(
            coder.decode_uniform(2) == i and np.array_equal(coder.decode(indexes, tables), symbols)
            for i, (tables, symbols, indexes) in enumerate(parts)
        )
    except DamagedStreamError:
        return False


@settings(derandomize=True, deadline=None, max_examples=300)
@given(messages())
def test_everything_written_is_read_back_and_nothing_shorter_would_do(parts):
    coder = write(parts)
    data = coder.getvalue()
    assert reads_back(data, parts)
    assert coder.bits == pytest.approx(sum(2 + t.bits(s, i) for t, s, i in parts), abs=1e-6)
    assert len(data) * 8 <= coder.bits + 8.5
    if data:
        assert data[-1] != 0
        shorter = int.from_bytes(data[:-1], "big")
        for number in (shorter, shorter + 1):  # the two nearest numbers of one byte less
            assert not reads_back(number.to_bytes(len(data), "big")[1:], parts)


def test_every_kind_of_carry_at_the_end():
    """Streams of certain symbols bring the coder's interval close to carries; all must end well."""
    tables = Tables([np.array([1, 65534, 1]), np.array([65534, 1, 1]), np.array([1, 1, 65534])], np.zeros(3, dtype=int))
    rng = np.random.default_rng(0)
    for _ in range(1500):
        indexes = rng.integers(0, 3, rng.integers(1, 60))
        symbols = rng.choice([0, 1, 2], len(indexes), p=[0.1, 0.3, 0.6])
        coder = write([(tables, symbols, indexes)])
        assert reads_back(coder.getvalue(), [(tables, symbols, indexes)])


def test_gaussian_symbols_cost_what_the_tables_say():
    rng = np.random.default_rng(1)
    indexes = rng.integers(0, 64, (1, 8, 25, 40))
    symbols = np.round(rng.normal(size=indexes.shape) * SCALES[indexes]).astype(np.int32)
    coder = SymbolEncoder()
    coder.encode(symbols, indexes, gaussian_tables())
    data = coder.getvalue()
    decoded = SymbolDecoder(data).decode(indexes, gaussian_tables())
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, symbols)
    assert len(data) * 8 == pytest.approx(gaussian_tables().bits(symbols, indexes), rel=3e-4)
    assert len(data) == len(data.rstrip(b"\0"))


def test_bytes_are_the_same_everywhere():
    """Made once and kept: a machine, numpy or constriction that gives other bytes cannot read our streams."""
    indexes = np.arange(64).repeat(3)
    symbols = (np.arange(192) * 7919 % 13 - 6) * indexes // 24
    symbols[5], symbols[100] = -40, 5000
    coder = SymbolEncoder()
    coder.encode_uniform(0xABC, 12)
    coder.encode(symbols, indexes, gaussian_tables())
    assert coder.getvalue().hex() == GOLDEN
    assert coder.checksum == GOLDEN_CHECKSUM


def test_nothing_takes_no_bytes():
    coder = SymbolEncoder()
    empty = np.zeros((0, 4), dtype=int)
    coder.encode(empty, empty, gaussian_tables())
    coder.encode_uniform(0, 0)
    assert (coder.getvalue(), coder.bits, coder.checksum) == (b"", 0, 0)
    assert SymbolDecoder(b"").decode(empty, gaussian_tables()).shape == (0, 4)


def test_the_most_extreme_values():
    values = np.array([-(2**31), 2**31 - 1, -(2**31) + 1, 0])
    for offset in (-(2**30), 0, 2**30):
        tables = Tables([np.array([65535, 1])], np.array([offset]))
        coder = SymbolEncoder()
        coder.encode(values, np.zeros(4, dtype=int), tables)
        np.testing.assert_array_equal(SymbolDecoder(coder.getvalue()).decode(np.zeros(4, int), tables), values)


class DecoderByTheBook:
    """The range decoder as docs/bitstream.md describes it, without constriction."""

    def __init__(self, data: bytes) -> None:
        self.data = iter(data)
        self.offset = self.word() << 32 | self.word()
        self.width = 2**64 - 1

    def word(self) -> int:
        return int.from_bytes(bytes(next(self.data, 0) for _ in range(4)), "big")

    def entry(self, left: list[int]) -> int:
        unit = self.width >> 24
        entry = bisect.bisect_right(left, self.offset // unit) - 1
        self.offset -= unit * left[entry]
        self.width = unit * (left[entry + 1] - left[entry])
        if self.width < 2**32:
            self.offset = self.offset << 32 | self.word()
            self.width <<= 32
        return entry

    def uniform(self, bits: int) -> int:
        return self.entry([i << 24 - bits for i in range(2**bits + 1)])

    def row(self, counts: list[int]) -> int:
        free, sums = 2**24 - len(counts), [0, *itertools.accumulate(counts)]
        return self.entry([free * total // 2**16 + i for i, total in enumerate(sums[:-1])] + [2**24])


def test_the_documentation_is_enough_to_decode():
    tables, indexes = gaussian_tables(), np.arange(64).repeat(3)
    rows, offsets = [row.tolist() for row in tables.rows], tables.offsets.tolist()
    coder = DecoderByTheBook(bytes.fromhex(GOLDEN))
    assert coder.uniform(12) == 0xABC
    entries = [coder.row(rows[i]) for i in indexes]
    escaped = [n for n, i in enumerate(indexes) if entries[n] == len(rows[i]) - 1]
    symbols = [entry + offsets[i] for entry, i in zip(entries, indexes, strict=True)]
    classes = [coder.row(escape_table().rows[0].tolist()) for _ in escaped]
    for n, kind in sorted(zip(escaped, classes, strict=True), key=lambda pair: pair[1] >> 1):
        length = kind >> 1
        distance = (1 << length) + coder.uniform(length)  # shorter than 17 bits here, so in one piece
        first, last = offsets[n // 3], offsets[n // 3] + len(rows[n // 3]) - 2
        symbols[n] = last + distance if kind & 1 else first - distance
    expected = (np.arange(192) * 7919 % 13 - 6) * indexes // 24
    expected[5], expected[100] = -40, 5000
    assert symbols == expected.tolist()


@pytest.mark.parametrize("bits", range(17))
def test_uniform_bits(bits):
    coder = SymbolEncoder()
    values = [0, (1 << bits) - 1, (1 << bits) // 3]
    for value in values:
        coder.encode_uniform(value, bits)
    assert coder.bits == 3 * bits
    reader = SymbolDecoder(coder.getvalue())
    assert [reader.decode_uniform(bits) for _ in values] == values


def test_encoding_goes_on_after_getvalue():
    coder = SymbolEncoder()
    coder.encode_uniform(5, 3)
    first = coder.getvalue()
    assert coder.getvalue() == first
    coder.encode_uniform(6, 3)
    reader = SymbolDecoder(coder.getvalue())
    assert [reader.decode_uniform(3), reader.decode_uniform(3)] == [5, 6]


def test_checksum_depends_on_the_indexes_alone():
    def checksum(*arrays: np.ndarray) -> int:
        writer = SymbolEncoder()
        for indexes in arrays:
            writer.encode(np.ones_like(indexes, dtype=int), indexes, gaussian_tables())
        reader = SymbolDecoder(writer.getvalue())
        for indexes in arrays:
            reader.decode(indexes, gaussian_tables())
        assert reader.checksum == writer.checksum < 2**16
        return writer.checksum

    indexes = np.arange(60)
    assert checksum(indexes) == checksum(indexes.astype(np.uint8)) == checksum(indexes.reshape(6, 10).astype(np.int32))
    assert checksum(indexes) == checksum(indexes[:9], indexes[9:])
    for i in range(60):
        assert checksum(np.where(np.arange(60) == i, 61, indexes)) != checksum(indexes)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.binary(max_size=60), st.lists(st.integers(0, 63), max_size=200), st.integers(0, 16))
def test_any_bytes_decode_to_integers_or_a_typed_error(data, rows, bits):
    indexes = np.array(rows, dtype=np.int64)
    coder = SymbolDecoder(data)
    try:
        symbols = coder.decode(indexes, gaussian_tables())
        value = coder.decode_uniform(bits)
    except DamagedStreamError:
        return
    assert symbols.dtype == np.int32
    assert symbols.shape == indexes.shape
    assert 0 <= value < 1 << bits


def test_damage_is_sometimes_seen_by_the_coder_itself():
    """The test above would pass if the error could never happen."""
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(200):
        try:
            SymbolDecoder(rng.bytes(40)).decode(np.arange(64).repeat(2), gaussian_tables())
        except DamagedStreamError:
            seen += 1
    assert 0 < seen < 200


def test_streams_of_nothing_but_escapes_stay_bounded():
    tables = Tables([np.array([1, 65535])], np.array([0]))
    indexes = np.zeros(50_000, dtype=np.int64)
    tables.model(0)
    for data in (b"", b"\xff" * 64, b"\x7f" * 1000):
        tracemalloc.start()
        try:
            SymbolDecoder(data).decode(indexes, tables)
        except DamagedStreamError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 200 * len(indexes)


@pytest.mark.parametrize(
    ("symbols", "indexes"),
    [
        (np.zeros(3, int), np.zeros(4, int)),
        (np.zeros(3), np.zeros(3, int)),
        (np.array([2**31]), np.zeros(1, int)),
        (np.zeros(1, int), np.array([64])),
        (np.zeros(1, int), np.array([-1])),
        (np.zeros(1, int), np.array([0.0])),
    ],
)
def test_wrong_arguments_are_usage_errors(symbols, indexes):
    with pytest.raises(UsageError):
        SymbolEncoder().encode(symbols, indexes, gaussian_tables())
    with pytest.raises(UsageError):
        gaussian_tables().bits(symbols, indexes)


@pytest.mark.parametrize(("value", "bits"), [(-1, 4), (16, 4), (1, 0), (0, 17), (0, -1)])
def test_wrong_uniform_arguments_are_usage_errors(value, bits):
    with pytest.raises(UsageError):
        SymbolEncoder().encode_uniform(value, bits)


def test_decoding_with_indexes_outside_the_tables_is_a_usage_error():
    with pytest.raises(UsageError, match="0 to 63"):
        SymbolDecoder(b"").decode(np.array([64]), gaussian_tables())
    with pytest.raises(UsageError, match="17"):
        SymbolDecoder(b"").decode_uniform(17)


def test_no_torch_is_needed():
    code = "import sys, taskodec.stream.bitstream, taskodec.stream.entropy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


GOLDEN = (
    "abcfff2f53e4a19a028f6af2f3723bc8d4f91a6d77bfc051020a63685f470c23ff533b142e5db8d5b8a9fad117b5fad2c971"
    "aea1de4144759c6d25056f7858aaa311a0d76948dfac6b9d6d87f31bc1223ed9566254037190d17952b181f2ad393b324cbf"
    "9de8b94a42a06bfe2bc0e0f378188b60fe6f87feb9d8e68be530069682cc227fc772d6bf2daf323933e7b39c2e94ef90e17e"
    "aacaf849c3ea37ba3f"
)
GOLDEN_CHECKSUM = 997
