"""YAML as configurations need it: text, numbers, true and false, lists, and keys with values; small, and all of it.

What YAML can do beyond that is refused by name rather than turned into something that was not meant: tags for types of
Python's, of dates and of bytes, merge keys, values that contain themselves, more than one document. A short text can
stand for gigabytes by way of aliases, so what counts is how much it is once they are all written out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from taskodec.console.terminal import shown
from taskodec.errors import SettingsError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "dump_yaml", "parse_yaml"]

MAX_BYTES = 2**18
"""Of a file; the largest that comes with taskodec has 3 thousand."""

MAX_NODES, MAX_DEPTH = 10_000, 32
"""Values and keys, with aliases written out, and how many lists and mappings may be within each other."""

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0o_*[0-7][0-7_]*|0b_*[01][01_]*)")
LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
DECIMAL = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NOTHING = {"", "~", "null", "Null", "NULL"}

LARGEST = 2**64
"""Seeds have 64 bits; no number that can be set is larger."""

PREFIX = "tag:yaml.org,2002:"


class _Wrong(Exception):
    """What is wrong with a node."""


class _Composer(yaml.SafeLoader):
    """Nodes, counted and measured as if every alias were written out."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012, PyYAML's own way

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.count = self.depth = self.deepest = 0
        self.known: dict[int, tuple[int, int]] = {}
        """Of each node that is finished: how many it is, and how deep."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, super().compose_node(parent, index))
        before, outer = self.count, self.deepest
        self.depth += 1
        self.deepest = self.depth
        self._add(1, event)
        node = super().compose_node(parent, index)
        self.known[id(node)] = (self.count - before, self.deepest - self.depth + 1)
        self.depth -= 1
        self.deepest = max(outer, self.deepest)
        return node

    def _alias(self, event: Any, node: Any) -> Any:
        if id(node) not in self.known:
            raise yaml.composer.ComposerError(None, None, f"*{event.anchor} is part of itself", event.start_mark)
        count, height = self.known[id(node)]
        self.deepest = max(self.deepest, self.depth + height)
        self._add(count, event)
        return node

    def _add(self, count: int, event: Any) -> None:
        self.count += count
        if self.count > MAX_NODES or self.deepest > MAX_DEPTH:
            limits = f"more than {MAX_NODES} values, aliases written out, or nested more than {MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, f"it has {limits}", event.start_mark)


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML text; SettingsError with the place of the mistake.

    Words are as in YAML 1.1 (`yes` and `on` are true), numbers as in 1.2: `1e-3` is one, `1:30` is text, as are dates.
    """
    if len(text) > MAX_BYTES:
        raise SettingsError(f"{origin} is not valid YAML for settings: more than {MAX_BYTES} characters")
    try:
        loader = _Composer(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return None if node is None else _value(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{origin} is not valid YAML{_reason(error)[:500]}") from error


def dump_yaml(value: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _reason(error: Exception) -> str:
    """Where it is wrong, if that is known, and what is."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    parts = (getattr(error, "context", None), getattr(error, "problem", None) or str(error))
    return f"{where}: {' '.join(', '.join(filter(None, parts)).split())}"


def _value(node: yaml.Node) -> Any:
    """The value of a node; yaml.MarkedYAMLError says where something is wrong, and what."""
    kind = node.tag.removeprefix(PREFIX)
    try:
        if kind in _SCALARS and isinstance(node, yaml.ScalarNode):
            return _SCALARS[kind](node.value)
        if kind == "seq" and isinstance(node, yaml.SequenceNode):
            return [_value(item) for item in node.value]
        if kind == "map" and isinstance(node, yaml.MappingNode):
            return _mapping(node)
        raise _Wrong(f"the tag {node.tag[:80]!r} is none that settings have here; write the value without it")
    except _Wrong as error:
        raise yaml.MarkedYAMLError(None, None, str(error), node.start_mark) from None


def _mapping(node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    seen = set()
    for key_node, value_node in node.value:
        key = _key(key_node)
        same = _number(key)
        if same in seen:
            raise yaml.MarkedYAMLError(None, None, f"key {shown(key)} appears twice", key_node.start_mark)
        seen.add(same)
        found[key] = _value(value_node)
    return found


def _key(node: yaml.Node) -> Any:
    key = _value(node) if isinstance(node, yaml.ScalarNode) else node
    if isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.style is None:
        raise yaml.MarkedYAMLError(
            None, None, "merge keys (<<) are not taken; write the keys themselves", node.start_mark
        )
    if isinstance(key, bool) or not isinstance(key, str | int | float) or not _is_finite(key):
        raise yaml.MarkedYAMLError(
            None, None, "a key is neither text nor a number; put it in quotes if it is text", node.start_mark
        )
    return key


def _is_finite(key: str | float) -> bool:
    return isinstance(key, str) or math.isfinite(key)


def _number(key: Any) -> Any:
    """Keys that read alike, such as 1 and 1.0, as one."""
    try:
        return float(key) if math.isfinite(float(key)) else key
    except (ValueError, OverflowError):
        return key


def _text(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _Wrong(f"{shown(text)} holds half a character, which no file or stream can")
    return text


def _whole(text: str) -> int:
    if LEADING_ZERO.fullmatch(text):
        raise _Wrong(f"{text[:40]!r} could be octal or decimal: write it without the zero, or 0o…, or in quotes")
    if not WHOLE.fullmatch(text):
        raise _Wrong(f"{text[:40]!r} is no whole number")
    value = int(text.replace("_", ""), 0) if len(text) <= 128 else LARGEST
    if not -LARGEST <= value < LARGEST:
        raise _Wrong(f"{text[:40]!r} is too large a number")
    return value


def _decimal(text: str) -> float:
    if NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    if not DECIMAL.fullmatch(text):
        raise _Wrong(f"{text[:40]!r} is no number")
    value = float(text.replace("_", ""))
    digits = re.split("[eE]", text)[0]
    if math.isinf(value) or (value == 0 and any(letter in "123456789" for letter in digits)):
        raise _Wrong(f"{text[:40]!r} is too {'large' if value else 'small'} a number")
    return value


def _truth(text: str) -> bool:
    if text.lower() not in TRUTHS:
        raise _Wrong(f"{text[:40]!r} is neither true nor false")
    return TRUTHS[text.lower()]


def _nothing(text: str) -> None:
    if text not in NOTHING:
        raise _Wrong(f"{text[:40]!r} is not null")


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "str": _text,
    "int": _whole,
    "float": _decimal,
    "bool": _truth,
    "null": _nothing,
}


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that is something else here, or anywhere else where YAML is read."""


def _resolve(kind: str, pattern: str, first: str) -> None:
    """Plain scalars of this form are of this kind; what is added first is tried first."""
    for each in (_Composer, _Dumper):
        each.add_implicit_resolver(PREFIX + kind, re.compile(rf"(?:{pattern})\Z"), list(first) or [""])


_WORDS = "|".join(form for word in TRUTHS for form in (word, word.capitalize(), word.upper()))
_resolve("bool", _WORDS, "yYnNtTfFoO")
_resolve("int", f"{WHOLE.pattern}|{LEADING_ZERO.pattern}", "-+0123456789")
_resolve("float", f"{DECIMAL.pattern}|{NOT_FINITE.pattern}", "-+0123456789.")
_resolve("null", "~|null|Null|NULL", "~nN")
_resolve("null", "", "")
