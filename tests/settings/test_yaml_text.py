import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskodec.errors import SettingsError
from taskodec.settings.yaml_text import MAX_BYTES, MAX_DEPTH, MAX_NODES, dump_yaml, parse_yaml

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(-9, 9), inner, max_size=4),
    max_leaves=20,
)
TOKENS = (
    "a",
    ": ",
    "- ",
    "\n",
    "  ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a",
    "!!int ",
    "!!",
    "'",
    '"',
    "|\n",
    "? ",
    "#",
    "<<",
)


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def keys_that_read_alike(value):
    if isinstance(value, list):
        return any(map(keys_that_read_alike, value))
    if not isinstance(value, dict):
        return False
    numbers = []
    for key in value:
        try:
            numbers.append(float(key))
        except ValueError:
            continue
    return len(set(numbers)) < len(numbers) or any(map(keys_that_read_alike, value.values()))


@given(PLAIN)
@example(
    {
        "a": [1, {"b": 2.5}],
        "c": "yes",
        "d": "1:30",
        "e": "2020-01-01",
        "f": "010",
        "g": "<<",
        "h": "0e0",
        "i": "089",
        "j": "0o1",
    }
)
def test_what_was_written_is_read(value):
    text = dump_yaml(value)
    if keys_that_read_alike(value):
        with pytest.raises(SettingsError, match="appears twice"):
            parse_yaml(text, "x")
    else:
        assert same(parse_yaml(text, "x"), value)


@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join) | st.text(max_size=40))
@example("a: &a [*a]")
@example("!!int")
@example("? - a\n: b")
def test_any_text_is_a_value_or_a_settings_error(text):
    try:
        parse_yaml(text, "x")
    except SettingsError as error:
        message = str(error)
    else:
        return
    assert message.startswith("x is not valid YAML")
    assert len(message.splitlines()) == 1


BOMB = "a: &a [x, x]\n" + "".join(
    f"{n}: &{n} [*{b}, *{b}]\n" for b, n in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
)
DEEP_BY_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, f"more than {MAX_NODES} values"),
        (DEEP_BY_ALIASES, f"nested more than {MAX_DEPTH} deep"),
        ("[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        ("- " * 30_000, f"nested more than {MAX_DEPTH} deep"),
        ("{a: " * 50_000, f"nested more than {MAX_DEPTH} deep"),
        ("[" + "1," * MAX_NODES + "]", f"more than {MAX_NODES} values"),
        ("x" * (MAX_BYTES + 1), f"more than {MAX_BYTES} characters"),
        ("a: &a [*a]", r"\*a is part of itself"),
        ("&a {*a : 1}", r"\*a is part of itself"),
        ("a: *nope", "undefined alias"),
        ("a: !!int ''", "line 1, column 4: '' is no whole number"),
        ("a: !!int x", "'x' is no whole number"),
        ("a: !!int [1]", "tag .*int.* is none that settings have"),
        ("a: !!float ._", r"'\._' is no number"),
        ("a: !!bool x", "'x' is neither true nor false"),
        ("a: !!null x", "'x' is not null"),
        ("a: !!python/object/apply:os.system [ls]", "tag .*os.system.* is none that settings have"),
        ("a: !!binary aGk=", "tag .*binary"),
        ("a: !!set {x}", "tag .*set"),
        ("a: !!timestamp 2020-01-01", "tag .*timestamp"),
        ("a: 1e9999", "'1e9999' is too large"),
        ("a: -1e-9999", "'-1e-9999' is too small"),
        ("a: " + "9" * 5000, "too large"),
        ("a: 18446744073709551616", "too large"),
        ("a: 010", "octal or decimal"),
        ("b: {<<: {a: 1}}", "merge keys"),
        ("1: a\n1.0: b", "key 1.0 appears twice"),
        ("'1': a\n1: b", "key 1 appears twice"),
        ("yes: a", "a key is neither text nor a number"),
        (".nan: a", "a key is neither text nor a number"),
        ("null: a", "a key is neither text nor a number"),
        ("? [a]\n: b", "a key is neither text nor a number"),
        ("a: 1\n---\nb: 2", "single document"),
        ("\ta: 1", "cannot start any token"),
        ("a: \0", "unacceptable character"),
        ('a: "\\ud800"', "half a character"),
        ("%YAML 3.0\n---\na: 1", "incompatible"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(SettingsError, match=words):
        parse_yaml(text, "mine.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e-3", 1e-3),
        ("-.5", -0.5),
        ("+1.", 1.0),
        ("yes", True),
        ("Off", False),
        ("'yes'", "yes"),
        ("~", None),
        ("", None),
        ("\ufeff1", 1),
        ("!!str 1", "1"),
        ("!!float 3", 3.0),
        ("0x", "0x"),
        ("1e5_0", "1e5_0"),
        ("٣", "٣"),
        ("[&a x, *a, *a]", ["x", "x", "x"]),
    ],
)
def test_what_words_and_numbers_mean(text, value):
    found = parse_yaml(text, "x")
    assert found == value
    assert type(found) is type(value)
