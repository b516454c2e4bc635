"""`lite` with weights: none yet, the shipped ones, or those of a file, of today's sizes or of those before."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

from torch import Tensor

from taskodec.codecs.checkpoints import load_tensors, read_checkpoint
from taskodec.codecs.lite.codec import LEVELS, Lite
from taskodec.isolation.ambient import in_clean_state

__all__ = ["create_lite", "load_lite"]


@in_clean_state
def create_lite(quality: float = 3.0) -> Lite:
    """`lite` for training, with random weights, which are for all qualities; UsageError for one that it has not."""
    codec = Lite()
    codec.check_quality(quality)
    return codec


@in_clean_state
def load_lite(quality: float = 3.0, checkpoint: str | Path | None = None) -> Lite:
    """`lite` with the shipped weights, or with those of a checkpoint, of today's sizes or of those before.

    A warning says when a checkpoint is of a run that did not end: it then codes in floats.
    """
    if checkpoint is None:
        with as_file(files("taskodec.codecs") / "weights" / "lite.safetensors") as path:
            codec = _filled(path)
        codec.licence = "BSD-3-Clause"
    else:
        codec = _filled(Path(checkpoint))
    codec.check_quality(quality)
    if not bool(codec.ranges.any()):
        warnings.warn(
            f"{checkpoint}: the training of these weights has not ended, so codec 'lite' codes in floats, and another "
            "machine may not decode its streams; end the run with `taskodec train --resume`",
            stacklevel=2,
        )
    return codec.eval()


def _filled(path: Path) -> Lite:
    """`lite` of the sizes that the weights in a file have."""
    found = read_checkpoint(path)
    found.check_format(Lite.weights_format, str(path))
    codec = Lite(**_sizes(found.state))
    load_tensors(codec, found.state, str(path))
    return codec


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """What differs between the weights that were shipped; none for others, which then do not fit today's.

    The largest layers have these sizes too, so that a small file makes no large network.
    """
    sides = {name: tuple(value.shape) for name, value in state.items()}
    levels, M = (*sides.get("gain", ()), 0, 0)[:2]
    C, F = (*sides.get("context.features.weight", ()), 0, 0)[:2]
    stem, N, D = ((*sides.get(f"g_a.net.{number}.weight", ()), 0)[0] for number in (1, 3, 5))
    expected = {
        "gain": (levels, M),
        "g_a.dct.weight": (M, 3, 16, 16),
        "g_a.net.1.weight": (stem, 48, 3, 3),
        "g_a.net.3.weight": (N, stem, 3, 3),
        "g_a.net.5.weight": (D, N, 3, 3),
        "h_s.last.weight": (2 * M, F, 1, 1),
        "context.features.weight": (C, F, 1, 1),
        "context.last.weight": (2 * M, C, 1, 1),
    }
    fit = 2 <= levels <= len(LEVELS) and all(sides.get(name) == shape for name, shape in expected.items())
    sizes = {"M": M, "N": N, "D": D, "stem": stem, "F": F, "C": C, "levels": levels}
    return sizes if fit and N and D and not N % 24 and not D % 20 else {}  # attention has heads of 24 and of 20
