"""What tuning lowers: the cost of an image's file, as a differentiable function of the tuned state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Adapter, Latents, Rounding
from taskodec.tuning.checks import checked_loss, checked_losses
from taskodec.tuning.networks import TuningNetworks
from taskodec.tuning.phases import Point
from taskodec.tuning.slopes import SlopeWatch, watch
from taskodec.tuning.subject import Subject
from taskodec.tuning.task_calls import views_of
from taskodec.tuning.travel import Travel
from taskodec.tuning.units import like
from taskodec.tuning.views import RandomView, random_view

__all__ = ["Estimate", "Objective", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """Of a state that has not been written: the task's loss, the file's bits per pixel, and what is to be lowered.

    That is `lmbda * loss + bpp`, and where a task is shown random views, the share of fidelity.

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
    """What the file of one image, or a patch of it, costs before it is written; `lmbda` may change between steps.

    `views` are the kinds of random views that the task may be shown, of those that it bears; None for none. Otherwise,
    and for a task that bears some, the codec's own trade-off for mean square error counts as well, by the share
    `fidelity`.
    """

    def __init__(
        self,
        subject: Subject,
        travel: Travel | None = None,
        networks: TuningNetworks | None = None,
        views: Collection[str] | None = None,
        fidelity: float = 0.0,
    ) -> None:
        self.subject, self.lmbda = subject, subject.lmbda
        borne = frozenset() if views is None or subject.x is None else views_of(subject.task)
        self.views = borne.intersection(views or ())
        self.fidelity = fidelity * subject.codec.lmbda(subject.quality) * 255**2 if fidelity and borne else 0.0
        self.travel = travel or Travel(subject.adapter)
        self.networks = networks or TuningNetworks(subject.codec, subject.task)
        self._connected = False  # whether the loss was once seen to depend on the picture
        self.slope = SlopeWatch()

    def view(self, seed: int) -> RandomView | None:
        """That of a step, the same for the same seed and size; None if the task is shown the picture itself."""
        if not self.views:
            return None
        return random_view(self.views, seed, self.subject.size, self.subject.task.sees(*self.subject.size))

    def losses(self, x_hat: Tensor, references: Sequence[Any]) -> Tensor:
        """The task's loss of each picture, (B,)."""
        connected, self._connected = self._connected, self._connected or torch.is_grad_enabled()
        with self.networks.judging(x_hat):
            if len(references) == 1:
                return checked_loss(self.subject.task, x_hat, references[0], connected=connected)[None].float()
            return checked_losses(self.subject.task, x_hat, references, connected=connected).float()

    def extra(self, x_hat: Tensor) -> Tensor | float:
        """What the cost of a picture (3, H, W) has beside its loss and its bits, so that its file suits others too."""
        if not self.fidelity or self.subject.x is None:
            return 0.0
        return self.fidelity * F.mse_loss(x_hat, self.subject.x[0])


def estimate(
    objectives: Sequence[Objective],
    points: Sequence[Point],
    rounding: Rounding,
    view: RandomView | None = None,
) -> list[Estimate | None]:
    """What the states of images, or patches, of one size would cost, computed at once; each as if it were alone.

    With a view, the task is shown that of the decoded pictures, and compares with the same of the originals.
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
        seen, references = _shown(x_hat, [subjects[i] for i in sound], first.networks, view)
        watch(seen, [objectives[i].slope for i in sound])
        losses = first.losses(seen, references).unbind()
        bits = coded.bits.unbind()
        for i, loss, picture in zip(sound, losses, x_hat, strict=True):
            bpp = (bits[i] + shared.share * travelling[i][1]) / shared.pixels
            extra = objectives[i].extra(picture)
            found[i] = Estimate(loss, bpp, objectives[i].lmbda * loss + bpp + extra)
    return found


def _shown(
    x_hat: Tensor, subjects: Sequence[Subject], networks: TuningNetworks, view: RandomView | None
) -> tuple[Tensor, list[Any]]:
    """What the task is shown of the pictures (B, 3, H, W), and what it keeps of the originals shown alike."""
    x_hat = x_hat.view_as(x_hat)  # apart from what else the cost needs of it
    if view is None:
        return x_hat, [subject.reference for subject in subjects]
    with networks.judging(x_hat):
        references = [like(one.task, view(one.x), one.reference) for one in subjects if one.x is not None]
    return view(x_hat), references


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
