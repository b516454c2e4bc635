"""Crops that a network is trained with, shown at the scale that it sees whole pictures at."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from statistics import median
from typing import TYPE_CHECKING

from taskodec.tasks.views import View

if TYPE_CHECKING:
    from taskodec.tasks.features import FeatureNetwork

__all__ = ["for_crops"]


def for_crops(own: FeatureNetwork, name: str, loss: str, sizes: Sequence[tuple[int, int]]) -> FeatureNetwork:
    """A network with the weights of `own` that is shown crops of pictures of these sizes, for a loss of a task.

    It is shown them at the median of the scales that it is shown the pictures at, and nothing is cut off. Scaled to the
    network's usual size, as if they were pictures, they would show more detail of less than it ever sees. It is `own`
    where pictures are seen at their own size, and, with a warning, where a network takes one size only.
    """
    scale = median(own.scale(*size) for size in sizes)
    if getattr(own, "feature_scale", None) is not None or (own.view.seen is None and scale == 1):
        return own
    network = deepcopy(own, {id(value): value for value in (*own.parameters(), *own.buffers())})
    if network.fixed is not None and not (loss == "features" and network.free_features()):
        height, width = network.fixed
        warnings.warn(
            f"task {name!r}: its network takes {height}x{width} pixels only, and so sees crops larger than whole "
            "pictures; compare features (loss: features), or take larger crops",
            stacklevel=2,
        )
        return own
    network.unscaled()
    looks = own.view
    network.view = View(
        scale=scale, grey=looks.grey, interpolation=looks.interpolation, antialias=looks.antialias, nearest=True
    )
    return network
