"""Detectors for the task `det`, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from taskodec.errors import UsageError
from taskodec.plugins.yolox import yolox_nano
from taskodec.tasks.detection import Detection, Detector

__all__ = ["load_det", "load_detector"]


def load_det(
    network: str = "yolox_nano",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
    offline: bool = False,
    scale: float | None = None,
) -> Detection:
    """The task `det` with a detector by name.

    `weights` is a local file instead of the published one, `loss` is `features` or `outputs`, `layers` has a weight
    for each level of features, `offline` never downloads, and `scale` is the factor that pictures are scaled by
    instead of the network's own choice.
    """
    return Detection(load_detector(network, weights, offline, scale), "det", loss=loss, layers=layers)


def load_detector(
    name: str, weights: str | Path | None = None, offline: bool = False, scale: float | None = None
) -> Detector:
    """A detector with its weights. UsageError for an unknown name, WeightsError if they cannot be had."""
    if name == "yolox_nano":
        return yolox_nano(weights, offline, scale)
    raise UsageError(f"task 'det' has no network {name!r}; valid: yolox_nano")
