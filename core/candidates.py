"""The streams that a tuned state can become, each written for real and judged on the picture that a decoder gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from taskodec.checks import checked_loss
from taskodec.coding import Coded, Delta, StreamWriter, decoded_picture
from taskodec.contracts import Adapter, Codec, Latents, Task
from taskodec.delta import STEPS
from taskodec.images import to_8bit
from taskodec.objective import TUNING_STEP
from taskodec.phases import Point
from taskodec.tiles import Tiles

__all__ = ["Candidate", "Candidates"]

GATES_TRIED = 8
"""So many layers at most are tried without their change, each for a decoding and a loss."""


@dataclass(frozen=True)
class Candidate:
    """A stream that could be sent, with what it truly costs."""

    name: str
    coded: Coded
    x_hat: Tensor
    loss: float
    bpp: float
    cost: float


class Candidates:
    """Writes and judges streams of one image of `size` (height, width); `adapter` is attached, or None."""

    def __init__(
        self,
        codec: Codec,
        adapter: Adapter | None,
        task: Task,
        quality: float,
        size: tuple[int, int],
        reference: Any,
        lmbda: float,
        *,
        metadata: Mapping[str, Any] | None = None,
        tiles: Tiles,
    ) -> None:
        self.codec, self.adapter, self.task = codec, adapter, task
        self.quality, self.size = quality, size
        self.reference, self.lmbda, self.tiles = reference, lmbda, tiles
        self.writer = StreamWriter(codec, adapter, quality, size, metadata)

    @torch.no_grad()
    def one(self, name: str, latents: Latents, delta: Delta | None = None) -> Candidate:
        """Write the stream, decode its picture, and say what it costs."""
        coded = self.writer.write(latents, delta)
        if self.adapter is not None:
            self.adapter.set_delta(coded.delta.tensor(coded.y_hat) if coded.delta else None)
        x_hat = to_8bit(decoded_picture(self.codec, coded.y_hat, self.quality, self.size, self.tiles))
        loss = float(checked_loss(self.task, x_hat, self.reference))
        bpp = 8 * len(coded.stream) / (self.size[0] * self.size[1])
        return Candidate(name, coded, x_hat, loss, bpp, self.lmbda * loss + bpp)

    def cheapest(self, name: str, point: Point) -> Candidate:
        """The cheapest stream that a tuned state can become.

        It is without the delta, or with it at one of a few steps; then the layers with the weakest changes
        are closed one after the other, where that lowers the cost.
        """
        best = self.one(name, point.latents)
        for step_index in (TUNING_STEP - 2, TUNING_STEP, TUNING_STEP + 2):
            values = torch.round(point.delta / STEPS[step_index]).int().cpu().numpy()
            if values.any():
                best = _cheaper(best, self.one(name, point.latents, Delta(values, step_index)))
        return self._fewer_layers(best, point.latents)

    def _fewer_layers(self, best: Candidate, latents: Latents) -> Candidate:
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
            best = _cheaper(best, self.one(best.name, latents, Delta(fewer, best.coded.delta.step_index)))
        return best


def _cheaper(one: Candidate, other: Candidate) -> Candidate:
    return other if other.cost < one.cost else one
