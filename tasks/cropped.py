"""Crops that a network is trained with, shown at the scale that it sees whole pictures at."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from statistics import median
from typing import TYPE_CHECKING

from taskodec.tasks.views import View

if TYPE_CHECKING:
    from taskodec.tasks.features import FeatureNetwork

__all__ = ["for_crops"]


def for_crops(own: FeatureNetwork, loss: str, sizes: Sequence[tuple[int, int]]) -> FeatureNetwork:
    """A network with the weights of `own` that is shown crops of pictures of these sizes, for a loss.

    It is shown them at the median of the scales that it is shown the pictures at. Scaled to its usual size, as if they
    were pictures, they would show more detail of less than it ever sees. One that takes a single size sees them in the
    middle of it, continued as it continues pictures. It is `own` where that sees crops as it sees pictures.
    """
    if own.sees_crops_alike:
        return own
    looks = own.view
    network = deepcopy(own, {id(value): value for value in (*own.parameters(), *own.buffers())})
    network.unscaled()
    any_size = network.fixed is None or (loss == "features" and network.free_features())
    network.view = View(
        scale=median(own.shown_scale(*size) for size in sizes),
        crop=None if any_size else network.fixed,
        grey=looks.grey,
        interpolation=looks.interpolation,
        antialias=looks.antialias,
        nearest=True,
    )
    return network
