"""Files that keep to a size, a rate or a figure: which quality, which weight of the loss, and the last bytes.

First the codec's qualities are searched with untuned files, which take a small part of the time that tuning takes; then
one tuning starts near the goal, and the weight of its loss follows, step by step, what is still missing; last, latents
are thinned out until the file, as it is written, keeps the limit as closely as can be. The best of all files that keep
it is sent, untuned ones among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.coding.streams import quantize_quality
from taskodec.contracts import Codec, Latents
from taskodec.errors import TargetError
from taskodec.images.tensors import pad_to
from taskodec.isolation.activation import inactive
from taskodec.isolation.randomness import Noise
from taskodec.isolation.sharing import shared
from taskodec.tuning.aimed_run import AimedRun
from taskodec.tuning.candidates import Candidate, Candidates
from taskodec.tuning.crossing import edge
from taskodec.tuning.fitting import fitted, thinned
from taskodec.tuning.goals import Goal
from taskodec.tuning.run import Share, Tuned
from taskodec.tuning.subject import Subject
from taskodec.tuning.task_calls import seen_by
from taskodec.tuning.together import Tuning, run_together
from taskodec.tuning.trials import Trial
from taskodec.tuning.units import prepared_in_units

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings
    from taskodec.tuning.ttft import Tuner

__all__ = ["Aim", "aimed", "levels_of"]

SAVED, MOST_SAVED = 0.01, 0.5
"""What a step saves of a file, about, and all of them together; tuning begins that much above a size."""

USUAL_SLOPE = 0.023
"""By how much more the logarithm of a size is with the next level, where nothing is known."""

Weight = Callable[[float], float | None]
"""What the settings say of the loss's weight at a quality."""


def levels_of(codec: Codec) -> list[float]:
    """The qualities that streams of a codec can have, ascending."""
    if not codec.continuous:
        return [float(q) for q in codec.qualities]
    first, last = codec.qualities[0], codec.qualities[-1]
    sixteenths = range(round(first * 16), round(last * 16) + 1)
    return [q for q in (quantize_quality(n / 16) for n in sixteenths) if first <= q <= last]


def aimed(tuner: Tuner, x: Tensor, phases: Sequence[PhaseSettings], goal: Goal, weight: Weight, share: Share) -> Tuned:
    """The best file of x (1, 3, H, W) that keeps to the goal; TargetError says what the least is that can be."""
    adapter = tuner.adapter
    with inactive(), Noise(tuner.seed, tuner.draws).used():
        with shared(tuner.codec) if adapter is None else adapter.requires_grad_(False).applied(tuner.codec):
            (outcome,) = run_together([Aim(tuner, x, goal, weight, share).through(phases)], tuner.seed, tuner.draws)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class Aim:
    """The search of one image."""

    def __init__(self, tuner: Tuner, x: Tensor, goal: Goal, weight: Weight, share: Share) -> None:
        self.tuner, self.x, self.goal, self.weight, self.share = tuner, x, goal, weight, share
        self.codec, self.size = tuner.codec, (x.shape[2], x.shape[3])
        self.levels = levels_of(self.codec)
        self.reference = prepared_in_units(tuner.task, tuner.codec, x, tuner.quality, tuner.tiles)
        self._candidates: dict[float, Candidates] = {}
        self._trials: dict[tuple[str, int], Trial] = {}
        shown = seen_by(tuner.task, x) if share.steps and tuner.switches.start == "seen" else None
        self.pictures = {name: v for name, v in (("untuned", x), ("seen", shown)) if v is not None}

    def through(self, phases: Sequence[PhaseSettings]) -> Tuning[Tuned]:
        """All of the search."""
        start = min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - self.tuner.quality))
        place = self.place("untuned", start)
        untuned = self.untuned(place)
        if not any(phase.steps for phase in phases):
            best = self.best(untuned) if untuned else self.out_of_reach()
            return self.outcome(best, best, self.weight(best.quality))
        return (yield from self.tuned(phases, place, untuned))

    def place(self, name: str, start: int) -> int:
        """The place of the best level whose file keeps the limit: the last for a size, the first for a figure.

        One before the first, or after the last, if there is none.
        """
        count = len(self.levels)
        if self.goal.by_size:
            return edge(lambda i: self.goal.miss(self.trial(name, i)), count, start)
        return count - 1 - edge(lambda i: self.goal.miss(self.trial(name, count - 1 - i)), count, count - 1 - start)

    def untuned(self, place: int) -> list[Trial]:
        """Untuned files that keep the limit."""
        top = len(self.levels) - 1
        found = [self.trial("untuned", place)] if 0 <= place <= top else []
        if (self.goal.by_size and place < 0) or (not self.goal.by_size and place == 0):
            last = self.below()
        elif self.goal.by_size and place < top:
            last = thinned(self.goal, self.trial("untuned", place + 1))
        else:
            last = thinned(self.goal, found[0]) if found and not self.goal.by_size else None
        return [*found, *([last] if last is not None else [])]

    def below(self) -> Trial | None:
        """A file smaller than that of the lowest level: of the picture with less and less detail, to one colour."""
        low, quality = self.trial("untuned", 0), self.levels[0]

        def path(share: float) -> Latents:
            return self.analysis(reduced(self.x, 1 - share), quality)

        end = self._trials["one colour", 0] = low.of_latents(path(1))
        return fitted(self.goal, low, end, path)

    def tuned(self, phases: Sequence[PhaseSettings], place: int, untuned: Sequence[Trial]) -> Tuning[Tuned]:
        """One tuning, from the picture or what the task sees of it, and what comes of it."""
        start = self.start(place, untuned)
        quality = start.candidates.subject.quality
        run = AimedRun(self.tuner.at(quality, self.weight(quality)), self.x, self.share, self.reference, self.goal)
        trials = yield from run.aimed(phases, start)
        found = [*untuned, *self.fitted(trials)]
        found += [one for (name, _), one in self._trials.items() if name == "seen" and self.goal.miss(one) <= 0]
        if not found:
            self.out_of_reach(*trials)
        nearest = untuned or [self.trial("untuned", min(max(place, 0), len(self.levels) - 1))]
        return self.outcome(self.best(found), self.best(nearest), run.lmbda, run)

    def start(self, place: int, untuned: Sequence[Trial]) -> Trial:
        """Where tuning begins: the picture, or what is seen of it, near the goal."""
        top = len(self.levels) - 1
        places = {"untuned": place}
        if "seen" in self.pictures:
            places["seen"] = self.place("seen", min(max(place, 0), top))
        inside = {name: i for name, i in places.items() if 0 <= i <= top}
        if not inside:
            return untuned[-1] if untuned else self.trial("untuned", min(max(place, 0), top))
        name = min(inside, key=lambda name: self.goal.rank(self.trial(name, inside[name]).candidate))
        return self.trial(name, self.lifted(name, inside[name]) if self.goal.by_size else inside[name])

    def lifted(self, name: str, place: int) -> int:
        """The place of a level whose file is larger than allowed by what steps will save of it."""
        known = {i: math.log(one.size) for (kind, i), one in self._trials.items() if kind == name}
        low, high = min(known), max(known)
        slope = (known[high] - known[low]) / (high - low) if high > low else USUAL_SLOPE
        levels = math.log1p(min(SAVED * self.share.steps, MOST_SAVED)) / max(slope, USUAL_SLOPE / 4)
        return min(place + round(levels), len(self.levels) - 1)

    def fitted(self, trials: Sequence[Trial]) -> list[Trial]:
        """The files of tuned states, the first ones first, and what becomes of them at the limit."""
        kept = [trial for trial in trials if self.goal.miss(trial) <= 0]
        last = trials[-1]
        if (self.goal.miss(last) <= 0) != self.goal.by_size:
            found = thinned(self.goal, last)
        else:
            other = [trial for trial in trials[:-1] if (self.goal.miss(trial) <= 0) != (self.goal.miss(last) <= 0)]
            found = fitted(self.goal, last, other[-1]) if other else None
        return [*kept, *([found] if found is not None and self.goal.miss(found) <= 0 else [])]

    def best(self, trials: Sequence[Trial]) -> Candidate:
        return min((trial.candidate for trial in trials), key=self.goal.rank)

    def outcome(self, best: Candidate, untuned: Candidate, lmbda: float | None, run: AimedRun | None = None) -> Tuned:
        weight = lmbda or 1.0
        best, untuned = (replace(one, cost=weight * one.loss + one.bpp) for one in (best, untuned))
        seconds = self.share.budget.spent
        return Tuned(best, untuned, weight, run.done if run else 0, seconds, (), run.diverged if run else False)

    def out_of_reach(self, *tuned: Trial) -> Candidate:
        """TargetError, which says what comes nearest."""
        height, width = self.size
        nearest = min([*self._trials.values(), *tuned], key=self.goal.miss)
        what = "least" if self.goal.by_size else "best"
        raise TargetError(
            f"no file of {width}x{height} pixels keeps to {self.goal}: the {what} that codec {self.codec.name!r} comes to "
            f"is {self.goal.said(nearest)}, at quality {nearest.candidate.quality:g}"
        )

    def trial(self, name: str, place: int) -> Trial:
        """The file of a picture at a level, written once."""
        key = (name, place)
        if key not in self._trials:
            latents = self.analysis(self.pictures[name], self.levels[place])
            self._trials[key] = Trial.of(self.candidates(self.levels[place]), name, latents)
        return self._trials[key]

    @torch.no_grad()
    def analysis(self, x: Tensor, quality: float) -> Latents:
        return self.tuner.tiles.analysis(self.codec, pad_to(x, self.codec.stride), quality)

    def candidates(self, quality: float) -> Candidates:
        """What writes files at a quality."""
        tuner = self.tuner
        if quality not in self._candidates:
            subject = Subject(tuner.codec, tuner.adapter, tuner.task, quality, self.size, self.reference, 1.0)
            self._candidates[quality] = Candidates(
                subject,
                switches=tuner.switches,
                budget=self.share.budget,
                metadata=tuner.metadata,
                tiles=tuner.tiles,
                fingerprint=tuner.fingerprint,
            )
        return self._candidates[quality]


def reduced(x: Tensor, scale: float) -> Tensor:
    """A picture (1, 3, H, W) with the detail of one this much smaller, from 1 to 0, which is a single colour."""
    height, width = (max(1, round(scale * side)) for side in x.shape[2:])
    small = F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, x.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)
