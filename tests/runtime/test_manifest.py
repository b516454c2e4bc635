import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.runtime.manifest import Manifest, parse_manifest

VALID = {
    "codec": "lite",
    "codec_fingerprint": "4bc49ef7",
    "recipe": "integer-checkerboard",
    "stride": 64,
    "qualities": [1.0, 2.5],
    "continuous": True,
    "licence": "BSD-3-Clause",
    "tiling": {"align": 128, "margin": 128},
    "adapter": "svd-lora",
    "adapter_fingerprint": "2463cf5e",
    "groups": [2, 3],
    "encode_with": {"guard": "portable"},
    "encoder": {"margin": 256, "adapter": True, "metadata": {}},
    "precision": "float32",
    "opset": 20,
    "versions": {"torch": "2.6"},
    "files": {"hyper.onnx": {"bytes": 5, "sha256": "0" * 64}},
}
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([2**31, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*VALID, "align", "margin", "x"]), inner)
    ),
    max_leaves=8,
)


def test_a_manifest_is_read_as_it_was_written():
    found = parse_manifest(VALID)
    assert found == Manifest(**VALID)
    assert found.padded(1, 65) == (64, 128)
    assert [found.has_quality(quality) for quality in (1, 2, 3)] == [True, True, False]
    needed = {name: VALID[name] for name in list(VALID)[:7]}
    assert parse_manifest(needed) == Manifest(**needed)


def outcome(values):
    """The manifest, and the error if there is one."""
    try:
        return parse_manifest(values), None
    except ValueError as error:
        return None, str(error)


@given(st.sampled_from(list(VALID)), ANY)
def test_any_value_of_a_field_is_taken_or_a_value_error(name, value):
    values = {**copy.deepcopy(VALID), name: value}
    found, error = outcome(values)
    if error is not None:
        assert len(error.splitlines()) == 1
        return
    assert 1 <= found.stride <= 1024
    assert sum(found.groups) <= 2**20
    assert all(math.isfinite(quality) for quality in found.qualities)
    assert found.padded(100, 100)[0] >= 100
    json.dumps(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stride": 0}, "its stride is 0, expected a whole number from 1 to 1024"),
        ({"stride": "64"}, "its stride is '64'"),
        ({"stride": True}, "its stride is True"),
        ({"groups": [2**31]}, r"its groups is \[2147483648\], expected a list of whole numbers"),
        ({"groups": [2**19] * 3}, "1048576 in all at most"),
        ({"groups": [0]}, "groups"),
        ({"qualities": []}, "qualities is"),
        ({"qualities": [2, 1]}, "ascending numbers from 0 to 256"),
        ({"qualities": [1, float("nan")]}, "ascending"),
        ({"codec": "\x1b[31m"}, r"its codec is '\\x1b\[31m', expected a codec's name"),
        ({"codec_fingerprint": "xyz"}, "8 hexadecimal digits"),
        ({"tiling": {"align": 0, "margin": 1}}, "tiling"),
        ({"tiling": {"align": 96, "margin": 1}}, "aligned to 96, no multiple of the stride 64"),
        ({"encoder": {"margin": None, "adapter": True, "metadata": {}}}, "no margin for tiles"),
        ({"encoder": {}}, "null, or margin, adapter and metadata"),
        ({"adapter_fingerprint": None}, "no adapter_fingerprint"),
        ({"files": {"x": {"bytes": -1, "sha256": "0" * 64}}}, "bytes, up to"),
        ({"files": {"x": {"bytes": 1, "sha256": "0"}}}, "sha256 of each file"),
        ({"strides": 64}, r"it has \['strides'\], which no manifest has"),
    ],
)
def test_what_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        parse_manifest({**VALID, **change})


def test_what_is_missing_is_named():
    for name in list(VALID)[:7]:
        with pytest.raises(ValueError, match=f"it has no '{name}'"):
            parse_manifest({key: value for key, value in VALID.items() if key != name})
