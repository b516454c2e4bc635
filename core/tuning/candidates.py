"""The streams that a tuned state can become, each written for real and judged on the picture that a decoder gives."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskodec.coding.singular_values import Delta, Travelling
from taskodec.coding.streams import Coded, StreamWriter, decoded_picture
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Latents
from taskodec.errors import WeightsError
from taskodec.images.tensors import crop_to, to_8bit
from taskodec.stream.delta import delta_bits
from taskodec.tuning.budget import Budget
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.delta_search import DeltaSearch
from taskodec.tuning.phases import Point
from taskodec.tuning.subject import Subject
from taskodec.tuning.travel import Travel

if TYPE_CHECKING:
    from taskodec.settings.ttft import TTFTSettings

__all__ = ["Candidate", "Candidates"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A stream that could be sent, with what it truly costs; `latents` are those that it was written from."""

    name: str
    coded: Coded = field(repr=False)
    x_hat: Tensor = field(repr=False)
    loss: float
    bpp: float
    cost: float
    latents: Latents = field(repr=False)
    quality: float

    def bare(self) -> Candidate:
        """The same without its latents, for figures and the picture alone: those of large pictures are large."""
        nothing = self.coded.y_hat.new_zeros(0)
        return replace(self, coded=replace(self.coded, y_hat=nothing), latents=Latents(nothing, nothing))


class Candidates:
    """Writes and judges streams of one image; slopes are taken over its `patches`, or of the whole without any.

    Streams take from the budget's time as `stream`, decodings alone as `decoding`.
    """

    def __init__(
        self,
        subject: Subject,
        patches: Sequence[Subject] = (),
        *,
        switches: TTFTSettings,
        budget: Budget,
        metadata: Mapping[str, Any] | None = None,
        tiles: Tiles,
    ) -> None:
        self.subject, self.switches, self.budget, self.tiles = subject, switches, budget, tiles
        self.patches = patches or (subject,)
        self.travel = Travel.by(switches, subject.adapter)
        codec, adapter = subject.codec, subject.adapter
        self.writer = StreamWriter(codec, adapter, subject.quality, subject.size, metadata)

    def one(self, name: str, latents: Latents, delta: Travelling | None = None) -> Candidate:
        """Write the stream, decode its picture, and say what it costs."""
        with self.budget.timed("stream"):
            return self.judged(name, latents, self.writer.write(latents, delta))

    @torch.no_grad()
    def judged(self, name: str, latents: Latents, coded: Coded) -> Candidate:
        """Decode the picture of these latents' stream, and say what it costs."""
        x_hat, loss = self._decoded(coded.y_hat, coded.delta)
        bpp = 8 * len(coded.stream) / self.subject.pixels
        cost = self.subject.lmbda * loss + bpp
        log.info("%s: %d bytes, %.4f bpp, loss %.5g, cost %.5g", name, len(coded.stream), bpp, loss, cost)
        return Candidate(name, coded, x_hat, loss, bpp, cost, latents, self.subject.quality)

    def cheapest(self, name: str, point: Point, decodings: int | None = None) -> Candidate:
        """The cheapest stream that a tuned state can become, with its singular values or, unless told so, without.

        The search for their changes has so many `decodings`, if that is less than the settings allow.
        """
        travelling = self.travel.rounding(point.delta)
        plain = None
        if travelling is None or self.switches.send == "cheapest":
            plain = self.one(name, point.latents)
        if travelling is None or (plain is not None and not self.budget.allows(stream=1)):
            return plain or self.one(name, point.latents)
        if isinstance(travelling, Delta) and self.switches.search:
            y_hat = plain.coded.y_hat if plain else self.writer.write(point.latents, None).y_hat
            travelling = self._search(y_hat, decodings).best(point.delta)
        tuned = self.one(name, point.latents, travelling)
        return tuned if plain is None or tuned.cost < plain.cost else plain

    def _search(self, y_hat: Tensor, decodings: int | None) -> DeltaSearch:
        """For the cheapest changes at these latents; those without changes are not looked at."""
        groups = self.subject.adapter.delta_groups if self.subject.adapter is not None else ()

        def price(delta: Delta) -> float:
            try:
                with self.budget.timed("decoding"), torch.no_grad():
                    loss = self._decoded(y_hat, delta)[1]
            except WeightsError:  # changes that wreck the picture
                return float("inf")
            return self.subject.lmbda * loss + delta_bits(delta.values, groups) / self.subject.pixels

        return DeltaSearch(
            price,
            lambda delta: self._slope(y_hat, delta),
            groups,
            self.subject.pixels,
            self.switches.search,
            min(self.switches.search_decodings, self.switches.search_decodings if decodings is None else decodings),
            lambda decodings: self.budget.allows(stream=1, decoding=decodings),
        )

    def felt(self, coded: Coded) -> Tensor:
        """How the weighted loss of a file grows with each element of its y_hat, (1, M, h, w)."""
        with self.budget.timed("slope"), torch.enable_grad():
            y_hat = coded.y_hat.detach().clone().requires_grad_()
            if self.subject.adapter is not None:
                self.subject.adapter.set_delta(coded.delta.tensor(y_hat) if coded.delta else None)
            return sum((_slope(patch, y_hat, y_hat) for patch in self.patches), start=torch.zeros_like(y_hat))

    def _decoded(self, y_hat: Tensor, delta: Travelling | None) -> tuple[Tensor, float]:
        """The 8-bit picture that a decoder gives, and its loss."""
        if self.subject.adapter is not None:
            self.subject.adapter.set_delta(delta.tensor(y_hat) if delta else None)
        x_hat = to_8bit(decoded_picture(self.subject.codec, y_hat, self.subject.quality, self.subject.size, self.tiles))
        return x_hat, float(checked_loss(self.subject.task, x_hat, self.subject.reference))

    def _slope(self, y_hat: Tensor, delta: Delta) -> npt.NDArray[np.float64]:
        """How the weighted loss grows with each singular value in use."""
        with self.budget.timed("slope"), torch.enable_grad():
            values = delta.tensor(y_hat).requires_grad_()
            if self.subject.adapter is not None:
                self.subject.adapter.set_delta(values)
            slope = sum((_slope(patch, y_hat, values) for patch in self.patches), start=torch.zeros_like(values))
        return slope.double().cpu().numpy()


def _slope(patch: Subject, y_hat: Tensor, values: Tensor) -> Tensor:
    """What a patch has in the slope of the whole in these values, in their shape."""
    y_hat = y_hat if patch.area is None else patch.area.of(y_hat)
    x_hat = crop_to(patch.codec.synthesis(y_hat, patch.quality), *patch.size)
    loss = checked_loss(patch.task, x_hat + (x_hat.clamp(0, 1) - x_hat).detach(), patch.reference)
    (slope,) = torch.autograd.grad(patch.share * patch.lmbda * loss, values)
    return slope
