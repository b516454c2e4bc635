"""Files that are tried for a goal: written for real, and decoded where somebody asks for their picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from taskodec.coding.singular_values import Travelling
from taskodec.coding.streams import Coded
from taskodec.contracts import Codec, Latents
from taskodec.tuning.candidates import Candidate, Candidates

__all__ = ["Thinned", "Trial", "mixed"]


MOST_VALUES = 2**24
"""Of y whose bits are looked at with a gradient at once: those of five megapixels with `lite`."""


class Trial:
    """One file of an image, of these latents; `judged` if it has been decoded already."""

    def __init__(
        self, candidates: Candidates, name: str, latents: Latents, coded: Coded, judged: Candidate | None = None
    ) -> None:
        self.candidates, self.name, self.latents, self.coded, self._judged = candidates, name, latents, coded, judged
        self._figures: dict[Callable[[Tensor], float], float] = {}

    @classmethod
    def of(cls, candidates: Candidates, name: str, latents: Latents, delta: Travelling | None = None) -> Trial:
        """The file of these latents and changes of singular values, written."""
        with candidates.budget.timed("stream"):
            return cls(candidates, name, latents, candidates.writer.write(latents, delta))

    def of_latents(self, latents: Latents) -> Trial:
        """The file of other latents, all else the same."""
        return self.of(self.candidates, self.name, latents, self.coded.delta)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.coded.stream)

    @property
    def quality(self) -> float:
        """Of the codec."""
        return self.candidates.subject.quality

    @cached_property
    def candidate(self) -> Candidate:
        """The file as it is judged, decoded once."""
        if self._judged is not None:
            return self._judged
        with self.candidates.budget.timed("decoding"):
            return self.candidates.judged(self.name, self.latents, self.coded)

    def figure(self, value: Callable[[Tensor], float]) -> float:
        """A figure of the decoded picture, computed once."""
        if value not in self._figures:
            self._figures[value] = value(self.candidate.x_hat)
        return self._figures[value]


class Thinned:
    """Latents with fewer and fewer bits: each moves one step at most, towards where it costs less.

    One moves the sooner the more bits its step saves, which is what rate-distortion-optimised quantisation does where a
    square error counts the same everywhere.
    """

    def __init__(self, codec: Codec, latents: Latents, quality: float) -> None:
        self.latents = latents
        self.change = torch.cat([_change(codec, band, quality) for band in _bands(latents)], 2)

    def at(self, share: float) -> Latents:
        """What is left at a share from 0, where it is all there."""
        return Latents(self.latents.y - (share * self.change).clamp(-1, 1), self.latents.z)


def _change(codec: Codec, latents: Latents, quality: float) -> Tensor:
    """Of each y, the bits that a step towards where it costs less saves, with the sign to take away."""
    with torch.enable_grad():
        y = latents.y.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(codec.entropy(Latents(y, latents.z), quality, "ste").bits.sum(), y)
    with torch.no_grad():
        now = codec.entropy(latents, quality, "hard")
        moved = codec.entropy(Latents(now.y_hat - slope.sign(), latents.z), quality, "hard")
    before, after = (one.likelihoods.get("y", one.y_hat.new_ones(())) for one in (now, moved))
    saved = (after.log2() - before.log2()).clamp_min(0) if before.shape == y.shape else slope.abs()
    return slope.sign() * saved


def _bands(latents: Latents) -> list[Latents]:
    """The latents from top to bottom, in parts of bounded size: what they hide of each other is little."""
    y, z = latents.y.detach(), None if latents.z is None else latents.z.detach()
    rows = y.shape[2] if z is None else z.shape[2]
    count = min(rows, -(-y.numel() // MOST_VALUES))
    ends = [round(rows * i / count) for i in range(count + 1)]
    down = y.shape[2] // rows
    return [
        Latents(y[:, :, down * top : down * end], None if z is None else z[:, :, top:end])
        for top, end in pairwise(ends)
    ]


def mixed(first: Latents, last: Latents, share: float) -> Latents:
    """Latents at this share of the way from the first ones to the last."""
    z = None if first.z is None or last.z is None else torch.lerp(first.z, last.z, share)
    return Latents(torch.lerp(first.y, last.y, share), z)
