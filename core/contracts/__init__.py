"""What a codec, an adapter and a task are: everything else is written against these."""

from __future__ import annotations

from taskodec.contracts.codec import Adapter, Codec, Side, Task
from taskodec.contracts.latents import Annealed, CodecOutput, Entropy, Latents, Quality, Rounding, total_bits
from taskodec.stream.grids import Tiling

__all__ = [
    "Adapter",
    "Annealed",
    "Codec",
    "CodecOutput",
    "Entropy",
    "Latents",
    "Quality",
    "Rounding",
    "Side",
    "Task",
    "Tiling",
    "total_bits",
]
