"""What a worker tells of its work while it is at it: lines in a file of the job's folder. No torch.

A file, as all that is large: a process that is killed in the midst of a line leaves no pipe torn, only half a line that
nobody reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskodec.files.json_text import finite

__all__ = ["Stage", "Step", "Teller", "Trail"]

STAGE, STEP = "stage", "step"


@dataclass(frozen=True)
class Stage:
    """What the work is at, and what is known of the picture by then."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A step of so many, with its figures: loss, bpp, cost and best, or none where tiles are counted."""

    number: int
    total: int
    figures: Mapping[str, float | None]


class Teller:
    """Writes lines to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def stage(self, name: str, **facts: Any) -> None:
        """Another stage has begun."""
        self._say({STAGE: name, **facts})

    def step(self, number: int, total: int, figures: Mapping[str, float]) -> None:
        """A step was made."""
        self._say({STEP: number, "total": total, **figures})

    def close(self) -> None:
        """Nothing more is told."""
        self._file.close()

    def _say(self, what: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(finite(what)) + "\n")


class Trail:
    """All that was told so far: `stage`, `facts` of all stages, and `steps`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage, self.facts, self.steps = "", dict[str, Any](), list[Step]()
        self._read = 0

    def follow(self) -> bool:
        """Read what is new; whether there was anything."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError:  # not begun, or given up
            return False
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))
        return bool(whole)

    def _take(self, said: dict[str, Any]) -> None:
        if STAGE in said:
            self.stage = said.pop(STAGE)
            self.facts.update(said)
        else:
            self.steps.append(Step(said.pop(STEP), said.pop("total"), said))
