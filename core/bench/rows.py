"""Measured rows as lines of JSON, so that a measurement that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, get_type_hints

from taskodec.console.terminal import shown
from taskodec.errors import TaskodecError
from taskodec.files.atomic import write_atomic
from taskodec.files.json_text import parse_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Keyed(DataclassInstance, Protocol):
        """A dataclass of plain values."""

        @property
        def key(self) -> Hashable:
            """What must be the same for a row to hold again."""


__all__ = ["RowFile"]

RowT = TypeVar("RowT", bound="Keyed")


class RowFile(Generic[RowT]):
    """Rows in the order they were measured; of two with one key the last holds.

    A last line that was cut off is dropped. TaskodecError if the file cannot be used, or holds anything else; `what`
    says in the message what a row is.
    """

    def __init__(self, path: Path, row_type: type[RowT], what: str) -> None:
        self.path = path
        self._rows = {row.key: row for row in _read(path, row_type, what)}

    def find(self, key: Hashable) -> RowT | None:
        """The row with this key, if it was measured before."""
        return self._rows.get(key)

    def rows(self) -> list[RowT]:
        """All of them."""
        return list(self._rows.values())

    def add(self, row: RowT) -> None:
        """Append one row; it is in the file when this returns. TaskodecError if it cannot be written."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        except OSError as error:
            raise TaskodecError(f"cannot write to {self.path}: {error.strerror or error}") from error
        self._rows[row.key] = row


def _read(path: Path, row_type: Any, what: str) -> list[Any]:
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskodecError(f"cannot use {path}: {error.strerror or error}") from error
    rows = []
    form = _Fields(row_type)
    for number, line in enumerate(lines, start=1):
        try:
            row = form.row(line)
        except ValueError as error:
            if number < len(lines) or line.endswith(b"\n"):
                raise TaskodecError(
                    f"{path}, line {number} is no {what} ({error}): move the file away, or choose another output folder"
                ) from error
            row = None
        if row is None or not line.endswith(b"\n"):  # writing was cut off
            write_atomic(path, b"".join(lines[:-1]))
            break
        rows.append(row)
    return rows


class _Fields:
    """The fields of a row and their types, which a line is held to."""

    def __init__(self, row_type: Any) -> None:
        from pydantic import TypeAdapter

        hints = get_type_hints(row_type)
        self.row_type = row_type
        self.types = {field.name: TypeAdapter(hints[field.name]) for field in fields(row_type)}

    def row(self, line: bytes) -> Any:
        """A row of a line; ValueError, of which pydantic's are some, says what is wrong."""
        found = parse_json(line, constants=True)
        if not isinstance(found, dict):
            raise ValueError(f"found {shown(found)}, expected an object")
        if unknown := sorted(found.keys() - self.types.keys()):
            raise ValueError(f"it has {shown(unknown)}, which no row has")
        for name, value in found.items():
            try:
                self.types[name].validate_python(value, strict=True)
            except ValueError as error:
                raise ValueError(f"its {name} is {shown(value)}") from error
            if isinstance(value, int) and abs(value) >= 2**63:
                raise ValueError(f"its {name} is {shown(value)}")
        try:
            return self.row_type(**found)
        except TypeError as error:  # something is missing
            raise ValueError(str(error)) from error
