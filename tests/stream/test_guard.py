import numpy as np
import pytest

from taskodec.errors import DamagedStreamError
from taskodec.stream import guard
from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, gaussian_tables
from taskodec.stream.guard import Guard, read_guard, write_guard

BOUNDS = SCALES[:-1]


def spread_scales(shape=(1, 32, 48, 32), seed=0):
    """About what a trained hyperprior gives for a picture: log-uniform, a third of it below all tables."""
    draws = np.random.default_rng(seed).uniform(np.log(0.03), np.log(12), shape)
    return np.exp(draws)


def rows_of(scales):
    return np.searchsorted(BOUNDS, scales)


def coded(scales, tolerance):
    writer = SymbolEncoder()
    own = write_guard(scales, tolerance, writer)
    return own, writer


def off_by(scales, most, seed=1):
    return scales + most * np.random.default_rng(seed).choice([-1, 1], scales.shape)


@pytest.mark.parametrize("eps", [1e-9, 1e-5, 1e-4, 1e-3, 0.02])
def test_scales_off_by_less_than_the_tolerance_get_the_encoders_tables(eps):
    scales = spread_scales((1, 16, 24, 16))
    own, writer = coded(scales, eps * scales)
    reader = SymbolDecoder(writer.getvalue())
    other = read_guard(scales.shape, reader)
    assert reader.checksum == writer.checksum
    np.testing.assert_array_equal(other.bounds, own.bounds)
    np.testing.assert_array_equal(other.sides, own.sides)
    for seed in range(5):
        theirs = off_by(scales, 0.9 * eps * scales, seed)
        np.testing.assert_array_equal(other.indexes(theirs), own.indexes(scales))
    if eps >= 1e-4:  # without the guard it would not
        assert (rows_of(off_by(scales, 0.9 * eps * scales)) != rows_of(scales)).any()


def test_without_doubt_the_tables_are_those_of_the_scales():
    scales = np.array([-1.0, 0.0, 1e-9, 0.05, 0.5, 3.0, 300.0, 1e6, np.inf])
    own, writer = coded(scales, 1e-4 * np.abs(np.minimum(scales, 1e6)))
    np.testing.assert_array_equal(own.indexes(scales), rows_of(scales))
    assert own.indexes(scales).max() == len(gaussian_tables().rows) - 1
    assert writer.bits < 0.1


@pytest.mark.parametrize("wild", [np.nan, np.inf])
def test_wild_scales_and_tolerances_end_in_a_guard_all_the_same(wild):
    scales, tolerance = np.full((2, 3), 1.0), np.full((2, 3), 1e-4)
    scales[0, 0] = tolerance[1, 1] = wild
    own, writer = coded(scales, tolerance)
    assert read_guard((2, 3), SymbolDecoder(writer.getvalue())).indexes(scales).shape == (2, 3)
    assert own.indexes(scales).max() <= 63


def test_a_table_moves_by_a_hair_only():
    scales = spread_scales()
    own, _ = coded(scales, 1e-4 * scales)
    assert (own.bounds / BOUNDS).min() >= 1
    assert (own.bounds / BOUNDS).max() < 1.004
    moved = own.indexes(scales) != rows_of(scales)
    assert 0 < moved.mean() < 0.03
    assert np.abs(own.indexes(scales) - rows_of(scales)).max() == 1


def test_scales_clamped_to_a_bound_cost_no_list():
    """Codecs may clamp all small scales to exactly that of the first table."""
    own, writer = coded(np.maximum(spread_scales(), SCALES[0]), np.full((1, 32, 48, 32), 1e-9))
    assert (own.sides == -1).all()
    assert writer.bits < 30


def test_one_bound_that_all_scales_crowd_around_still_works():
    scales = BOUNDS[20] * np.linspace(0.999, 1.006, 5000)
    own, writer = coded(scales, 1e-4 * scales)
    assert (own.sides >= 0).sum() > 50
    other = read_guard(scales.shape, SymbolDecoder(writer.getvalue()))
    np.testing.assert_array_equal(other.indexes(off_by(scales, 0.9e-4 * scales)), own.indexes(scales))


# the largest number of bytes for 49,152 scales
@pytest.mark.parametrize(("eps", "most"), [(1e-9, 0.01), (1e-5, 12), (1e-4, 40), (1e-3, 600)])
def test_cost_is_bounded(eps, most):
    scales = spread_scales()
    _, writer = coded(scales, eps * scales)
    assert writer.bits / 8 < most


def test_a_part_of_the_scales_has_its_part_of_the_guard():
    scales = spread_scales((1, 16, 8, 8))
    own, _ = coded(scales, 0.01 * scales)
    assert (own.sides >= 0).any()
    part = (slice(None), slice(None), slice(3, 4), slice(5, 6))
    np.testing.assert_array_equal(own.indexes(scales[part], own.sides[part]), own.indexes(scales)[part])


def hostile(offsets=(), count=0, gaps=(), low=(), mode=1, size=1000):
    """A guard that no encoder writes."""
    writer = SymbolEncoder()
    guard._write_symbols(np.array([mode]), 0, guard._mode_table(), writer)
    guard._write_symbols(np.array([*offsets, *[0] * (63 - len(offsets))]), 0, guard._offset_tables(), writer)
    guard._write_symbols(np.array([count]), 0, guard._count_tables(), writer)
    guard._write_symbols(np.array(gaps, dtype=int), 1, guard._count_tables(), writer)
    writer.encode_bits(np.array(low, dtype=int), guard._low_bits(size, count))
    return SymbolDecoder(writer.getvalue())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"mode": 5}, "value from 5 to 5, valid: 0 to 4"),
        ({"mode": -1}, "value from -1"),
        ({"offsets": [0, 16]}, "0 to 16, valid: 0 to 15"),
        ({"offsets": [-3]}, "from -3"),
        ({"count": 1001}, "1001, valid: 0 to 1000"),
        ({"count": -1}, "from -1"),
        ({"count": 2**31 - 1}, "valid: 0 to 1000"),
        ({"count": 2, "gaps": [0, 2**31 - 1], "low": [0, 0]}, "valid: 0 to 3"),
        ({"count": 2, "gaps": [0, -1], "low": [0, 0]}, "from -1"),
        ({"count": 2, "gaps": [2, 2], "low": [0, 0]}, "lists scale 1025 of 1000"),
    ],
)
def test_a_guard_that_no_encoder_writes_is_refused(parts, message):
    with pytest.raises(DamagedStreamError, match=message):
        read_guard((10, 100), hostile(**parts))


def test_any_bytes_are_a_guard_or_damaged():
    draws = np.random.default_rng(0)
    ends = {"fine": 0, "damaged": 0}
    for _ in range(300):
        # the first byte chooses a mode that is not 0
        reader = SymbolDecoder(bytes([draws.integers(246, 256)]) + draws.bytes(draws.integers(0, 60)))
        try:
            found = read_guard((40, 50), reader)
        except DamagedStreamError:
            ends["damaged"] += 1
        else:
            ends["fine"] += 1
            assert (np.diff(found.bounds) > 0).all()
            assert set(np.unique(found.sides)) <= {-1, 0, 1}
            assert found.indexes(spread_scales((40, 50))).max() <= 63
    assert min(ends.values()) > 10


def test_tables_are_part_of_the_format():
    found = [
        tables.fingerprint.hex() for tables in (guard._mode_table(), guard._offset_tables(), guard._count_tables())
    ]
    assert found == ["9348e5b4e1dfacde", "5831552bf95e4620", "2e61db1640af0bb6"]


def test_a_guard_without_doubt_is_empty():
    empty = Guard(BOUNDS, np.full((2, 2), -1, dtype=np.int8))
    found = read_guard((2, 2), SymbolDecoder(b""))
    np.testing.assert_array_equal(found.bounds, empty.bounds)
    np.testing.assert_array_equal(found.sides, empty.sides)
