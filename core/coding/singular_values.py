"""What travels of an adapter: changes of the decoder's singular values, or these values themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskodec.contracts import Adapter
from taskodec.stream.bitstream import Header
from taskodec.stream.delta import LARGEST, STEPS, decode_delta, encode_delta
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.spike_slab import ABSOLUTE_STEP, decode_absolute, encode_absolute

__all__ = ["Absolute", "Delta", "Travelling", "read_travelling"]


@dataclass(frozen=True)
class Delta:
    """Changes, as integers in units of `STEPS[step_index]`."""

    values: npt.NDArray[np.int32]
    step_index: int

    @classmethod
    def of(cls, delta: Tensor, step_index: int) -> Delta:
        """The changes (n,), rounded."""
        steps = torch.round(delta / STEPS[step_index]).clamp(-LARGEST, LARGEST)
        return cls(steps.int().cpu().numpy(), step_index)

    def tensor(self, like: Tensor) -> Tensor:
        """What is added to the decoder's singular values."""
        return torch.from_numpy(self.values).to(like) * STEPS[self.step_index]

    def write(self, groups: Sequence[int], coder: SymbolEncoder) -> None:
        """Code the changes; they must not all be zero."""
        encode_delta(self.values, groups, self.step_index, coder)


@dataclass(frozen=True)
class Absolute:
    """The values themselves, as integers in units of `ABSOLUTE_STEP`; `own` (n,) are those that the decoder has."""

    values: npt.NDArray[np.int32]
    own: Tensor

    @classmethod
    def of(cls, delta: Tensor, own: Tensor) -> Absolute:
        """The values that a change leads to, rounded."""
        steps = torch.round((own.to(delta) + delta) / ABSOLUTE_STEP).clamp(-LARGEST, LARGEST)
        return cls(steps.int().cpu().numpy(), own)

    def tensor(self, like: Tensor) -> Tensor:
        """What is added to the decoder's singular values, up to the last bit as every decoder computes it."""
        return torch.from_numpy(self.values).to(like) * ABSOLUTE_STEP - self.own.to(like)

    def write(self, groups: Sequence[int], coder: SymbolEncoder) -> None:
        """Code the values, layer by layer as they come."""
        encode_absolute(self.values, coder)


Travelling = Delta | Absolute


def read_travelling(header: Header, adapter: Adapter, coder: SymbolDecoder) -> Travelling | None:
    """What a stream with this header, at the start of its payload, holds for this adapter."""
    if not header.has_delta:
        return None
    if header.absolute:
        return Absolute(decode_absolute(sum(adapter.delta_groups), coder), adapter.singular_values())
    values, step = decode_delta(adapter.delta_groups, coder)
    return Delta(values, STEPS.index(step))
