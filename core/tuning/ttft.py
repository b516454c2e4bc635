"""Test-time fine-tuning: adapting a codec to one image and one task.

Tuning runs through phases. Each trains some of: the latents y and z themselves; the encoder's adapter (never
sent); the decoder's singular values, whose change travels in the stream (Park et al., CVPR 2025, section 3.3).
What is minimised is the cost of the file: `cost = lmbda * loss + bpp`. After each phase its best state is
written as a real stream and judged on the 8-bit picture a decoder gives; the cheapest stream is kept, and the
untuned one is always among them, and with a trained adapter the codec's own, so that tuning never makes a file worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskodec.coding.streams import codec_fingerprint
from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.console.progress import Progress
from taskodec.contracts import Adapter, Codec, Latents, Task
from taskodec.errors import TaskodecError
from taskodec.images.tensors import pad_to
from taskodec.isolation.activation import inactive
from taskodec.isolation.randomness import Noise
from taskodec.isolation.sharing import shared
from taskodec.settings.ttft import TTFTSettings
from taskodec.tuning.budget import Budget
from taskodec.tuning.calibration import calibrate_lmbda
from taskodec.tuning.candidates import Candidate, Candidates
from taskodec.tuning.history import Check, History, Step
from taskodec.tuning.networks import TuningNetworks
from taskodec.tuning.objective import Estimate, Objective
from taskodec.tuning.pace import STREAMS, Pace
from taskodec.tuning.patches import at_once, check_side
from taskodec.tuning.phases import Point, Variables, rounding_at
from taskodec.tuning.slopes import no_slope
from taskodec.tuning.subject import Subject
from taskodec.tuning.task_calls import prepared, seen_by, weight_of
from taskodec.tuning.together import Look, Slope, Tuning, run_together
from taskodec.tuning.travel import Travel

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings

__all__ = ["Tuned", "Tuner"]


@dataclass(frozen=True)
class Tuned:
    """The outcome of tuning one image; `diverged` if a step left the finite numbers. `history` has its steps."""

    best: Candidate
    untuned: Candidate
    lmbda: float
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()
    diverged: bool = False
    history: tuple[Step, ...] = field(default=(), repr=False)
    checks: tuple[Check, ...] = field(default=(), repr=False)


class Tuner:
    """Tunes images for one task with one codec and adapter, at one quality.

    `lmbda` overrides the task's weight; a task without one gets `calibrate_lmbda`; `lmbda_scale` multiplies all of
    them. The codec is frozen and the adapter returns to its state after every image. `tiles` is for all that needs no
    gradient, `step_tiles` for the synthesis in steps. `switches` says how singular values are treated, what is kept and
    what is sent, and whether steps see patches; its phases and budgets are not looked at. UsageError for patches that
    the codec cannot have.
    """

    def __init__(
        self,
        codec: Codec,
        adapter: Adapter | None,
        task: Task,
        quality: float,
        *,
        lmbda: float | None = None,
        lmbda_scale: float = 1.0,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
        tiles: Tiles = WHOLE,
        step_tiles: Tiles = WHOLE,
        switches: TTFTSettings | None = None,
    ) -> None:
        self.codec = codec.eval().requires_grad_(False)
        self.adapter, self.task, self.quality = adapter, task, quality
        self.lmbda, self.lmbda_scale = lmbda, lmbda_scale
        self.seed, self.metadata, self.tiles, self.step_tiles = seed, metadata, tiles, step_tiles
        self._draws: dict[str, bool] = {}
        self._making = Lock()
        self.switches = switches or TTFTSettings()
        check_side(self.switches.patch, codec)

    @cached_property
    def fingerprint(self) -> bytes:
        """The codec's, whose weights do not change while this tuner is used."""
        return codec_fingerprint(self.codec)

    @cached_property
    def _networks(self) -> TuningNetworks:
        return TuningNetworks.by(self.switches, self.codec, self.task, self.tiles, self.step_tiles)

    @property
    def networks(self) -> TuningNetworks:
        """How codec and task run while images are tuned; made, and compiled, once for all threads."""
        with self._making:
            return self._networks

    def tune(
        self,
        x: Tensor,
        phases: Sequence[PhaseSettings],
        *,
        time_budget: float | None = None,
        progress: Progress | None = None,
    ) -> Tuned:
        """Tune for the image x (1, 3, H, W) in [0, 1]; raises TaskError when the task's loss is unfit.

        `progress` is told of every step, or, where there are none, of every tile.
        """
        (outcome,) = self.tune_many([x], phases, time_budget=time_budget, progress=progress)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def tune_many(
        self,
        xs: Sequence[Tensor],
        phases: Sequence[PhaseSettings],
        *,
        time_budget: float | None = None,
        progress: Progress | None = None,
    ) -> list[Tuned | Exception]:
        """Tune for images (1, 3, H, W) of one size in one pass: for each its outcome, or the error that ended it.

        Each has its own latents, singular values and encoder's adapter, and becomes what it would become alone, but for
        rounding. `time_budget` is for each of them, `progress` told of the steps of all. An adapter that is not
        `per_sample` has them tuned one after the other.
        """
        try:
            if len(xs) == 1 or self.adapter is None or self.adapter.per_sample:
                return self._pass(xs, phases, _Share(time_budget, progress, sum(p.steps for p in phases), len(xs)))
        except TaskodecError as error:  # before the first step
            if len(xs) == 1:
                return [error]
        return [one for x in xs for one in self.tune_many([x], phases, time_budget=time_budget, progress=progress)]

    def _pass(self, xs: Sequence[Tensor], phases: Sequence[PhaseSettings], share: _Share) -> list[Tuned | Exception]:
        adapter = self.adapter
        with inactive():
            with shared(self.codec), Noise(self.seed, self._draws).used():
                runs = [_Run(self, x, share) for x in xs]
                compared = share.steps > 0 and self.switches.send == "cheapest"
                compared = compared and adapter is not None and adapter.changes_decoder()
                plain = [[run.plain()] if compared else [] for run in runs]
            with shared(self.codec) if adapter is None else adapter.requires_grad_(False).applied(self.codec):
                tunings = [run.through(phases, p) for run, p in zip(runs, plain, strict=True)]
                return run_together(tunings, self.seed, self._draws)


class _Share:
    """What the images of a pass have in common: their time, and the count of their steps."""

    def __init__(self, time_budget: float | None, progress: Progress | None, steps: int, images: int) -> None:
        self.budget = Budget(time_budget, images=images)
        self.steps, self.images, self.progress, self.done = steps, images, progress, 0

    def report(self, estimate: Estimate | None) -> None:
        """An image has made a step; None where it came to nothing."""
        self.done += 1
        if self.progress is not None:
            figures = {name: float(value.detach()) for name, value in vars(estimate).items()} if estimate else {}
            self.progress(self.done, self.steps * self.images, figures)


class _Run:
    """Tuning of one image."""

    def __init__(self, tuner: Tuner, x: Tensor, share: _Share) -> None:
        self.budget, self.switches = share.budget, tuner.switches
        self.codec, self.adapter, self.task = tuner.codec, tuner.adapter, tuner.task
        self.quality = tuner.quality
        size = (x.shape[2], x.shape[3])
        self.padded = pad_to(x, self.codec.stride)
        reference = prepared(tuner.task, x)
        shown = seen_by(tuner.task, x) if share.steps and tuner.switches.start == "seen" else None
        self.shown = None if shown is None else pad_to(shown, self.codec.stride)
        lmbda = tuner.lmbda if tuner.lmbda is not None else weight_of(tuner.task, self.codec, self.quality)
        if lmbda is None:
            lmbda = calibrate_lmbda(self.codec, tuner.task, x, reference, self.quality, tuner.tiles)
        self.lmbda = lmbda * tuner.lmbda_scale
        full = (self.padded.shape[2], self.padded.shape[3])
        self.tiles = tuner.tiles if share.steps else tuner.tiles.counted(share.progress, self.codec, full)
        subject = Subject(self.codec, self.adapter, tuner.task, self.quality, size, reference, self.lmbda)
        patches = subject.in_patches(x, self.switches.patch if share.steps else None)
        pixels = at_once(full, self.switches.patch) * share.images
        self.networks = tuner.networks.sized(pixels, self.switches)
        travel = Travel.by(self.switches, self.adapter)
        self.objective = Objective(subject, travel, self.networks)
        self.history = History(travel)
        self.objectives = [Objective(patch, travel, self.networks) for patch in patches]
        known = tuner.fingerprint
        write = partial(Candidates, switches=self.switches, budget=self.budget, tiles=self.tiles, fingerprint=known)
        self.candidates = write(subject, patches, metadata=tuner.metadata)
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
        if self.shown is not None and any(phase.steps for phase in phases) and self.budget.allows(stream=1):
            latents = self.tiles.analysis(self.codec, self.shown, self.quality)
            seen, self.shown = self.candidates.one("seen", latents), None
            if seen.cost < untuned.cost:
                point, best = replace(point, latents=latents), min([best, seen], key=_cost)
        for phase in phases:
            if phase.steps and self.budget.allows(check=2, step=1, stream=STREAMS):
                point = yield from self.phase(phase, point)
                tuned = self.candidates.cheapest("+".join(phase.train), point)
                best = tuned if self.switches.send == "tuned" else min([best, tuned], key=_cost)
        note = no_slope(self.task.name, [one.slope for one in self.objectives], untuned.loss)
        seconds = self.budget.spent / self.share.images
        notes = (note,) if note else ()
        return Tuned(best, untuned, self.lmbda, self.done, seconds, notes, self.diverged, *self.history.told())

    def phase(self, phase: PhaseSettings, start: Point) -> Tuning[Point]:
        """Tune through one phase; returns the cheapest state seen, everything rounded as in the stream, or the last."""
        variables = Variables(phase, start, self.networks, self.adapter, self.padded, self.quality)
        last = self.switches.keep == "last"
        best, best_cost = start, (yield from self.rounded(start))
        self.planned += phase.steps
        pace = Pace(phase, self.budget, self.planned / self.share.steps, self.switches.min_gain_per_second)
        pace.reached(best_cost)
        # Then a step's cost is already that of the file at the point where it begins.
        known = phase.rounding == "ste" and self.objective.travel.as_sent and not (phase.average or variables.encoder)
        known = known and len(self.objectives) == 1
        while not pace.over:
            try:
                with self.budget.timed("step"):
                    estimate = yield Slope(self.objectives, variables, rounding_at(phase, pace.progress), self.done)
            except FloatingPointError:  # too high a learning rate; what was found before stays
                self.diverged = True
                self.history.note("+".join(phase.train), None, variables.delta)
                if not variables.back(afresh=True):
                    break
                self.stepped(pace, None)
                continue
            if known and not last and (cost := float(estimate.cost.detach())) < best_cost:
                best, best_cost = variables.kept(), cost
            self.history.note("+".join(phase.train), estimate, variables.delta)
            variables.step(pace.progress)
            self.stepped(pace, estimate)
            if pace.over or (pace.at_check and not last and not known):
                point = variables.kept()
                cost = yield from self.rounded(point)
                if cost < best_cost or (last and cost < float("inf")):
                    best, best_cost = point, cost
                    variables.mark()
                elif not last:
                    variables.back(afresh=cost == float("inf"))
            if pace.at_check and not last:
                pace.reached(best_cost)
        return best

    def stepped(self, pace: Pace, estimate: Estimate | None) -> None:
        """A step has been made, or, without an estimate, come to nothing."""
        pace.stepped()
        self.done += 1
        self.share.report(estimate)

    def rounded(self, point: Point) -> Tuning[float]:
        """The cost of a state as it would be sent; infinite where tuning has diverged."""
        try:
            with self.budget.timed("check"):
                return self.history.looked((yield Look(self.objective, point)))
        except FloatingPointError:
            return float("inf")


def _cost(candidate: Candidate) -> float:
    return candidate.cost
