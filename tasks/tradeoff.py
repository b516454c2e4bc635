"""From a codec's own trade-off to a task's: tables of published pairs, and what lies between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["weight_at"]


def weight_at(lmbda: float, table: Mapping[float, float]) -> float:
    """The task's weight for a codec whose mean-square-error trade-off is `lmbda`.

    `table` maps such trade-offs, ascending, to weights. Between them the weight follows a power law, and the
    outer two pairs are continued beyond the ends.
    """
    pairs = list(table.items())
    segments = list(pairwise(pairs))
    (low, first), (high, last) = next((s for s in segments if lmbda <= s[1][0]), segments[-1])
    position = math.log(lmbda / low) / math.log(high / low)
    return first * math.exp(position * math.log(last / first))
