"""One phase of tuning: what is trained, how fast, and how latents are rounded meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from taskodec.contracts import Adapter, Annealed, Latents, Rounding
from taskodec.errors import UsageError
from taskodec.tuning.averages import Averages
from taskodec.tuning.promise import Pull

if TYPE_CHECKING:
    from taskodec.settings.model import PhaseSettings
    from taskodec.tuning.networks import TuningNetworks
    from taskodec.tuning.patches import Area

__all__ = ["Point", "Variables", "encoded", "points", "rate_factor", "rounding_at", "steps_of"]

HOT, COLD = 0.5, 0.05
"""Temperatures between which `sga` anneals."""

CYCLES, LOWEST = 5, 0.01
"""How often `cosine_warmup` begins anew, and the share of the learning rate that it begins with; as published."""


@dataclass(frozen=True)
class Point:
    """Where tuning stands: latents, the singular values' change before rounding, and the adapter's state.

    `encoder` has the values of the adapter's encoder side once a phase has trained them.
    """

    latents: Latents
    delta: Tensor
    encoder: Mapping[str, Tensor] | None = None

    def kept(self) -> Point:
        """A copy that later steps do not change."""
        z = self.latents.z
        latents = Latents(self.latents.y.detach().clone(), None if z is None else z.detach().clone())
        return Point(latents, self.delta.detach().clone(), self.encoder)


class Variables:
    """What a phase trains for one image from a starting point on, and its optimiser.

    Latents are free variables; where the encoder's adapter is trained too, they are changes to what it gives,
    so that the phase begins exactly where the one before ended. UsageError if there is nothing to train.
    """

    def __init__(
        self,
        phase: PhaseSettings,
        start: Point,
        networks: TuningNetworks,
        adapter: Adapter | None,
        x: Tensor,
        quality: float,
    ) -> None:
        self.networks, self.x, self.quality = networks, x, quality
        self.adapter, self.before = adapter, start.encoder
        self.encoder = _encoder_values(adapter, start) if "encoder" in phase.train else {}
        point = start.kept()
        self.y, self.z, self.delta = point.latents.y, point.latents.z, point.delta
        if self.encoder:
            with torch.no_grad():
                made = encoded([self])[0]
                self.y -= made.y
                self.z = None if self.z is None or made.z is None else self.z - made.z
        self.scaled: list[tuple[Tensor, Tensor]] = []
        trained = [(list(self.encoder.values()), phase.lr)]
        if "decoder" in phase.train and len(self.delta):
            trained.append(([self.delta.requires_grad_()], phase.lr))
        if "latents" in phase.train:
            lr = phase.lr_latents or phase.lr
            trained.append(([self.y.requires_grad_()], lr))
            trained.append(([] if self.z is None else [self.z.requires_grad_()], phase.lr_z or lr))
            if phase.latent_steps == "local":
                self.scaled = _scaled(Latents(self.y, self.z), start.latents)
        groups = [{"params": parameters, "lr": lr} for parameters, lr in trained if parameters]
        if not groups:
            raise UsageError(
                f"a phase trains {', '.join(phase.train)}, but the adapter has nothing to train there; train latents, "
                "or choose layers for the adapter"
            )
        self.optimizer = torch.optim.Adam(groups, betas=phase.betas, fused=True)
        self.phase, self.rates = phase, [float(group["lr"]) for group in self.optimizer.param_groups]
        everything = [v for parameters, _ in trained for v in parameters]
        self.averages = Averages(everything, phase.average) if phase.average else None
        self.pull: Pull | None = None

    def hold_decoder(self) -> None:
        """Until `pull` is None again nothing sees how singular values change, and their slope is felt at every step."""
        self.pull = Pull()

    @property
    def change(self) -> Tensor:
        """Of the singular values, as it is seen: nothing while they are held, with a slope all the same."""
        return self.delta if self.pull is None else self.delta - self.delta.detach()

    def kept(self) -> Point:
        """The state as it is now, or its average, as a copy that later steps do not change."""
        if self.averages is None:
            return self.newest()
        with self.averages.applied():
            return self.newest()

    def mark(self, *, newest: bool = False) -> None:
        """What is kept now is the best so far; with `newest` the state of now, with which averages begin anew."""
        if self.averages is not None:
            if newest:
                self.averages.anew()
            self.averages.mark()

    def back(self, *, afresh: bool = False) -> bool:
        """Go on from the best so far in smaller steps; False where the phase does not. `afresh`: Adam begins anew."""
        if self.averages is None or self.phase.backtrack == 1:
            return False
        self.averages.back()
        self.rates = [rate * self.phase.backtrack for rate in self.rates]
        if afresh:
            self.optimizer.state.clear()
        return True

    def without_decoder(self) -> None:
        """The singular values are as the adapter has them, and are not trained from here on."""
        groups = zip(self.optimizer.param_groups, self.rates, strict=True)
        kept = [(group, rate) for group, rate in groups if group["params"][0] is not self.delta]
        self.optimizer.param_groups[:] = [group for group, _ in kept]
        self.rates = [rate for _, rate in kept]
        self.optimizer.state.pop(self.delta, None)
        self.pull = None
        if self.averages is not None:
            self.averages.forget(self.delta)
        self.delta = torch.zeros_like(self.delta, requires_grad=False)

    def newest(self) -> Point:
        """The state as it is now, not averaged, as a copy."""
        with torch.no_grad():
            point = points([self])[0].kept()
        values = {name: value.detach().clone() for name, value in self.encoder.items()}
        return replace(point, encoder=values) if values else point

    def step(self, progress: float) -> None:
        """One optimiser step down the gradient, as fast as the schedule says at this share."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * rate_factor(self.phase, progress)
        if self.pull is not None and self.delta.grad is not None:
            self.pull.felt(self.delta.grad)
        before = [v.detach().clone() for v, _ in self.scaled]
        self.optimizer.step()
        with torch.no_grad():
            for (v, scale), old in zip(self.scaled, before, strict=True):
                v.copy_(torch.lerp(old, v, scale))
        if self.averages is not None:
            self.averages.stepped()


def _scaled(trained: Latents, start: Latents) -> list[tuple[Tensor, Tensor]]:
    """Each of y and z with what its steps are multiplied by: its size at the start, so that what is small stays zero.

    Sizes are root mean squares over 3 x 3 elements of a channel. z moves by them and y by their square roots, which
    is what was found best: see "Steps of the latents" in docs/ttft.md.
    """
    scaled = [(trained.y, _local_size(start.y).sqrt())]
    if trained.z is not None and start.z is not None:
        scaled.append((trained.z, _local_size(start.z)))
    return scaled


def _local_size(v: Tensor) -> Tensor:
    """Root mean squares of (1, C, h, w) around each element, (1, C, h, w); at least 0.01, so that none is stuck."""
    return avg_pool2d(v.detach().square(), 3, stride=1, padding=1, count_include_pad=False).sqrt().clamp_min(0.01)


def points(variables: Sequence[Variables], area: Area | None = None) -> list[Point]:
    """The states of images of one size as they are now, with their graphs; their encoder works once for all.

    With an area, of this patch of each. Gradients of variables add up until they are cleared.
    """
    part = area.variable if area is not None else _all
    latents = [Latents(part(v.y), None if v.z is None else part(v.z)) for v in variables]
    if not variables[0].encoder:
        return [Point(own, v.change, v.before) for own, v in zip(latents, variables, strict=True)]
    found = []
    for v, own, made in zip(variables, latents, encoded(variables, area), strict=True):
        z = None if made.z is None or own.z is None else made.z + own.z
        found.append(Point(Latents(made.y + own.y, z), v.change))
    return found


def _all(v: Tensor) -> Tensor:
    return v


def encoded(variables: Sequence[Variables], area: Area | None = None) -> list[Latents]:
    """What the encoder makes of each image, or of this patch of it, with the values that are trained for it."""
    first = variables[0]
    assert first.adapter is not None
    first.adapter.set_values({name: torch.stack([v.encoder[name] for v in variables]) for name in first.encoder})
    xs = [v.x if area is None else area.of(v.x) for v in variables]
    made = first.networks.analysis(torch.cat(xs), first.quality)
    zs = [None] * len(variables) if made.z is None else torch.split(made.z, 1)
    return [Latents(y, z) for y, z in zip(torch.split(made.y, 1), zs, strict=True)]


def _encoder_values(adapter: Adapter | None, start: Point) -> dict[str, Tensor]:
    """The values of the adapter's encoder side, as the starting point has them, ready to be trained."""
    if adapter is None:
        return {}
    values = start.encoder or dict(adapter.named_parameters())
    return {n: values[n].detach().clone().requires_grad_() for n in adapter.adapter_params("encoder")}


def rounding_at(phase: PhaseSettings, progress: float) -> Rounding:
    """How latents are rounded at this share of the phase; annealing cools geometrically."""
    return Annealed(HOT * (COLD / HOT) ** progress) if phase.rounding == "sga" else phase.rounding


def rate_factor(phase: PhaseSettings, progress: float) -> float:
    """What of the learning rate is left at this share of the phase, from 0 to 1."""
    if phase.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if phase.schedule == "cosine_warmup":
        return _warmed_up(phase.gamma, progress * CYCLES)
    passed = sum(milestone <= progress * phase.steps + 1e-6 for milestone in phase.milestones)
    return float(phase.gamma**passed)  # no milestones: constant


def _warmed_up(gamma: float, cycles: float) -> float:
    """Half a cycle straight up, half a cosine down, to a peak that is `gamma` times that of the cycle before."""
    passed = int(cycles + 1e-6)
    along = 2 * max(0.0, cycles - passed)
    share = along if along < 1 else (1 + math.cos(math.pi * (along - 1))) / 2
    return LOWEST + (gamma**passed - LOWEST) * share


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
