"""What a task finds in a picture, made ready for a page: boxes and outlines, masks as a layer, labels in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from taskodec.contracts import Findings, Found
from taskodec.report.maps import HUES, Floats, Scale, class_picture, coloured, mask_picture
from taskodec.report.pictures import one_embedded

__all__ = ["Hues", "Item", "Share", "Sight", "corners_of", "heat_of", "sight_of"]

DRAWN, LISTED = 24, 12
"""Things that are drawn, and labels that are listed, at most."""

BACKGROUND = frozenset({"background", "__background__", "unlabeled", "void"})


@dataclass(frozen=True)
class Item:
    """One thing found. `points` is its polygon as SVG has it, empty for one without a place; `at` is for its name."""

    label: str
    score: float | None
    hue: int
    points: str = ""
    at: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Share:
    """A class and the share of the pixels that have it."""

    label: str
    share: float
    hue: int


@dataclass(frozen=True)
class Sight:
    """What is drawn over a picture and listed below it; `layer` is a transparent picture as a data URI."""

    items: Sequence[Item] = ()
    shares: Sequence[Share] = ()
    layer: str = ""
    heat: str = ""
    more: int = 0
    located: bool = False

    @property
    def says(self) -> str:
        """All of it in a sentence, for those who cannot see it."""
        if self.items:
            named = ", ".join(i.label + (f" {i.score:.0%}" if i.score is not None else "") for i in self.items[:LISTED])
            return named + (f" and {len(self.items) + self.more - LISTED} more" if len(self.items) > LISTED else "")
        if self.shares:
            return ", ".join(f"{s.label} {s.share:.0%}" for s in self.shares)
        return "a map" if self.heat else "nothing"


@dataclass
class Hues:
    """A colour for every name, the same one in all pictures."""

    known: dict[str, int] = field(default_factory=dict)

    def of(self, label: str) -> int:
        """The number of the colour."""
        return self.known.setdefault(label, len(self.known) % len(HUES))


def sight_of(findings: Findings, size: tuple[int, int], hues: Hues, scale: Scale | None = None) -> Sight:
    """Of findings in a picture of this height and width; `scale` is for its heat."""
    ordered = sorted(findings.found, key=lambda one: -(1.0 if one.score is None else one.score))
    kept = ordered[:DRAWN]
    items = [_item(one, hues) for one in kept]
    masks = [(one.mask, item.hue) for one, item in zip(kept, items, strict=True) if one.mask is not None]
    layer = one_embedded(mask_picture(masks, size)) if masks else ""
    shares: list[Share] = []
    if findings.classes is not None:
        shares, layer = _classes(findings.classes, findings.names)
    heat = ""
    if findings.heat is not None and scale is not None:
        heat = one_embedded(coloured(heat_of(findings.heat), scale, "viridis"), 85)
    located = any(item.points for item in items) or bool(masks)
    return Sight(items, shares, layer, heat, len(ordered) - len(kept), located)


def heat_of(heat: Tensor) -> Floats:
    """The numbers (h, w) of a heat."""
    found: Floats = heat.detach().float().cpu().numpy().astype(np.float32)
    return found


def corners_of(one: Found) -> list[tuple[float, float]]:
    """Of its outline, else of its box; none of what has neither."""
    if one.outline or one.box is None:
        return [(float(x), float(y)) for x, y in one.outline or ()]
    x1, y1, x2, y2 = (float(v) for v in one.box)
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _item(one: Found, hues: Hues) -> Item:
    corners = corners_of(one)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    at = (min(x for x, _ in corners), min(y for _, y in corners)) if corners else (0.0, 0.0)
    return Item(one.label, one.score, hues.of(one.label), points, at)


def _classes(classes: Tensor, names: Sequence[str]) -> tuple[list[Share], str]:
    """What share of the pixels each class has, the most first, and the layer."""
    numbers, counts = torch.unique(classes, return_counts=True)
    share: Mapping[int, float] = {
        int(n): int(c) / classes.numel() for n, c in zip(numbers.tolist(), counts.tolist(), strict=True)
    }

    def name(number: int) -> str:
        return names[number] if number < len(names) else f"class {number}"

    empty = [number for number in share if name(number).lower() in BACKGROUND]
    listed = sorted(share, key=lambda number: -share[number])[:LISTED]
    found = [Share(name(n), share[n], -1 if n in empty else n % len(HUES)) for n in listed]
    return found, one_embedded(class_picture(classes, empty))
