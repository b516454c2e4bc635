import importlib.util
import math
from pathlib import Path
from types import ModuleType

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskodec.errors import UsageError
from taskodec.stream.tables import SCALES, TOTAL, Tables, escape_table, gaussian_tables


def load_script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "make_gaussian_tables.py"
    spec = importlib.util.spec_from_file_location("make_gaussian_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scales_are_the_64_of_compressai():
    assert len(SCALES) == 64
    assert SCALES[0] == pytest.approx(0.11)
    assert SCALES[-1] == pytest.approx(256)


def test_shipped_gaussian_tables_are_what_the_script_makes():
    made, shipped = load_script().make_tables(), gaussian_tables()
    np.testing.assert_array_equal(made.offsets, shipped.offsets)
    for a, b in zip(made.rows, shipped.rows, strict=True):
        np.testing.assert_array_equal(a, b)
    assert shipped.fingerprint.hex() == "7a912c6c573810b3"  # other tables make all existing streams undecodable


@pytest.mark.parametrize("row", [0, 20, 40, 63])
def test_gaussian_rows_are_close_to_the_gaussian(row):
    tables = gaussian_tables()
    counts, scale = tables.rows[row], SCALES[row]
    for entry in range(len(counts) - 1):
        value = entry + int(tables.offsets[row])
        exact = 0.5 * math.erfc((value - 0.5) / scale / math.sqrt(2)) - 0.5 * math.erfc(
            (value + 0.5) / scale / math.sqrt(2)
        )
        assert abs(counts[entry] - exact * TOTAL) < 2 + 0.02 * exact * TOTAL


def test_gaussian_rows_cover_all_but_the_tail():
    tables = gaussian_tables()
    reach = [-int(o) for o in tables.offsets]
    assert [len(row) for row in tables.rows] == [2 * r + 2 for r in reach]
    assert reach == sorted(reach)
    assert reach[0] == 1
    for r, scale in zip(reach[10:], SCALES[10:], strict=True):
        assert math.erfc((r + 0.5) / scale / math.sqrt(2)) <= 2**-17


def test_models_of_the_coder_are_exact():
    """What constriction makes of a row, read from the coder's state, is an integer formula of its counts."""
    for row in (0, 15, 30, 45):
        counts = [int(c) for c in gaussian_tables().rows[row]]
        free = 2**24 - len(counts)
        left = [free * sum(counts[:i]) // TOTAL + i for i in range(len(counts))] + [2**24]
        unit = (2**64 - 1) >> 24
        for entry in range(len(counts)):
            coder = constriction.stream.queue.RangeEncoder()
            coder.encode(np.array([entry], dtype=np.int32), gaussian_tables().model(row))
            _, (lower, width) = coder.pos()
            assert (lower, width) == (unit * left[entry], unit * (left[entry + 1] - left[entry]))


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(probabilities, st.floats(0, 1))
def test_rows_of_pmfs_are_complete_and_near_the_pmf(raw, missing):
    pmf = np.array(raw) / (sum(raw) or 1) * (1 - missing)
    tables = Tables.from_pmfs([pmf], np.array([-3]))
    (counts,) = tables.rows
    assert len(counts) == len(pmf) + 1
    assert counts.min() >= 1
    assert counts.sum() == TOTAL
    weights = np.append(pmf, max(0.0, 1 - pmf.sum()))
    # at most one count goes to each small entry, the others share that loss and are rounded
    assert (counts <= np.maximum(weights * TOTAL, 1) + 1 + 1e-6).all()
    assert (counts >= weights * (TOTAL - len(counts)) - 1 - 1e-6).all()


def test_rounding_is_by_largest_remainder():
    pmf = np.array([2.75, 1.5, 1.25, TOTAL - 6.5]) / TOTAL  # and 1 count of escape
    assert Tables.from_pmfs([pmf], np.zeros(1)).rows[0].tolist() == [3, 2, 1, TOTAL - 7, 1]


def test_many_improbable_entries_get_one_count_each():
    pmf = np.zeros(5000)
    pmf[7] = 1
    counts = Tables.from_pmfs([pmf], np.zeros(1)).rows[0]
    assert counts[7] == TOTAL - 5000
    assert np.delete(counts, 7).tolist() == [1] * 5000


@pytest.mark.parametrize("pmf", [[], [math.nan], [-0.1, 0.5], [1.5], [[0.5]], [math.inf]])
def test_what_is_no_pmf_is_refused(pmf):
    with pytest.raises(UsageError, match="row 0"):
        Tables.from_pmfs([np.array(pmf, dtype=float)], np.zeros(1))


@pytest.mark.parametrize(
    ("rows", "offsets"),
    [
        ([], []),
        ([[TOTAL - 1, 1]], [0, 0]),
        ([[TOTAL]], [0]),
        ([[TOTAL, 0]], [0]),
        ([[5, 5]], [0]),
        ([[TOTAL - 1, 1]], [2**31]),
    ],
)
def test_tables_that_cannot_be_coded_with_are_refused(rows, offsets):
    with pytest.raises(UsageError, match="table"):
        Tables([np.array(row) for row in rows], np.array(offsets))


def test_bits_by_hand():
    tables = Tables([np.array([2**15, 2**14, 2**14])], np.array([-1]))  # -1: 1 bit, 0: 2 bits, escape: 2 bits
    zero = np.zeros(1, dtype=int)
    assert tables.bits(np.array([-1]), zero) == 1
    assert tables.bits(np.array([0]), zero) == 2
    assert tables.bits(np.array([1]), zero) == pytest.approx(2 + 2, abs=0.01)  # first value above: 1 + side
    assert tables.bits(np.array([-2]), zero) == pytest.approx(2 + 2, abs=0.01)
    assert tables.bits(np.array([4]), zero) == pytest.approx(2 + 4 + 2, abs=0.01)  # fourth value: 3 + side + 2 bits
    assert tables.bits(np.zeros((0, 3), dtype=int), np.zeros((0, 3), dtype=int)) == 0


def test_escape_table_has_33_lengths_on_two_sides():
    assert len(escape_table().rows[0]) == 2 * 33 + 1


def test_fingerprint_sees_counts_and_offsets():
    base = Tables([np.array([TOTAL - 2, 2])], np.array([0]))
    assert base.fingerprint == Tables([np.array([TOTAL - 2, 2], dtype=np.uint16)], np.array([0])).fingerprint
    assert base.fingerprint != Tables([np.array([TOTAL - 3, 3])], np.array([0])).fingerprint
    assert base.fingerprint != Tables([np.array([TOTAL - 2, 2])], np.array([1])).fingerprint
