"""Tuning of one image: through its phases, each from the best state of the one before."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskodec.console.progress import Progress
from taskodec.contracts import Latents
from taskodec.images.tensors import pad_to
from taskodec.tuning.budget import Budget
from taskodec.tuning.calibration import calibrate_lmbda
from taskodec.tuning.candidates import Candidate, Candidates
from taskodec.tuning.history import Check, History, Step
from taskodec.tuning.objective import Estimate, Objective
from taskodec.tuning.pace import CHECK_EVERY, LOOKS, STREAMS, Pace
from taskodec.tuning.patches import at_once
from taskodec.tuning.phases import Point, Variables, rounding_at
from taskodec.tuning.promise import asked, drifts, least_gain, worth_searching
from taskodec.tuning.subject import Subject
from taskodec.tuning.task_calls import seen_by, weight_of
from taskodec.tuning.together import Look, Slope, Tuning
from taskodec.tuning.travel import Travel
from taskodec.tuning.trend import Trend
from taskodec.tuning.units import notes_on_slopes, prepared_in_units, weights_in

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings
    from taskodec.tuning.ttft import Tuner

__all__ = ["Run", "Share", "Tuned"]

log = logging.getLogger(__name__)

Looked = tuple[Point, Estimate | None]
"""A state, and what it would be as it would be sent."""


@dataclass(frozen=True)
class Tuned:
    """The outcome of tuning one image: `diverged` if a step left the finite numbers, and `tried`, the least tuned cost.

    `history` has its steps, `checks` what states were as they would be sent. `reached` is what the file has of what it
    was to keep to: bytes, the loss, or the figure. `weights` are those of a joint task's parts.
    """

    best: Candidate
    untuned: Candidate
    lmbda: float
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()
    diverged: bool = False
    tried: float = float("inf")
    history: tuple[Step, ...] = field(default=(), repr=False)
    checks: tuple[Check, ...] = field(default=(), repr=False)
    reached: float | None = None
    weights: tuple[float, ...] = ()


class Share:
    """What the images of a pass have in common: their time, and the count of their steps."""

    def __init__(self, time_budget: float | None, progress: Progress | None, steps: int, images: int) -> None:
        self.budget = Budget(time_budget, images=images)
        self.steps, self.images, self.progress, self.done = steps, images, progress, 0

    def report(self, estimate: Estimate | None, best: float) -> None:
        """An image has made a step, None where it came to nothing; `best` is the least cost of a rounded state."""
        self.done += 1
        if self.progress is not None:
            figures = {name: float(value.detach()) for name, value in vars(estimate).items()} if estimate else {}
            figures["best"] = best
            self.progress(self.done, self.steps * self.images, figures)


class Run:
    """Tuning of one image."""

    steady = True
    """Whether the loss weighs the same throughout, so that costs of steps can be compared."""

    def __init__(self, tuner: Tuner, x: Tensor, share: Share, reference: Any = None) -> None:
        self.budget, self.switches = share.budget, tuner.switches
        self.codec, self.adapter, self.task = tuner.codec, tuner.adapter, tuner.task
        self.quality = tuner.quality
        size = (x.shape[2], x.shape[3])
        self.padded = pad_to(x, self.codec.stride)
        if reference is None:
            reference = prepared_in_units(tuner.task, self.codec, x, self.quality, tuner.tiles)
        compared = share.steps > 0 or tuner.starts
        shown = seen_by(tuner.task, x) if compared and tuner.switches.start == "seen" else None
        self.shown = None if shown is None else pad_to(shown, self.codec.stride)
        lmbda = tuner.lmbda if tuner.lmbda is not None else weight_of(tuner.task, self.codec, self.quality)
        if lmbda is None:
            lmbda = calibrate_lmbda(self.codec, tuner.task, x, reference, self.quality, tuner.tiles)
        self.lmbda = lmbda * tuner.lmbda_scale
        full = (self.padded.shape[2], self.padded.shape[3])
        qualities = {self.quality, min(self.quality, self.codec.qualities[0])} if tuner.starts else {self.quality}
        times = 1 if shown is None else 1 + len(qualities)
        self.tiles = tuner.tiles if share.steps else tuner.tiles.counted(share.progress, self.codec, full, times=times)
        subject = Subject(self.codec, self.adapter, tuner.task, self.quality, size, reference, self.lmbda, x=x)
        patches = subject.in_patches(x, self.switches.patch if share.steps else None)
        pixels = at_once(full, self.switches.patch) * share.images
        self.networks = tuner.networks.sized(pixels, self.switches)
        travel = Travel.by(self.switches, self.adapter)
        views, fidelity = self.switches.seen_views, self.switches.fidelity
        objective = partial(Objective, travel=travel, networks=self.networks, views=views, fidelity=fidelity)
        self.objective, self.objectives = objective(subject), [objective(patch) for patch in patches]
        self.history = History(travel)
        write = partial(Candidates, switches=self.switches, budget=self.budget, tiles=self.tiles)
        self.candidates = write(subject, patches, metadata=tuner.metadata)
        levels = [replace(subject, quality=quality) for quality in qualities if quality != self.quality]
        self.lower = [write(level, metadata=tuner.metadata) for level in levels]
        self.without = write(replace(subject, adapter=None))
        self.share, self.done, self.planned, self.diverged = share, 0, 0, False

    def plain(self) -> Candidate:
        """The codec's own stream, for an adapter that does not suit the image; before the adapter is applied."""
        return self.without.one("plain", self.analysis())

    @torch.no_grad()
    def analysis(self) -> Latents:
        return self.tiles.analysis(self.codec, self.padded, self.quality)

    def through(self, phases: Sequence[PhaseSettings], others: Sequence[Candidate] = ()) -> Tuning[Tuned]:
        """All phases; the cheapest stream of all that came up, the others included."""
        groups = self.adapter.delta_groups if self.adapter is not None else ()
        point = Point(self.analysis(), self.padded.new_zeros(sum(groups)))
        untuned = self.candidates.one("untuned", point.latents)
        best = min([untuned, *others], key=_cost)
        if self.shown is not None and self.budget.allows(stream=1):
            shown, self.shown, start = self.shown, None, untuned.cost
            for seen in self.seen(shown):
                if seen.cost < start:
                    point, best, start = replace(point, latents=seen.latents), min([best, seen], key=_cost), seen.cost
                    untuned = untuned if self.share.steps else untuned.bare()
        tried = float("inf")
        for phase in phases:
            if phase.steps and self.budget.allows(check=LOOKS, step=1, stream=STREAMS):
                point = yield from self.phase(phase, point)
                tuned = self.candidates.cheapest("+".join(phase.train), point, worth_searching(phase))
                tried = min(tried, tuned.cost)
                best = tuned if self.switches.send == "tuned" else min([best, tuned], key=_cost)
        slopes, whole = [one.slope for one in self.objectives], self.objective.subject.reference
        notes = notes_on_slopes(self.task, slopes, whole, untuned.x_hat, untuned.loss)
        seconds = self.budget.spent / self.share.images
        return Tuned(
            best,
            untuned,
            self.lmbda,
            self.done,
            seconds,
            notes,
            self.diverged,
            tried,
            *self.history.told(),
            weights=weights_in(whole),
        )

    def seen(self, shown: Tensor) -> Iterator[Candidate]:
        """The stream of what the task is shown, one after the other, for large ones are hardly held at once.

        Where no steps follow that would find coarser latents, at the codec's lowest quality too, judged with the weight
        of the one that is asked for.
        """
        for each in (self.candidates, *self.lower):
            yield each.one("seen", self.tiles.analysis(self.codec, shown, each.subject.quality))

    def phase(self, phase: PhaseSettings, start: Point) -> Tuning[Point]:
        """Tune through one phase; returns the cheapest state seen, everything rounded as in the stream, or the last."""
        variables = Variables(phase, start, self.networks, self.adapter, self.padded, self.quality)
        last, trend = self.switches.keep == "last", Trend(CHECK_EVERY)
        best, best_look = start, (yield from self.rounded(start))
        self.planned += phase.steps
        pace = Pace(phase, self.budget, self.planned / self.share.steps, self.switches.min_gain_per_second)
        pace.reached(self.price(best_look))
        # Then a step's cost is already that of the file at the point where it begins.
        known = phase.rounding == "ste" and self.objective.travel.as_sent and not (phase.average or variables.encoder)
        known = known and len(self.objectives) == 1 and not self.objectives[0].views
        unsure = phase.decoder == "auto" and len(phase.train) > 1 and variables.delta.requires_grad and not last
        if unsure and self.objective.views and not bool(start.delta.any()):
            variables.hold_decoder()
        while not pace.over:
            try:
                with self.budget.timed("step"):
                    estimate = yield Slope(self.objectives, variables, rounding_at(phase, pace.progress), self.done)
            except FloatingPointError:  # too high a learning rate; what was found before stays
                self.diverged = True
                self.history.note("+".join(phase.train), None, variables.change)
                if not variables.back(afresh=True):
                    break
                trend.clear()
                self.stepped(pace, None, self.price(best_look))
                continue
            if known and not last and self.price(estimate) < self.price(best_look):
                best, best_look = variables.kept(), estimate
            self.history.note("+".join(phase.train), estimate, variables.change)
            trend.stepped(estimate.cost)
            variables.step(pace.progress)
            self.stepped(pace, estimate, self.price(best_look))
            if pace.over or (pace.at_check and not last and not known):
                best, best_look = yield from self.checked(variables, trend, (best, best_look))
            if variables.pull is not None and variables.pull.over:
                unsure = self.let_go(variables)
            if unsure and asked(pace):
                unsure = False
                if (bare := (yield from self.cheaper_bare(best, best_look, pace))) is not None:
                    best, best_look = bare
                    variables.without_decoder()
            if pace.at_check and not last:
                pace.reached(self.price(best_look))
        return best

    def checked(self, variables: Variables, trend: Trend, best: Looked) -> Tuning[Looked]:
        """The best state, after a look at that of now; where it is clearly dearer, and steps do not gain, they go back.

        Where latents have far to go, an average lags behind, so the newest state is looked at as well.
        """
        last, newest = self.switches.keep == "last", False
        point = variables.kept()
        look = yield from self.rounded(point)
        if self.steady and variables.averages is not None and not last:
            ahead = variables.newest()
            found = yield from self.rounded(ahead)
            if self.price(found) < self.price(look):
                point, look, newest = ahead, found, True
        if self.price(look) < self.price(best[1]) or (last and look is not None):
            variables.mark(newest=newest)
            return point, look
        if not last and not self.goes_on(trend, look, best[1]):
            variables.back(afresh=look is None)
            trend.clear()
        return best

    def goes_on(self, trend: Trend, look: Estimate | None, best: Estimate | None) -> bool:
        """Whether a look that is dearer than the best is no reason to go back: steps gain, or it is so by chance.

        What chance does shows in the costs of steps, unless they scatter by random views, which looks do not see.
        """
        if look is None or not self.steady:
            return False
        dearer = self.price(look) - self.price(best)
        return trend.falling or (not self.objective.views and dearer < trend.error)

    def let_go(self, variables: Variables) -> bool:
        """From here on singular values are seen, or, where their slopes differ by chance, never; which of the two."""
        assert variables.pull is not None
        drawn = variables.pull.drawn
        log.debug("slopes of singular values agree by %.2f", variables.pull.agreement)
        if drawn:
            variables.pull = None
        else:
            variables.without_decoder()
        return drawn

    def cheaper_bare(self, best: Point, look: Estimate | None, pace: Pace) -> Tuning[tuple[Point, Estimate] | None]:
        """The best state without changes of the singular values, if they neither pay by now nor promise to."""
        if not pace.over and drifts(best.delta):
            return None
        bare = replace(best, delta=torch.zeros_like(best.delta))
        try:
            with self.budget.timed("check"):
                alone = yield Look(self.objective, bare)
        except FloatingPointError:
            return None
        return None if self.price(alone) > (1 + least_gain(pace)) * self.price(look) else (bare, alone)

    def stepped(self, pace: Pace, estimate: Estimate | None, best: float) -> None:
        """A step has been made, or, without an estimate, come to nothing."""
        pace.stepped()
        self.done += 1
        self.share.report(estimate, best)

    def rounded(self, point: Point) -> Tuning[Estimate | None]:
        """What a state would be as it would be sent; None where tuning has diverged."""
        try:
            with self.budget.timed("check"):
                look = yield Look(self.objective, point)
                self.history.looked(look)
                return look
        except FloatingPointError:
            return None

    def price(self, look: Estimate | None) -> float:
        """What states are compared by: the lower, the better."""
        return float("inf") if look is None else float(look.cost)


def _cost(candidate: Candidate) -> float:
    return candidate.cost
