"""How the decoder's singular values are treated while they are tuned, so that what is tuned is what will be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskodec.coding.singular_values import Absolute, Delta, Travelling
from taskodec.contracts import Adapter
from taskodec.stream.delta import STEPS
from taskodec.stream.spike_slab import ABSOLUTE_STEP
from taskodec.tuning.delta_rate import laplace_bits, quantize_ste, spike_slab_bits

if TYPE_CHECKING:
    from taskodec.settings.ttft import TTFTSettings

__all__ = ["TUNING_STEP", "Travel"]

TUNING_STEP = 10
"""Number in `STEPS` of the step (1/32) that changes are rounded to while they are tuned.

Fine enough that the first values to leave zero, many at once, do not wreck the picture; coarser and finer
ones are tried when the stream is written.
"""


@dataclass(frozen=True)
class Travel:
    """What an adapter's decoder gets for a change of its singular values, and what that takes in the stream.

    As in `TTFTSettings`: the values are `absolute` or changes; while they are tuned they are `rounded`, and their
    bits `rated`, or not.
    """

    adapter: Adapter | None
    absolute: bool = False
    rated: bool = True
    rounded: bool = True

    @classmethod
    def by(cls, switches: TTFTSettings, adapter: Adapter | None) -> Travel:
        """As the settings say."""
        rounded = switches.adapter_rounding == "ste"
        return cls(adapter, switches.singular_values == "absolute", switches.adapter_rate, rounded)

    @property
    def as_sent(self) -> bool:
        """Whether what is tuned is what would be sent."""
        return self.adapter is None or (self.rated and self.rounded)

    def of(self, delta: Tensor, *, sent: bool = False) -> tuple[Tensor | None, Tensor]:
        """What the decoder gets for a change (n,), None for nothing, and its bits. `sent`: both as in a stream."""
        if self.adapter is None:
            return None, delta.new_zeros(())
        step = ABSOLUTE_STEP if self.absolute else STEPS[TUNING_STEP]
        own = self.adapter.singular_values().to(delta) if self.absolute else torch.zeros_like(delta)
        symbols = quantize_ste(own + delta, step) if self.rounded or sent else (own + delta) / step
        if not delta.requires_grad and not bool(delta.any() if self.absolute else symbols.any()):
            return None, delta.new_zeros(())
        change = symbols * step - own
        if not (self.rated or sent):
            return change, delta.new_zeros(())
        if self.absolute:
            return change, spike_slab_bits(symbols * step, step)
        return change, laplace_bits(symbols, self.adapter.delta_groups)

    def rounding(self, delta: Tensor) -> Travelling | None:
        """What a stream of this change holds, before anything else is tried; None for no change."""
        if self.adapter is None or not bool(delta.any()):
            return None
        if self.absolute:
            return Absolute.of(delta, self.adapter.singular_values())
        return Delta.of(delta, TUNING_STEP)
