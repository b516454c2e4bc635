"""Untuned files of one image at the qualities of a codec, each written once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.coding.streams import quantize_quality
from taskodec.contracts import Codec, Latents
from taskodec.images.tensors import pad_to
from taskodec.tuning.budget import Budget
from taskodec.tuning.candidates import Candidates
from taskodec.tuning.crossing import edge
from taskodec.tuning.fitting import fitted
from taskodec.tuning.goals import Goal
from taskodec.tuning.subject import Subject
from taskodec.tuning.trials import Trial

if TYPE_CHECKING:
    from taskodec.tuning.ttft import Tuner

__all__ = ["Levels", "levels_of"]

CLOSE = 0.015
"""How close to a size, as a logarithm, a file need be that tuning begins with."""

USUAL_SLOPE = 0.023
"""By how much more the logarithm of a size is with the next level, where nothing is known."""


def levels_of(codec: Codec) -> list[float]:
    """The qualities that streams of a codec can have, ascending."""
    if not codec.continuous:
        return [float(q) for q in codec.qualities]
    first, last = codec.qualities[0], codec.qualities[-1]
    sixteenths = range(round(first * 16), round(last * 16) + 1)
    return [q for q in (quantize_quality(n / 16) for n in sixteenths) if first <= q <= last]


class Levels:
    """Files of `pictures`, which are ways to see one image, by their names; those of `plain` have no adapter."""

    def __init__(
        self, tuner: Tuner, pictures: Mapping[str, Tensor], goal: Goal, reference: Any, budget: Budget
    ) -> None:
        self.tuner, self.pictures, self.goal, self.reference, self.budget = tuner, pictures, goal, reference, budget
        self.codec = tuner.codec
        self.qualities = levels_of(self.codec)
        self.top = len(self.qualities) - 1
        self.trials: dict[tuple[str, int], Trial] = {}
        self.reduced: list[Trial] = []
        """Files of the picture with less detail, at the lowest quality, if they were tried."""
        self._candidates: dict[tuple[float, bool], Candidates] = {}

    def nearest(self, quality: float) -> int:
        """The place of the level that is nearest to a quality."""
        return min(range(len(self.qualities)), key=lambda i: abs(self.qualities[i] - quality))

    def inside(self, place: int) -> int:
        """The place, or the first or last one where there is no such."""
        return min(max(place, 0), self.top)

    def place(self, name: str, start: int, near: float = 0.0) -> int:
        """The place of the best level whose file keeps the limit: the last for a size, the first for a figure.

        One before the first, or after the last, if there is none. For a size, one that is so `near` will do.
        """
        if self.goal.by_size:
            return edge(lambda i: self.goal.miss(self.trial(name, i)), self.top + 1, start, USUAL_SLOPE, near)
        return self.top - edge(lambda i: self.goal.miss(self.trial(name, self.top - i)), self.top + 1, self.top - start)

    def near(self, name: str, start: int, above: float) -> int:
        """A place whose file has about so much more than a size, as a logarithm: one or two steps from the start."""
        place = self.inside(start)
        for _ in range(2):
            away = above - self.goal.miss(self.trial(name, place))
            step = round(away / self.slope(name, place))
            if abs(away) < CLOSE or not step or place == self.inside(place + step):
                break
            place = self.inside(place + step)
        return place

    def slope(self, name: str, place: int) -> float:
        """By how much the logarithm of a size grows from level to level around a place."""
        known = sorted((abs(i - place), i) for kind, i in self.trials if kind == name)
        if len(known) < 2:
            return USUAL_SLOPE
        (_, first), (_, second) = known[:2]
        sizes = [math.log(self.trials[name, i].size) for i in (first, second)]
        return max((sizes[1] - sizes[0]) / (second - first), USUAL_SLOPE / 4)

    def below(self, near: float) -> Trial | None:
        """A file smaller than that of the lowest level: of the picture with less and less detail, to one colour."""
        low = self.trial("untuned", 0)

        def less(share: float) -> Trial:
            return low.of_latents(self.analysis(_reduced(self.pictures["untuned"], 1 - share), self.qualities[0]))

        self.trials["one colour", 0] = less(1)
        last, self.reduced = fitted(self.goal, {0: low, 1: self.trials["one colour", 0]}, less, near=near)
        return last

    def trial(self, name: str, place: int) -> Trial:
        """The file of a picture at a level."""
        key = (name, place)
        if key not in self.trials:
            picture = self.pictures.get(name, self.pictures["untuned"])
            latents = self.analysis(picture, self.qualities[place])
            self.trials[key] = Trial.of(self.candidates(self.qualities[place], name != "plain"), name, latents)
        return self.trials[key]

    @torch.no_grad()
    def analysis(self, x: Tensor, quality: float) -> Latents:
        """Latents of a picture (1, 3, H, W) of any size."""
        return self.tuner.tiles.analysis(self.codec, pad_to(x, self.codec.stride), quality)

    def candidates(self, quality: float, adapter: bool) -> Candidates:
        """What writes files at a quality."""
        tuner, key, x = self.tuner, (quality, adapter), self.pictures["untuned"]
        if key not in self._candidates:
            used, size = tuner.adapter if adapter else None, (x.shape[2], x.shape[3])
            self._candidates[key] = Candidates(
                Subject(tuner.codec, used, tuner.task, quality, size, self.reference, 1.0),
                switches=tuner.switches,
                budget=self.budget,
                metadata=tuner.metadata if adapter else None,
                tiles=tuner.tiles,
            )
        return self._candidates[key]


def _reduced(x: Tensor, scale: float) -> Tensor:
    """A picture (1, 3, H, W) with the detail of one this much smaller, from 1 to 0, which is a single colour."""
    height, width = (max(1, round(scale * side)) for side in x.shape[2:])
    small = F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, x.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)
