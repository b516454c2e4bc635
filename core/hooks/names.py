"""Names of registered things and settings: what is valid, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from taskodec.console.terminal import shown
from taskodec.errors import PluginError

__all__ = ["check_name", "members", "nearest"]

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(kind: str, name: object, owner: str) -> None:
    """A PluginError unless `name` can stand in a configuration, on the command line and, for codecs, in a stream."""
    if not isinstance(name, str) or not _VALID.fullmatch(name) or name.endswith(".py"):
        raise PluginError(
            f"{owner}: {kind} name {shown(name)} is not valid; use up to 64 letters, digits, and . _ - inside"
        )
    if kind == "codec" and name != name.lower():
        raise PluginError(f"{owner}: codec name {name!r} is not valid; streams carry it, use lower-case letters")


def members(name: str) -> list[str]:
    """The tasks that `cls,det` names, one of a `FILE.py:OBJ` whose path has a comma."""
    if ".py:" in name and Path(name.rpartition(":")[0]).is_file():
        return [name]
    return [part.strip() for part in name.split(",")]


def nearest(name: str, valid: Iterable[str]) -> str:
    """`, did you mean 'x'?` or nothing, to go into an error message."""
    matches = difflib.get_close_matches(name, list(valid), n=2, cutoff=0.6)
    return f", did you mean {' or '.join(map(repr, matches))}?" if matches else ""
