import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.console.terminal import about, escaped, guarded, indented, raw, shown

HOSTILE = "a\x1b[31mb\rc\nd\x9be\u202ef\ud800"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    for keep in (False, True):
        left = escaped(text, keep_lines=keep)
        allowed = {"\n", "\t"} if keep else set()
        assert not [c for c in left if unicodedata.category(c) in ("Cc", "Cs") and c not in allowed]
        assert escaped(left, keep_lines=keep) == left


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_letters_of_all_languages_stay_as_they_are(text):
    assert escaped(text) == text


def test_escapes_are_pythons():
    assert escaped(HOSTILE) == r"a\x1b[31mb\rc\nd\x9be\u202ef\ud800"
    assert escaped(HOSTILE, keep_lines=True) == "a\\x1b[31mb\\rc\nd\\x9be\\u202ef\\ud800"


def test_streams_are_guarded_and_given_back(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with guarded():
        print(HOSTILE)
        print("\rdrawn over", file=sys.stderr, end="")
        sys.stderr.writelines(["\x1b", "x\n"])
        assert not sys.stdout.isatty()
        raw(sys.stdout).write("\x1b[0m")
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"x")
    assert (sys.stdout, sys.stderr) == (out, err)
    assert out.getvalue() == escaped(HOSTILE, keep_lines=True) + "\n\x1b[0m"
    assert err.getvalue() == "\rdrawn over\\x1bx\n"


def test_no_line_of_an_error_begins_an_error():
    assert indented("one\nerror: two") == "one\n  error: two"


def test_streams_are_given_back_after_an_error():
    before = sys.stdout
    with pytest.raises(RuntimeError), guarded(), guarded():
        raise RuntimeError
    assert sys.stdout is before


VALUES = {
    "number": 10**5000,
    "text": "x" * 10**5,
    "lists": [[[[[[1]]]]]] * 99,
    "names": dict.fromkeys(range(999), "y" * 99),
    "bytes": b"\x1b" * 999,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_is_shown_on_one_short_line(value):
    text = shown(value)
    assert len(text) <= 200
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_values_of_any_depth_are_shown():
    deep = []
    for _ in range(10**5):
        deep = [deep]
    assert shown(deep).startswith("[[[")
    while deep:  # which Python would free by recursion
        deep = deep.pop()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cannot open a.png: No such file", "cannot open a.png: No such file"),
        ("a.png is not an image", "a.png is not an image"),
        ("the CRC32 does not fit", "a.png: the CRC32 does not fit"),
        ("other-a.png is not an image", "a.png: other-a.png is not an image"),
    ],
)
def test_a_source_is_named_once(text, said):
    assert about("a.png", text) == said
