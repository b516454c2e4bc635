"""Which outputs are taken, of any number of them: on disk, because memory is for pictures. No torch."""

from __future__ import annotations

import os
import sqlite3

__all__ = ["Taken"]


class Taken:
    """Names of outputs, each with the input that it is for. Millions take a temporary file, and no memory."""

    def __init__(self) -> None:
        self._names = sqlite3.connect("", isolation_level=None)  # a file of SQLite's own, which it removes
        self._names.execute("PRAGMA journal_mode = OFF")
        self._names.execute("PRAGMA synchronous = OFF")
        self._names.execute("CREATE TABLE targets (name BLOB PRIMARY KEY, source BLOB) WITHOUT ROWID")
        self._names.execute("CREATE TABLE sources (name BLOB PRIMARY KEY) WITHOUT ROWID")
        self._names.execute("BEGIN")

    def claim(self, target: str, source: str) -> str:
        """Take a name for an input; the input that has it already, or empty."""
        both = os.fsencode(target), os.fsencode(source)
        if self._names.execute("INSERT OR IGNORE INTO targets VALUES (?, ?)", both).rowcount:
            return ""
        return os.fsdecode(self._names.execute("SELECT source FROM targets WHERE name = ?", both[:1]).fetchone()[0])

    def read_from(self, source: str) -> None:
        """Remember the name of an input."""
        self._names.execute("INSERT OR IGNORE INTO sources VALUES (?)", (os.fsencode(source),))

    def overwritten(self) -> str:
        """An output that is an input, or empty."""
        found = self._names.execute("SELECT name FROM targets WHERE name IN (SELECT name FROM sources)").fetchone()
        return os.fsdecode(found[0]) if found else ""

    def close(self) -> None:
        """Forget all."""
        self._names.close()
