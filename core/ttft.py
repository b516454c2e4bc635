"""Test-time fine-tuning: adapting a codec to one image and one task.

Tuning runs through phases. Each trains some of: the latents y and z themselves; the encoder's adapter (never
sent); the decoder's singular values, whose change travels in the stream (Park et al., CVPR 2025, section 3.3).
What is minimised is the cost of the file: `cost = lmbda * loss + bpp`. After each phase its best state is
written as a real stream and judged on the 8-bit picture a decoder gives; the cheapest stream is kept, and the
untuned one is always among them, and with a trained adapter the codec's own, so that tuning never makes a file worse.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from taskodec.calibration import calibrate_lmbda
from taskodec.checks import checked_loss
from taskodec.coding import Coded, Delta, StreamWriter, decoded_picture
from taskodec.contracts import Adapter, Codec, Latents, Rounding, Task
from taskodec.delta import STEPS
from taskodec.delta_rate import laplace_bits, quantize_ste
from taskodec.images import crop_to, pad_to, to_8bit
from taskodec.phases import Point, Variables, rounding_at
from taskodec.progress import Progress
from taskodec.tiles import WHOLE, Tiles

if TYPE_CHECKING:
    from taskodec.settings import PhaseSettings

__all__ = ["Candidate", "Tuned", "Tuner"]

TUNING_STEP = 10
"""Number in `STEPS` of the step (1/32) that singular values are rounded to while they are tuned.

Fine enough that the first values to leave zero, many at once, do not wreck the picture; coarser and finer
ones are tried when the stream is written.
"""

GATES_TRIED = 8
"""So many layers at most are tried without their change, each for a decoding and a loss."""

CHECK_EVERY = 5
"""After how many steps a phase looks at its state rounded, to keep the best."""


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


class Tuner:
    """Tunes images for one task with one codec and adapter, at one quality.

    `lmbda` overrides the task's weight; a task without one gets `calibrate_lmbda`; `lmbda_scale` multiplies all of
    them. The codec is frozen and the adapter returns to its state after every image. `tiles` is for all that needs no
    gradient.
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
    ) -> None:
        self.codec = codec.eval().requires_grad_(False)
        self.adapter, self.task, self.quality = adapter, task, quality
        self.lmbda, self.lmbda_scale = lmbda, lmbda_scale
        self.seed, self.metadata, self.tiles = seed, metadata, tiles

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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            run = _Run(self, x, time_budget, progress, sum(p.steps for p in phases))
            if self.adapter is None:
                return run.through(phases)
            plain = [run.plain()] if any(p.steps for p in phases) and self.adapter.changes_decoder() else []
            self.adapter.requires_grad_(False)
            before = self.adapter.state()
            self.adapter.attach(self.codec)
            try:
                return run.through(phases, plain)
            finally:
                self.adapter.detach()
                self.adapter.set_delta(None)
                self.adapter.load_state_dict(before)


class _Run:
    """Tuning of one image."""

    def __init__(
        self, tuner: Tuner, x: Tensor, time_budget: float | None, progress: Progress | None, steps: int
    ) -> None:
        self.started = time.monotonic()
        self.codec, self.adapter, self.task = tuner.codec, tuner.adapter, tuner.task
        self.quality = tuner.quality
        self.size = (x.shape[2], x.shape[3])
        self.pixels = x.shape[2] * x.shape[3]
        self.padded = pad_to(x, self.codec.stride)
        with torch.no_grad():
            self.reference = self.task.prepare(x)
        self.writer = StreamWriter(self.codec, self.adapter, self.quality, self.size, tuner.metadata)
        lmbda = tuner.lmbda if tuner.lmbda is not None else self.task.lmbda(self.codec, self.quality)
        if lmbda is None:
            lmbda = calibrate_lmbda(self.codec, self.task, x, self.reference, self.quality, tuner.tiles)
        self.lmbda = lmbda * tuner.lmbda_scale
        full = (self.padded.shape[2], self.padded.shape[3])
        self.tiles = tuner.tiles if steps else tuner.tiles.counted(progress, self.codec, full)
        self.deadline = self.started + time_budget if time_budget else float("inf")
        self.progress, self.total, self.done = progress, steps, 0

    def plain(self) -> Candidate:
        """The codec's own stream, for an adapter that does not suit the image; before the adapter is attached."""
        writer = StreamWriter(self.codec, None, self.quality, self.size)
        with torch.no_grad():
            latents = self.tiles.analysis(self.codec, self.padded, self.quality)
        return self.candidate("plain", latents, None, writer)

    def through(self, phases: Sequence[PhaseSettings], others: Sequence[Candidate] = ()) -> Tuned:
        """All phases; the cheapest stream of all that came up, the others included."""
        groups = self.adapter.delta_groups if self.adapter is not None else ()
        with torch.no_grad():
            point = Point(
                self.tiles.analysis(self.codec, self.padded, self.quality), self.padded.new_zeros(sum(groups))
            )
        untuned = self.candidate("untuned", point.latents, None)
        candidates = [untuned, *others]
        for phase in phases:
            if phase.steps and time.monotonic() < self.deadline:
                point = self.phase(phase, point)
                candidates.append(self.sent("+".join(phase.train), point))
        best = min(candidates, key=lambda candidate: candidate.cost)
        return Tuned(best, untuned, self.lmbda, self.done, time.monotonic() - self.started)

    def sent(self, name: str, point: Point) -> Candidate:
        """The cheapest stream that a tuned state can become.

        It is without the delta, or with it at one of a few steps; then the layers with the weakest changes
        are closed one after the other, where that lowers the cost.
        """
        best = self.candidate(name, point.latents, None)
        for step_index in (TUNING_STEP - 2, TUNING_STEP, TUNING_STEP + 2):
            values = torch.round(point.delta / STEPS[step_index]).int().cpu().numpy()
            if values.any():
                best = _cheaper(best, self.candidate(name, point.latents, Delta(values, step_index)))
        if best.coded.delta is None or self.adapter is None:
            return best
        values, groups = best.coded.delta.values, self.adapter.delta_groups
        layers = [slice(end - size, end) for size, end in zip(groups, accumulate(groups), strict=True)]
        weakest = sorted((layer for layer in layers if values[layer].any()), key=lambda at: int(abs(values[at]).sum()))
        for layer in weakest[:GATES_TRIED]:
            if best.coded.delta is None:  # the last one has been closed
                break
            fewer = best.coded.delta.values.copy()
            fewer[layer] = 0
            delta = Delta(fewer, best.coded.delta.step_index)
            best = _cheaper(best, self.candidate(name, point.latents, delta))
        return best

    @torch.no_grad()
    def candidate(
        self, name: str, latents: Latents, delta: Delta | None, writer: StreamWriter | None = None
    ) -> Candidate:
        """Write the stream, decode its picture, and say what it costs."""
        coded = (writer or self.writer).write(latents, delta)
        if self.adapter is not None:
            self.adapter.set_delta(coded.delta.tensor(coded.y_hat) if coded.delta else None)
        x_hat = to_8bit(decoded_picture(self.codec, coded.y_hat, self.quality, self.size, self.tiles))
        loss = float(checked_loss(self.task, x_hat, self.reference))
        bpp = 8 * len(coded.stream) / self.pixels
        return Candidate(name, coded, x_hat, loss, bpp, self.lmbda * loss + bpp)

    def phase(self, phase: PhaseSettings, start: Point) -> Point:
        """Tune through one phase; returns the cheapest state seen, everything rounded as in the stream."""
        variables = Variables(phase, start, self.codec, self.adapter, self.padded, self.quality)
        best, best_cost = start, self.rounded_cost(start)
        for i in range(phase.steps):
            try:
                loss, bits = self.forward(variables.point(), rounding_at(phase, i))
            except FloatingPointError:  # too high a learning rate; what was found before stays
                break
            cost = self.lmbda * loss + bits / self.pixels
            variables.step(cost)
            self.report(loss, bits, cost)
            late = time.monotonic() > self.deadline
            if i % CHECK_EVERY == CHECK_EVERY - 1 or i == phase.steps - 1 or late:
                point = variables.kept()
                if (now := self.rounded_cost(point)) < best_cost:
                    best, best_cost = point, now
            if late:
                break
        return best

    @torch.no_grad()
    def rounded_cost(self, point: Point) -> float:
        """The estimated cost of a state as it would be sent."""
        try:
            loss, bits = self.forward(point, "hard")
        except FloatingPointError:
            return float("inf")
        return float(self.lmbda * loss + bits / self.pixels)

    def forward(self, point: Point, rounding: Rounding) -> tuple[Tensor, Tensor]:
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


def _cheaper(one: Candidate, other: Candidate) -> Candidate:
    return other if other.cost < one.cost else one
