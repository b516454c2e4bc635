"""Test-time fine-tuning: adapting a codec to one image and one task.

Tuning runs through phases. Each trains some of: the latents y and z themselves; the encoder's adapter (never
sent); the decoder's singular values, whose change travels in the stream (Park et al., CVPR 2025, section 3.3).
What is minimised is the cost of the file: `cost = lmbda * loss + bpp`. After each phase its best state is
written as a real stream and judged on the 8-bit picture a decoder gives; the cheapest stream is kept, and the
untuned one is always among them, so that tuning never makes a file worse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from taskodec.checks import checked_loss
from taskodec.coding import Coded, Delta, StreamWriter
from taskodec.contracts import Adapter, Annealed, Codec, Latents, Rounding, Task
from taskodec.delta import STEPS
from taskodec.delta_rate import laplace_bits, quantize_ste
from taskodec.errors import TaskError, UsageError
from taskodec.images import crop_to, pad_to, to_8bit

if TYPE_CHECKING:
    from taskodec.settings import PhaseSettings

__all__ = ["Candidate", "Tuned", "Tuner", "calibrate_lmbda"]

Progress = Callable[[int, int, dict[str, float]], None]

TUNING_STEP = 6
"""Number in `STEPS` of the step (1/8) that singular values are rounded to while they are tuned."""


CHECK_EVERY = 5
"""After how many steps a phase looks at its state rounded, to keep the best."""

HOT, COLD = 0.5, 0.05
"""Temperatures between which `sga` anneals."""


@dataclass(frozen=True)
class Candidate:
    """A stream that could be sent, with what it truly costs."""

    name: str
    coded: Coded
    x_hat: Tensor
    loss: float
    bpp: float
    cost: float


@dataclass(frozen=True)
class Tuned:
    """The outcome of tuning one image."""

    best: Candidate
    untuned: Candidate
    lmbda: float
    steps: int
    seconds: float


@dataclass
class _Point:
    """Where tuning stands: latents, and the singular values' change before rounding."""

    latents: Latents
    delta: Tensor


class Tuner:
    """Tunes images for one task with one codec and adapter, at one quality.

    `lmbda` overrides the task's weight; a task without one gets `calibrate_lmbda`. The codec is frozen and the
    adapter returns to its state after every image.
    """

    def __init__(
        self,
        codec: Codec,
        adapter: Adapter | None,
        task: Task,
        quality: float,
        *,
        lmbda: float | None = None,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.codec = codec.eval().requires_grad_(False)
        self.adapter, self.task, self.quality = adapter, task, quality
        self.lmbda, self.seed, self.metadata = lmbda, seed, metadata

    def tune(
        self,
        x: Tensor,
        phases: Sequence[PhaseSettings],
        *,
        time_budget: float | None = None,
        progress: Progress | None = None,
    ) -> Tuned:
        """Tune for the image x (1, 3, H, W) in [0, 1]; raises TaskError when the task's loss is unfit."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            run = _Run(self, x, time_budget, progress, sum(p.steps for p in phases))
            if self.adapter is None:
                return run.through(phases)
            before = self.adapter.state()
            self.adapter.attach(self.codec)
            try:
                return run.through(phases)
            finally:
                self.adapter.detach()
                self.adapter.set_delta(None)
                self.adapter.load_state_dict(before)


def calibrate_lmbda(codec: Codec, task: Task, x: Tensor, reference: Any, quality: float) -> float:
    """The weight at which the untuned codec is in balance: the slope of its own rate-loss curve at `quality`.

    With it, going to a neighbouring quality would neither raise nor lower the cost, so the loss of any task, in
    any unit, is weighed as the codec weighs distortion. A codec with one fixed rate has no slope; there the
    loss of the untuned picture gets the weight of its rate.
    """
    first, last = codec.qualities[0], codec.qualities[-1]
    around = (max(first, quality - 0.5), min(last, quality + 0.5)) if codec.continuous else (quality,)
    points = [_rate_and_loss(codec, task, x, reference, q) for q in around]
    if len(points) == 2 and points[1][0] > points[0][0] and points[0][1] > points[1][1]:
        return (points[1][0] - points[0][0]) / (points[0][1] - points[1][1])
    bpp, loss = _rate_and_loss(codec, task, x, reference, quality)
    if loss <= 0:
        raise TaskError(
            f"task {task.name!r}: its loss is {loss:g} before tuning, so no weight can be derived from it; "
            "set task.lmbda"
        )
    return bpp / loss


@torch.no_grad()
def _rate_and_loss(codec: Codec, task: Task, x: Tensor, reference: Any, quality: float) -> tuple[float, float]:
    height, width = x.shape[2:]
    padded = pad_to(x, codec.stride)
    coded = codec.entropy(codec.analysis(padded, quality), quality, "hard")
    x_hat = to_8bit(crop_to(codec.synthesis(coded.y_hat, quality), height, width))
    return float(coded.bits) / (height * width), float(checked_loss(task, x_hat, reference))


class _Run:
    """Tuning of one image."""

    def __init__(
        self, tuner: Tuner, x: Tensor, time_budget: float | None, progress: Progress | None, steps: int
    ) -> None:
        self.started = time.monotonic()
        self.tuner, self.codec, self.adapter, self.task = tuner, tuner.codec, tuner.adapter, tuner.task
        self.quality = tuner.quality
        self.size = (x.shape[2], x.shape[3])
        self.pixels = x.shape[2] * x.shape[3]
        self.padded = pad_to(x, self.codec.stride)
        with torch.no_grad():
            self.reference = self.task.prepare(x)
        self.writer = StreamWriter(self.codec, self.adapter, self.quality, self.size, tuner.metadata)
        lmbda = tuner.lmbda if tuner.lmbda is not None else self.task.lmbda(self.codec, self.quality)
        if lmbda is None:
            lmbda = calibrate_lmbda(self.codec, self.task, x, self.reference, self.quality)
        self.lmbda = lmbda
        self.deadline = self.started + time_budget if time_budget else float("inf")
        self.progress, self.total, self.done = progress, steps, 0

    def through(self, phases: Sequence[PhaseSettings]) -> Tuned:
        """All phases; the cheapest stream of all that came up."""
        groups = self.adapter.delta_groups if self.adapter is not None else ()
        with torch.no_grad():
            point = _Point(self.codec.analysis(self.padded, self.quality), self.padded.new_zeros(sum(groups)))
        untuned = self.candidate("untuned", point.latents, None)
        candidates = [untuned]
        for phase in phases:
            if phase.steps and time.monotonic() < self.deadline:
                point = self.phase(phase, point)
                candidates += self.candidates("+".join(phase.train), point)
        best = min(candidates, key=lambda candidate: candidate.cost)
        return Tuned(best, untuned, self.lmbda, self.done, time.monotonic() - self.started)

    def candidates(self, name: str, point: _Point) -> list[Candidate]:
        """The streams that a tuned state may become: without the delta, and with it at a few steps."""
        found = [self.candidate(name, point.latents, None)]
        for step_index in (TUNING_STEP - 2, TUNING_STEP, TUNING_STEP + 2):
            values = torch.round(point.delta / STEPS[step_index]).int().cpu().numpy()
            if values.any():
                found.append(self.candidate(name, point.latents, Delta(values, step_index)))
        return found

    @torch.no_grad()
    def candidate(self, name: str, latents: Latents, delta: Delta | None) -> Candidate:
        """Write the stream, decode its picture, and say what it costs."""
        coded = self.writer.write(latents, delta)
        if self.adapter is not None:
            self.adapter.set_delta(coded.delta.tensor(coded.y_hat) if coded.delta else None)
        x_hat = to_8bit(crop_to(self.codec.synthesis(coded.y_hat, self.quality), *self.size))
        loss = float(checked_loss(self.task, x_hat, self.reference))
        bpp = 8 * len(coded.stream) / self.pixels
        return Candidate(name, coded, x_hat, loss, bpp, self.lmbda * loss + bpp)

    def phase(self, phase: PhaseSettings, start: _Point) -> _Point:
        """Tune through one phase; returns the cheapest state seen, everything rounded as in the stream."""
        variables = _Variables(self, phase, start)
        best, best_cost = start, self.rounded_cost(start)
        for i in range(phase.steps):
            try:
                loss, bits = self.forward(variables.point(), _rounding(phase, i))
            except FloatingPointError:  # too high a learning rate; what was found before stays
                break
            cost = self.lmbda * loss + bits / self.pixels
            variables.step(cost)
            self.report(loss, bits, cost)
            late = time.monotonic() > self.deadline
            if i % CHECK_EVERY == CHECK_EVERY - 1 or i == phase.steps - 1 or late:
                point = _kept(variables.point())
                if (now := self.rounded_cost(point)) < best_cost:
                    best, best_cost = point, now
            if late:
                break
        return best

    @torch.no_grad()
    def rounded_cost(self, point: _Point) -> float:
        """The estimated cost of a state as it would be sent."""
        try:
            loss, bits = self.forward(point, "hard")
        except FloatingPointError:
            return float("inf")
        return float(self.lmbda * loss + bits / self.pixels)

    def forward(self, point: _Point, rounding: Rounding) -> tuple[Tensor, Tensor]:
        """The task's loss and the bits of the file, both differentiable unless the rounding is hard.

        FloatingPointError when the picture is not finite: tuning has diverged, and the task is not to blame.
        """
        coded = self.codec.entropy(point.latents, self.quality, rounding)
        bits = coded.bits.sum()
        if self.adapter is not None:
            symbols = quantize_ste(point.delta, STEPS[TUNING_STEP])
            if point.delta.requires_grad or bool(symbols.any()):
                bits = bits + laplace_bits(symbols, self.adapter.delta_groups)
                self.adapter.set_delta(symbols * STEPS[TUNING_STEP])
            else:
                self.adapter.set_delta(None)
        x_hat = crop_to(self.codec.synthesis(coded.y_hat, self.quality), *self.size)
        if not bool(torch.isfinite(x_hat).all()):
            raise FloatingPointError("tuning diverged")
        x_hat = x_hat + (x_hat.clamp(0, 1) - x_hat).detach()  # clamped, but with a gradient everywhere
        return checked_loss(self.task, x_hat, self.reference), bits

    def report(self, loss: Tensor, bits: Tensor, cost: Tensor) -> None:
        self.done += 1
        if self.progress is not None:
            figures = {"loss": loss, "bpp": bits / self.pixels, "cost": cost}
            self.progress(self.done, self.total, {k: float(v.detach()) for k, v in figures.items()})


class _Variables:
    """What one phase trains, and its optimiser."""

    def __init__(self, run: _Run, phase: PhaseSettings, start: _Point) -> None:
        self.run, self.start = run, start
        self.encoder = "encoder" in phase.train and run.adapter is not None
        groups: list[dict[str, Any]] = []
        adapter = run.adapter
        if adapter is not None:
            adapter.requires_grad_(False)
            if self.encoder:
                groups.append({"params": adapter.start("encoder"), "lr": phase.lr})
        self.delta = start.delta.clone()
        if "decoder" in phase.train and len(self.delta):
            groups.append({"params": [self.delta.requires_grad_()], "lr": phase.lr})
        self.y, self.z = start.latents.y.clone(), None if start.latents.z is None else start.latents.z.clone()
        if self.encoder:  # the latents are then changes to what the encoder gives
            self.y.zero_()
            self.z = None if self.z is None else self.z.zero_()
        if "latents" in phase.train:
            latents = [v.requires_grad_() for v in (self.y, self.z) if v is not None]
            groups.append({"params": latents, "lr": phase.lr_latents or phase.lr})
        if not groups:
            raise UsageError(f"a phase trains {', '.join(phase.train)}, but this adapter has nothing to train there")
        self.optimizer = torch.optim.Adam(groups)
        self.scheduler = _schedule(self.optimizer, phase)

    def point(self) -> _Point:
        """The state as it is now, with its graph."""
        if not self.encoder:
            return _Point(Latents(self.y, self.z), self.delta)
        made = self.run.codec.analysis(self.run.padded, self.run.quality)
        z = None if made.z is None or self.z is None else made.z + self.z
        return _Point(Latents(made.y + self.y, z), self.delta)

    def step(self, cost: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        cost.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.scheduler.step()


def _schedule(optimizer: torch.optim.Optimizer, phase: PhaseSettings) -> torch.optim.lr_scheduler.LRScheduler:
    schedulers = torch.optim.lr_scheduler
    if phase.schedule == "cosine":
        return schedulers.CosineAnnealingLR(optimizer, phase.steps)
    return schedulers.MultiStepLR(optimizer, list(phase.milestones), phase.gamma)  # no milestones: constant


def _rounding(phase: PhaseSettings, step: int) -> Rounding:
    """How this step rounds; annealing cools geometrically over the phase."""
    if phase.rounding != "sga":
        return phase.rounding
    share = step / max(1, phase.steps - 1)
    return Annealed(HOT * (COLD / HOT) ** share)


def _kept(point: _Point) -> _Point:
    """A copy that later steps do not change."""
    z = point.latents.z
    latents = Latents(point.latents.y.detach().clone(), None if z is None else z.detach().clone())
    return _Point(latents, point.delta.detach().clone())


def steps_of(phases: Sequence[PhaseSettings], total: int | None) -> list[PhaseSettings]:
    """The phases with their steps, milestones included, rescaled to a total; unchanged when it is None."""
    have = sum(p.steps for p in phases)
    if total is None or not have:
        return list(phases)
    ends = np.rint(np.cumsum([p.steps for p in phases]) * total / have).astype(int)
    steps = np.diff(ends, prepend=0)
    return [
        p.model_copy(update={"steps": int(n), "milestones": tuple(round(m * total / have) for m in p.milestones)})
        for p, n in zip(phases, steps, strict=True)
    ]
