"""What tuning lowers: the cost of an image's file, as a differentiable function of the tuned state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taskodec.contracts import Adapter, Latents, Rounding
from taskodec.tuning.checks import checked_loss, checked_losses
from taskodec.tuning.networks import TuningNetworks
from taskodec.tuning.phases import Point
from taskodec.tuning.slopes import SlopeWatch, watch
from taskodec.tuning.subject import Subject
from taskodec.tuning.travel import Travel

__all__ = ["Estimate", "Objective", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """Of a state that has not been written: the task's loss, the file's bits per pixel, and `lmbda * loss + bpp`.

    Of a patch, bits are counted over its pixels, and those of singular values by its share of the picture: so that the
    picture's estimate is the mean of its patches', weighted by their pixels.
    """

    loss: Tensor
    bpp: Tensor
    cost: Tensor

    @staticmethod
    def mean(estimates: Sequence[Estimate | None], shares: Sequence[float]) -> Estimate | None:
        """That of a picture, from its patches and their shares of it; None if one has diverged."""
        sound = [one for one in estimates if one is not None]
        if len(sound) < len(estimates):
            return None
        each = zip(*((one.loss, one.bpp, one.cost) for one in sound), strict=True)
        return Estimate(*(torch.stack([s * v for s, v in zip(shares, values, strict=True)]).sum() for values in each))

    def detach(self) -> Estimate:
        """The same without its graph."""
        return Estimate(self.loss.detach(), self.bpp.detach(), self.cost.detach())


class Objective:
    """What the file of one image, or a patch of it, costs before it is written; `lmbda` may change between steps."""

    def __init__(self, subject: Subject, travel: Travel | None = None, networks: TuningNetworks | None = None) -> None:
        self.subject, self.lmbda = subject, subject.lmbda
        self.travel = travel or Travel(subject.adapter)
        self.networks = networks or TuningNetworks(subject.codec, subject.task)
        self._connected = False  # whether the loss was once seen to depend on the picture
        self.slope = SlopeWatch()

    def losses(self, x_hat: Tensor, references: Sequence[Any]) -> Tensor:
        """The task's loss of each picture, (B,)."""
        connected, self._connected = self._connected, self._connected or torch.is_grad_enabled()
        with self.networks.judging(x_hat):
            if len(references) == 1:
                return checked_loss(self.subject.task, x_hat, references[0], connected=connected)[None].float()
            return checked_losses(self.subject.task, x_hat, references, connected=connected).float()


def estimate(objectives: Sequence[Objective], points: Sequence[Point], rounding: Rounding) -> list[Estimate | None]:
    """What the states of images, or patches, of one size would cost, computed at once; each as if it were alone.

    Differentiable unless the rounding is hard. None for a picture that is not finite: tuning has diverged there, and
    the task is not to blame. Several images need an adapter that is `per_sample`, if there is one.
    """
    first = objectives[0]
    subjects = [one.subject for one in objectives]
    shared = subjects[0]
    zs = [point.latents.z for point in points if point.latents.z is not None]
    latents = Latents(torch.cat([point.latents.y for point in points]), torch.cat(zs) if zs else None)
    coded = first.networks.entropy(latents, shared.quality, rounding)
    sent = rounding == "hard"
    travelling = [one.travel.of(p.delta, sent=sent) for one, p in zip(objectives, points, strict=True)]
    _use(shared.adapter, points, [change for change, _ in travelling])
    x_hat = first.networks.synthesis(coded.y_hat, shared.quality, shared.size)
    finite = torch.isfinite(x_hat.detach()).flatten(1).all(1).tolist()
    sound = [i for i, fine in enumerate(finite) if fine]
    found: list[Estimate | None] = [None] * len(points)
    if sound:
        x_hat = x_hat if len(sound) == len(points) else x_hat[sound]
        x_hat = x_hat + (x_hat.clamp(0, 1) - x_hat).detach()  # clamped, but with a gradient everywhere
        watch(x_hat, [objectives[i].slope for i in sound])
        losses = first.losses(x_hat, [subjects[i].reference for i in sound]).unbind()
        bits = coded.bits.unbind()
        for i, loss in zip(sound, losses, strict=True):
            bpp = (bits[i] + shared.share * travelling[i][1]) / shared.pixels
            found[i] = Estimate(loss, bpp, objectives[i].lmbda * loss + bpp)
    return found


def _use(adapter: Adapter | None, points: Sequence[Point], deltas: Sequence[Tensor | None]) -> None:
    """Give each sample of the coming batch its delta."""
    if adapter is None:
        return
    if all(delta is None for delta in deltas):
        adapter.set_delta(None)
    elif len(points) == 1:
        adapter.set_delta(deltas[0])
    else:
        rows = [torch.zeros_like(p.delta) if d is None else d for p, d in zip(points, deltas, strict=True)]
        adapter.set_delta(torch.stack(rows))
