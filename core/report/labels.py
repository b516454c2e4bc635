"""Where the names of found things stand over a picture, so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskodec.report.sights import Item

__all__ = ["Label", "apart", "tags"]

Tag = tuple[str, float, float, float]
"""A text of a drawing, the size of its letters, and its x and y."""

NAMED = 8
"""Things whose names stand in a picture of a page, at most."""

LETTER, LINE, BASE = 0.62, 1.15, 0.95
"""Of the size of letters: the width of one, the height of a line, and how far its top is above where they stand."""


@dataclass(frozen=True)
class Label:
    """A name and the rectangle that it takes, in pixels of the picture as it is shown."""

    text: str
    left: float
    top: float
    width: float
    height: float

    def covers(self, other: Label) -> bool:
        """Whether the two have a point in common."""
        across = self.left < other.left + other.width and other.left < self.left + self.width
        return across and self.top < other.top + other.height and other.top < self.top + self.height


def apart(labels: Sequence[Label], bottom: float) -> list[Label]:
    """The labels, each moved down below those before it that it would hide; where there is no room, it is not moved."""
    placed: list[Label] = []
    for label in labels:
        moved = label
        while covered := [one for one in placed if one.covers(moved)]:
            moved = replace(moved, top=max(one.top + one.height for one in covered))
        placed.append(moved if moved.top + moved.height <= bottom else label)
    return placed


def tags(items: Sequence[Item], shown: tuple[float, float], size: tuple[float, float]) -> list[Tag]:
    """The names in a page's picture of this size, width first, which is `shown` in so many units of a drawing."""
    (across, down), (width, height) = shown, size
    letters = min(across, down) / 22 if across < down else across / 30
    wanted = []
    for item in [one for one in items[:NAMED] if one.points]:
        long = LETTER * letters * len(item.label)
        left = max(min(item.at[0] * across / width + letters / 5, across - long), 1.0)
        foot = max(item.at[1] * down / height + 1.05 * letters, letters)
        wanted.append(Label(item.label, left, foot - BASE * letters, long, LINE * letters))
    return [(one.text, letters, one.left, one.top + BASE * letters) for one in apart(wanted, down)]
