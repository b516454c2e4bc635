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
from taskodec.tuning.calibration import calibrate_lmbda
from taskodec.tuning.candidates import Candidates
from taskodec.tuning.crossing import edge
from taskodec.tuning.fitting import between, fitted, thinned
from taskodec.tuning.goals import Goal
from taskodec.tuning.run import Share, Tuned
from taskodec.tuning.slopes import no_slope
from taskodec.tuning.subject import Subject
from taskodec.tuning.task_calls import prepared, seen_by, weight_of
from taskodec.tuning.together import Tuning, run_together
from taskodec.tuning.trials import Trial

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
        aim, plain = Aim(tuner, x, goal, weight, share), None
        if share.steps and adapter is not None and adapter.changes_decoder():
            with shared(tuner.codec):
                plain = aim.plain()
        with shared(tuner.codec) if adapter is None else adapter.requires_grad_(False).applied(tuner.codec):
            (outcome,) = run_together([aim.through(phases, plain)], tuner.seed, tuner.draws)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class Aim:
    """The search of one image."""

    def __init__(self, tuner: Tuner, x: Tensor, goal: Goal, weight: Weight, share: Share) -> None:
        self.tuner, self.x, self.goal, self.weight, self.share = tuner, x, goal, weight, share
        self.codec, self.size = tuner.codec, (x.shape[2], x.shape[3])
        self.levels = levels_of(self.codec)
        self.reference = prepared(tuner.task, x)
        self._candidates: dict[tuple[float, bool], Candidates] = {}
        self._trials: dict[tuple[str, int], Trial] = {}
        shown = seen_by(tuner.task, x) if share.steps and tuner.switches.start == "seen" else None
        self.reduced: Sequence[Trial] = ()
        """Files of the picture with less detail, if they were tried."""
        self.pictures = {name: v for name, v in (("untuned", x), ("seen", shown)) if v is not None}

    def plain(self) -> Trial | None:
        """The codec's own file at the best level, for an adapter that does not suit the image."""
        place = self.place("plain", self.nearest(self.tuner.quality))
        if not 0 <= place < len(self.levels):
            return None
        trial = self.trial("plain", place)
        return trial if trial.candidate else None  # which is decoded here, while there is no adapter

    def through(self, phases: Sequence[PhaseSettings], plain: Trial | None) -> Tuning[Tuned]:
        """All of the search; `plain` is compared too."""
        place = self.place("untuned", self.nearest(plain.quality if plain else self.tuner.quality))
        untuned = self.untuned(place)
        others = [plain] if plain is not None else []
        if not any(phase.steps for phase in phases):
            best = self.best(untuned)
            return self.outcome(best, best)
        return (yield from self.tuned(phases, place, untuned, others))

    def nearest(self, quality: float) -> int:
        """The place of the level that is nearest to a quality."""
        return min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - quality))

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

        def less(share: float) -> Trial:
            return low.of_latents(self.analysis(reduced(self.x, 1 - share), quality))

        self._trials["one colour", 0] = less(1)
        last, self.reduced = fitted(self.goal, {0: low, 1: self._trials["one colour", 0]}, less)
        return last

    def tuned(
        self, phases: Sequence[PhaseSettings], place: int, untuned: Sequence[Trial], others: Sequence[Trial]
    ) -> Tuning[Tuned]:
        """One tuning, from the picture or what the task sees of it, and what comes of it."""
        start = self.start(place)
        tuner = self.tuner.at(start.quality, self.weight(start.quality))
        run = AimedRun(tuner, self.x, self.share, self.reference, self.goal, start)
        trials = yield from run.aimed(phases)
        seen = [one for (name, _), one in self._trials.items() if name == "seen" and self.goal.miss(one) <= 0]
        best = self.best([*untuned, *others, *seen, *self.fitted(trials)], trials)
        nearest = untuned or [self.trial("untuned", min(max(place, 0), len(self.levels) - 1))]
        return self.outcome(best, self.best(nearest, nearest), run)

    def start(self, place: int) -> Trial:
        """Where tuning begins: the picture, or what is seen of it, near the goal."""
        top = len(self.levels) - 1
        places = {"untuned": place}
        if "seen" in self.pictures:
            places["seen"] = self.place("seen", min(max(place, 0), top))
        inside = {name: i for name, i in places.items() if 0 <= i <= top}
        if not inside:
            larger = [one for one in self.reduced if self.goal.miss(one) >= self.saved() / 2]
            return min(larger, key=self.goal.miss, default=self.trial("untuned", min(max(place, 0), top)))
        name = min(inside, key=lambda name: self.goal.rank(self.trial(name, inside[name]).candidate))
        return self.trial(name, self.lifted(name, inside[name]) if self.goal.by_size else inside[name])

    def lifted(self, name: str, place: int) -> int:
        """The place of a level whose file is larger than allowed by what steps will save of it."""
        known = {i: math.log(one.size) for (kind, i), one in self._trials.items() if kind == name}
        low, high = min(known), max(known)
        slope = (known[high] - known[low]) / (high - low) if high > low else USUAL_SLOPE
        levels = self.saved() / max(slope, USUAL_SLOPE / 4)
        return min(place + math.ceil(levels), len(self.levels) - 1)

    def saved(self) -> float:
        """What steps will save of a file, about, as a logarithm of its size."""
        return math.log1p(min(SAVED * self.share.steps, MOST_SAVED))

    def fitted(self, trials: Sequence[Trial]) -> list[Trial]:
        """The files of tuned states, the first ones first, and what becomes of them at the limit."""
        kept = [trial for trial in trials if self.goal.miss(trial) <= 0]
        last = trials[-1]
        if (self.goal.miss(last) <= 0) != self.goal.by_size:
            found = thinned(self.goal, last)
        else:
            other = [trial for trial in trials[:-1] if (self.goal.miss(trial) <= 0) != (self.goal.miss(last) <= 0)]
            found = between(self.goal, last, other[-1]) if other else None
        return [*kept, *([found] if found is not None and self.goal.miss(found) <= 0 else [])]

    def best(self, kept: Sequence[Trial], others: Sequence[Trial] = ()) -> Trial:
        """The best of files that keep to the goal; TargetError, if there are none, says how near all came to it."""
        if kept:
            return min(kept, key=lambda one: self.goal.rank(one.candidate))
        (height, width), what = self.size, "least" if self.goal.by_size else "best"
        nearest = min([*self._trials.values(), *others], key=self.goal.miss)
        raise TargetError(
            f"no file of {width}x{height} pixels keeps to {self.goal}: the {what} that codec {self.codec.name!r} comes "
            f"to is {self.goal.said(nearest)}, at quality {nearest.quality:g}"
        )

    def outcome(self, best: Trial, untuned: Trial, run: AimedRun | None = None) -> Tuned:
        """What is known of the best file, and of the best untuned one."""
        lmbda = run.lmbda if run is not None else self.lmbda(best.quality)
        sent, before = (replace(c, cost=lmbda * c.loss + c.bpp) for c in (best.candidate, untuned.candidate))
        sent, before = (sent, sent) if best is untuned else (sent, before)
        notes = [self.room_left()]
        if run is not None:
            notes.append(no_slope(self.tuner.task.name, [one.slope for one in run.objectives], before.loss))
        steps, diverged = (run.done, run.diverged) if run is not None else (0, False)
        said, seconds = tuple(note for note in notes if note), self.share.budget.spent
        return Tuned(sent, before, lmbda, steps, seconds, said, diverged, self.goal.figure(best))

    def room_left(self) -> str:
        """A note where even the best quality leaves some of a size unused."""
        best = self._trials.get(("untuned", len(self.levels) - 1))
        if not self.goal.by_size or best is None or self.goal.miss(best) > 0:
            return ""
        return (
            f"at the best quality of codec {self.codec.name!r}, {best.quality:g}, the file has {best.size} bytes untuned: "
            "more are of no use"
        )

    def lmbda(self, quality: float) -> float:
        """The weight of the loss for an untuned file."""
        tuner, own = self.tuner, self.weight(quality)
        own = weight_of(tuner.task, self.codec, quality) if own is None else own
        if own is None:
            own = calibrate_lmbda(self.codec, tuner.task, self.x, self.reference, quality, tuner.tiles)
        return own * tuner.lmbda_scale

    def trial(self, name: str, place: int) -> Trial:
        """The file of a picture at a level, written once."""
        key = (name, place)
        if key not in self._trials:
            latents = self.analysis(self.pictures.get(name, self.x), self.levels[place])
            candidates = self.candidates(self.levels[place], adapter=name != "plain")
            self._trials[key] = Trial.of(candidates, name, latents)
        return self._trials[key]

    @torch.no_grad()
    def analysis(self, x: Tensor, quality: float) -> Latents:
        return self.tuner.tiles.analysis(self.codec, pad_to(x, self.codec.stride), quality)

    def candidates(self, quality: float, *, adapter: bool = True) -> Candidates:
        """What writes files at a quality."""
        tuner, key = self.tuner, (quality, adapter)
        if key not in self._candidates:
            used = tuner.adapter if adapter else None
            self._candidates[key] = Candidates(
                Subject(tuner.codec, used, tuner.task, quality, self.size, self.reference, 1.0),
                switches=tuner.switches,
                budget=self.share.budget,
                metadata=tuner.metadata if adapter else None,
                tiles=tuner.tiles,
                fingerprint=tuner.fingerprint,
            )
        return self._candidates[key]


def reduced(x: Tensor, scale: float) -> Tensor:
    """A picture (1, 3, H, W) with the detail of one this much smaller, from 1 to 0, which is a single colour."""
    height, width = (max(1, round(scale * side)) for side in x.shape[2:])
    small = F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, x.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)
