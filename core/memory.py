"""What tuning may take of memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from taskodec.errors import ImageError
from taskodec.settings_ttft import PhaseSettings

__all__ = ["check_tunable"]


def check_tunable(x: Tensor, phases: Sequence[PhaseSettings], limit: int) -> None:
    """ImageError for an image (1, 3, H, W) whose tuning could take more memory than there is."""
    pixels = x.shape[2] * x.shape[3]
    if any(phase.steps for phase in phases) and pixels > limit:
        raise ImageError(
            f"the image has {pixels / 1e6:.1f} megapixels, tuning takes up to {limit / 1e6:.1f} "
            "(limits.max_tuning_pixels): send it untuned with --steps 0, make it smaller, or raise the limit if memory "
            "allows (about 2 kB a pixel with lite, 6 with tic)"
        )
