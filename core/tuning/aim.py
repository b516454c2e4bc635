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

from torch import Tensor

from taskodec.errors import TargetError
from taskodec.isolation.activation import inactive
from taskodec.isolation.randomness import Noise
from taskodec.isolation.sharing import shared
from taskodec.tuning.aimed_run import AimedRun
from taskodec.tuning.calibration import calibrate_lmbda
from taskodec.tuning.filling import filled
from taskodec.tuning.fitting import NEAR, between, thinned
from taskodec.tuning.goals import Goal
from taskodec.tuning.levels import Levels
from taskodec.tuning.run import Share, Tuned
from taskodec.tuning.task_calls import seen_by, weight_of
from taskodec.tuning.together import Tuning, run_together
from taskodec.tuning.trials import Trial
from taskodec.tuning.units import notes_on_slopes, prepared_in_units, weights_in

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings
    from taskodec.tuning.ttft import Tuner

__all__ = ["Aim", "aimed"]

SAVED, MOST_SAVED = 0.005, 0.3
"""What a step saves of a file, about, and all of them together; tuning begins that much above a size."""

ROUGH = 0.02
"""How close to a limit an untuned file need be that is to be tuned, or compared with tuned ones."""

CLEARLY = 0.9
"""The share of an untuned file's loss or size below which a tuned one is better without a closer look."""

MARGIN = 0.25
"""How much nearer an untuned file may come to the loss of the larger file that tuning begins with than to its size."""

Weight = Callable[[float], float | None]
"""What the settings say of the loss's weight at a quality."""


def aimed(tuner: Tuner, x: Tensor, phases: Sequence[PhaseSettings], goal: Goal, weight: Weight, share: Share) -> Tuned:
    """The best file of x (1, 3, H, W) that keeps to the goal; TargetError says what the least is that can be."""
    adapter = tuner.adapter
    with inactive(), Noise(tuner.seed, tuner.draws).used():
        with shared(tuner.codec):
            aim = Aim(tuner, x, goal, weight, share)
        with shared(tuner.codec) if adapter is None else adapter.requires_grad_(False).applied(tuner.codec):
            (outcome,) = run_together([aim.through(phases)], tuner.seed, tuner.draws)
        if isinstance(outcome, Exception):
            raise outcome
        if share.steps and adapter is not None and adapter.changes_decoder():
            with shared(tuner.codec):
                outcome = aim.or_plain(outcome)
    return aim.outcome(outcome)


class Aim:
    """The search of one image."""

    def __init__(self, tuner: Tuner, x: Tensor, goal: Goal, weight: Weight, share: Share) -> None:
        self.tuner, self.x, self.goal, self.weight, self.share = tuner, x, goal, weight, share
        self.reference = prepared_in_units(tuner.task, tuner.codec, x, tuner.quality, tuner.tiles)
        compared = share.steps > 0 or tuner.starts
        shown = seen_by(tuner.task, x) if compared and tuner.switches.start == "seen" else None
        pictures = {name: v for name, v in (("untuned", x), ("seen", shown)) if v is not None}
        self.levels = Levels(tuner, pictures, goal, self.reference, share.budget)
        self.run: AimedRun | None = None
        self.untuned: Trial | None = None
        self.place_found = 0

    def through(self, phases: Sequence[PhaseSettings]) -> Tuning[Trial]:
        """All of the search but for the codec without its adapter: the best file."""
        place = self.place_found = self.untuned_place(self.levels.nearest(self.tuner.quality))
        kept = [self.levels.trial("untuned", place)] if place == self.levels.inside(place) else []
        if self.is_below(place):
            kept += _some(self.levels.below(ROUGH if self.share.steps else NEAR))
        if not self.share.steps:
            self.untuned = self.best([*kept, *self.finer(place)])
            return self.untuned
        self.untuned = self.best(kept) if kept else self.levels.trial("untuned", self.levels.inside(place))
        return (yield from self.tuned(phases, place, kept))

    def untuned_place(self, start: int) -> int:
        """The place of the best untuned file, roughly where it is to be tuned."""
        return self.levels.place("untuned", start, ROUGH if self.share.steps else 0.0)

    def is_below(self, place: int) -> bool:
        """Whether files smaller than the lowest quality's are called for."""
        return place < 0 if self.goal.by_size else place == 0

    def finer(self, place: int) -> list[Trial]:
        """What lies between the level at a place and its neighbour."""
        if self.goal.by_size and 0 <= place < self.levels.top:
            return _some(thinned(self.goal, self.levels.trial("untuned", place + 1)))
        if not self.goal.by_size and place <= self.levels.top:
            return _some(thinned(self.goal, self.levels.trial("untuned", place)))
        return []

    def tuned(self, phases: Sequence[PhaseSettings], place: int, kept: Sequence[Trial]) -> Tuning[Trial]:
        """One tuning, from the picture or what the task sees of it, and what comes of it."""
        start = self.start(place)
        tuner = self.tuner.at(start.quality, self.weight(start.quality))
        self.run = AimedRun(tuner, self.x, self.share, self.reference, self.goal, start)
        trials = yield from self.run.aimed(phases)
        seen = [one for (name, _), one in self.levels.trials.items() if name == "seen" and self.goal.miss(one) <= 0]
        found = [*kept, *seen, *self.fitted(trials)]
        if found and (best := self.best(found)).candidates is self.run.candidates:
            found += _some(filled(self.goal, best, start.latents))
        rough = self.untuned if self.untuned in kept else None
        if rough is not None and not self.clearly(self.best(found), rough, place):
            place = self.levels.place("untuned", place)
            exact = [self.levels.trial("untuned", place)] if place == self.levels.inside(place) else []
            found += [*exact, *self.finer(place)]
            self.untuned = self.best([one for one in found if one.name == "untuned"])
        return self.best(found, trials)

    def clearly(self, best: Trial, untuned: Trial, place: int) -> bool:
        """Whether a file is better than any untuned one that a closer look around a place is likely to find."""
        reached, before = (self.goal.rank(one.candidate)[0] for one in (best, untuned))
        if reached <= CLEARLY * before:
            return True
        if not self.goal.by_size:  # none has fewer bytes than one that misses the figure
            beyond = self.levels.trials.get(("untuned", place - 1))
            return beyond is not None and reached <= beyond.size
        if (run := self.run) is None or not 0 < run.began_at < before:
            return False
        left, too_much = -self.goal.miss(untuned), self.goal.miss(run.start)
        if too_much <= 0:  # nothing is beyond the size
            return False
        promised = before * math.pow(run.began_at / before, min(1.0, left / (left + too_much) + MARGIN))
        return reached <= promised

    def start(self, place: int) -> Trial:
        """Where tuning begins: the picture, or what is seen of it, near the goal."""
        levels = self.levels
        if self.is_below(place) and self.goal.by_size and levels.reduced:
            larger = [one for one in levels.reduced if self.goal.miss(one) >= self.saved() / 2]
            return min(larger, key=self.goal.miss, default=levels.trial("untuned", 0))
        if self.goal.by_size:
            starts = [levels.trial(name, levels.near(name, place, self.saved())) for name in levels.pictures]
            return starts[0] if len(starts) == 1 else min(starts, key=lambda one: one.candidate.loss)
        places = {name: levels.place(name, levels.inside(place)) for name in levels.pictures}
        inside = [name for name, i in places.items() if i <= levels.top]
        name = min(inside, key=lambda name: levels.trial(name, places[name]).size, default="untuned")
        low = places[name] - round(self.saved() / levels.slope(name, levels.inside(places[name])))
        return levels.trial(name, levels.inside(low))

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
        return [*kept, *(one for one in _some(found) if self.goal.miss(one) <= 0)]

    def or_plain(self, best: Trial) -> Trial:
        """The codec's own file, for an adapter that does not suit the image, where that is better."""
        levels, place = self.levels, self.levels.inside(self.place_found)
        plain = levels.trial("plain", place)
        if CLEARLY * self.goal.rank(plain.candidate)[0] > self.goal.rank(best.candidate)[0]:
            return best
        place = levels.place("plain", place)
        return self.best([best, *([levels.trial("plain", place)] if place == levels.inside(place) else [])])

    def best(self, kept: Sequence[Trial], others: Sequence[Trial] = ()) -> Trial:
        """The best of files that keep to the goal; TargetError, if there are none, says how near all came to it."""
        if kept:
            return min(kept, key=lambda one: self.goal.rank(one.candidate))
        (height, width), what = self.x.shape[2:], "least" if self.goal.by_size else "best"
        nearest = min([*self.levels.trials.values(), *others], key=self.goal.miss)
        raise TargetError(
            f"no file of {width}x{height} pixels keeps to {self.goal}: the {what} that codec {self.tuner.codec.name!r} "
            f"comes to is {self.goal.said(nearest)}, at quality {nearest.quality:g}"
        )

    def outcome(self, best: Trial) -> Tuned:
        """What is known of the best file, and of the best untuned one."""
        run, untuned = self.run, self.untuned or best
        lmbda = run.lmbda if run is not None else self.lmbda(best.quality)
        sent, before = (replace(c, cost=lmbda * c.loss + c.bpp) for c in (best.candidate, untuned.candidate))
        notes: list[str | None] = [self.room_left()]
        if run is not None:
            slopes = [one.slope for one in run.objectives]
            notes += notes_on_slopes(self.tuner.task, slopes, self.reference, before.x_hat, before.loss)
        steps, diverged = (run.done, run.diverged) if run is not None else (0, False)
        made = run.history.told() if run is not None else ((), ())
        said, seconds = tuple(note for note in notes if note), self.share.budget.spent
        before = sent if best is untuned else before
        figure = self.goal.figure(best)
        weights = weights_in(self.reference)
        tuned = Tuned(sent, before, lmbda, steps, seconds, said, diverged, reached=figure, weights=weights)
        return replace(tuned, history=made[0], checks=made[1])

    def lmbda(self, quality: float) -> float:
        """The weight of the loss for an untuned file."""
        tuner, own = self.tuner, self.weight(quality)
        own = weight_of(tuner.task, tuner.codec, quality) if own is None else own
        if own is None:
            own = calibrate_lmbda(tuner.codec, tuner.task, self.x, self.reference, quality, tuner.tiles)
        return own * tuner.lmbda_scale

    def room_left(self) -> str:
        """A note where even the best quality leaves some of a size unused."""
        best = self.levels.trials.get(("untuned", self.levels.top))
        if not self.goal.by_size or best is None or self.goal.miss(best) > 0:
            return ""
        return (
            f"the size leaves room: at quality {best.quality:g}, the highest of codec {self.tuner.codec.name!r}, "
            f"the file has {best.size} bytes untuned"
        )


def _some(trial: Trial | None) -> list[Trial]:
    return [] if trial is None else [trial]
