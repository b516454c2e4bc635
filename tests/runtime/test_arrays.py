import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from taskodec.runtime.arrays import MAX_ARRAY, pack_arrays, unpack_arrays
from taskodec.stream.tables import TOTAL, Tables

TABLES = Tables([np.array([TOTAL - 2, 1, 1]), np.array([TOTAL - 1, 1])], np.array([-1, 5]))
ARRAYS = {"medians": np.array([0.5, 1.5], np.float32), "z_stride": np.array(64), "log_gain": np.zeros((2, 3))}


def npz(**contents):
    """A file of these members, as they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(f"{name.replace('__', '/')}.npy", data)
    return out.getvalue()


def npy(array, version=(1, 0)):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), version)
    return buffer.getvalue()


def head(shape, dtype="<f4", data=b"\0" * 8):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def test_what_was_packed_is_unpacked():
    tables, found = unpack_arrays(pack_arrays({"z": TABLES}, ARRAYS))
    assert list(tables) == ["z"]
    assert [row.tolist() for row in tables["z"].rows] == [row.tolist() for row in TABLES.rows]
    assert tables["z"].offsets.tolist() == [-1, 5]
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_orders_of_bytes_and_of_sides_are_read():
    gains = np.asfortranarray(np.arange(6).reshape(2, 3).astype(">f4"))
    found = unpack_arrays(npz(log_gain=npy(gains, (2, 0))))[1]["log_gain"]
    np.testing.assert_array_equal(found, gains)
    assert found.dtype == np.float32


@given(
    arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)), st.sampled_from(list(ARRAYS))
)
def test_any_array_is_taken_or_a_value_error(array, name):
    try:
        found = unpack_arrays(npz(**{name: npy(array)}))[1][name]
    except ValueError:
        return
    assert found.ndim == ARRAYS[name].ndim
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"medians": head("(800000000,)")}, "not of shape"),
        ({"medians": head("(-1,)")}, r"shape \(-1,\)"),
        ({"medians": head("()")}, "expected real numbers with 1 sides"),
        ({"medians": head("(2,)", "|O")}, "medians is object"),
        ({"medians": head("(2,)", "<c8")}, "medians is complex64"),
        ({"medians": npy(np.array([0.0, np.nan]))}, "medians has values that are not from"),
        ({"medians": npy(np.ones(2), (3, 0))}, r"version \(3, 0\)"),
        ({"medians": npy(np.zeros(MAX_ARRAY // 8))}, "medians has .* bytes, valid: up to"),
        ({"z_stride": npy(np.array(0))}, "z_stride has values that are not from 1 to 1024"),
        ({"z_stride": npy(np.array(2**20))}, "z_stride has values"),
        ({"y_exponents": npy(np.array([2**30]))}, "y_exponents has values that are not from -1000"),
        ({"log_gain": npy(np.array([[1e5]]))}, "log_gain has values that are not from -100"),
        ({"bias_unit": npy(np.zeros(2))}, "bias_unit has values"),
        ({"tables__z__lengths": npy(np.array([2, 3])), "tables__z__counts": npy(np.array([1, 2])),
          "tables__z__offsets": npy(np.array([0, 0]))}, "its tables have 5 entries, found 2"),
        ({"tables__z__lengths": npy(np.array([2])), "tables__z__counts": npy(np.array([1, 2])),
          "tables__z__offsets": npy(np.array([2**31]))}, "offsets has values"),
    ],
)  # fmt: skip
def test_what_is_refused(contents, words):
    with pytest.raises(ValueError, match=words):
        unpack_arrays(npz(**contents))


def test_arrays_that_no_recipe_knows_are_not_looked_at():
    assert unpack_arrays(npz(medians=npy(np.ones(2)), other=head("(800000000,)", "|O"), x=b"nothing"))[1].keys() == {
        "medians"
    }


def test_pickles_are_never_read():
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="medians is object"):
        unpack_arrays(npz(medians=pickled.getvalue()))
