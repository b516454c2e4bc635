"""What tuning may take of memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from taskodec.errors import ImageError
from taskodec.settings.ttft import PhaseSettings
from taskodec.tuning.patches import at_once

__all__ = ["check_tunable"]


def check_tunable(x: Tensor, phases: Sequence[PhaseSettings], limit: int, patch: int | None = None) -> None:
    """ImageError for an image (1, 3, H, W) of which a step, over patches of this side, could take too much memory."""
    pixels = at_once((x.shape[2], x.shape[3]), patch)
    if any(phase.steps for phase in phases) and pixels > limit:
        found = "the image has" if patch is None else "a patch (ttft.patch) of the image has up to"
        raise ImageError(
            f"{found} {pixels / 1e6:.2g} megapixels, tuning takes up to {limit / 1e6:.2g} at once "
            "(limits.max_tuning_pixels): tune it in patches with --set ttft.patch=256, send it untuned with --steps 0, "
            "make it smaller, or raise the limit if memory allows (about 2 kB a pixel with lite, 6 with tic)"
        )
