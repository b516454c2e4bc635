import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.files.json_text import MAX_DEPTH, parse_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_json_is_read_as_it_was_written(value):
    for data in (json.dumps(value), json.dumps(value).encode(), b"\xef\xbb\xbf" + json.dumps(value).encode()):
        assert parse_json(data) == value


@given(st.binary(max_size=50) | st.text(alphabet='[]{}:,"0eE-.NaInfty tru\\u', max_size=50).map(str.encode))
def test_any_bytes_are_a_value_or_a_value_error(data):
    try:
        parse_json(data)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "'a' comes twice"),
        (b"[NaN]", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b"[" * 100_000, "too deeply"),
        (b'{"a":' * 100_000, "too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "more than 32 deep"),
        (b"9" * 5000, "5000 digits"),
        ("[1]".encode("utf-16"), "codec can't decode"),
        (b"\x00", "Expecting value"),
        (b"", "Expecting value"),
        (b"[1] [2]", "Extra data"),
    ],
)
def test_what_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        parse_json(data)


def test_what_may_be_asked_for():
    assert parse_json(b"[Infinity]", constants=True) == [float("inf")]
    deep = b"[" * 200 + b"]" * 200
    assert parse_json(deep, depth=None)
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
