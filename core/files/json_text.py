"""JSON from files of anyone's making, read strictly, and values that JSON can say.

No torch, no pydantic: exported decoders read manifests so.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MAX_DEPTH", "finite", "parse_json"]

MAX_DEPTH = 32
"""Lists and objects within each other; what taskodec writes has at most six."""


def parse_json(data: bytes | str, depth: int | None = MAX_DEPTH, *, constants: bool = False) -> Any:
    """The value of a JSON text in UTF-8; ValueError, and nothing else, for any other.

    Beyond Python's own reader refused are NaN and Infinity, which JSON does not have, names that come twice in an
    object, of which it would take the last, and values nested deeper than `depth`; None for as deep as it can. With
    `constants` the first two are taken, which Python writes. Numbers too large for a float are infinite, as everywhere
    in Python: whoever needs finite ones says so.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_object, parse_constant=float if constants else _no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if depth is not None:
        _check_depth(value, depth)
    return value


def finite(value: Any) -> Any:
    """The value with None for NaN and infinities, which JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {twice[:80]!r} comes twice in one object")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number in JSON")


def _check_depth(value: Any, limit: int) -> None:
    """Level by level, because a function that calls itself would itself be too deep."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {limit} deep")
