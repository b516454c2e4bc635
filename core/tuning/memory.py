"""What tuning may take of memory: how a picture is tuned that is too large for steps to see it whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from taskodec.contracts import Codec, Task
from taskodec.errors import ImageError
from taskodec.settings.ttft import PhaseSettings, TTFTSettings
from taskodec.tuning.patches import at_once

__all__ = ["WHOLE_WAY", "Way", "way_of"]

PATCH, SMALLEST_PATCH = 512, 256
"""Pixels a side of patches, if nobody says, and where the limit leaves less."""

TILE = 2**20
"""Pixels that a step transforms at once, margins included, where the task sees the picture as a whole."""

WORK, FEWEST = 2**26, 4
"""Pixels that all steps together go through, if nobody says how many steps, and how few there are at least."""

REDUCED = 8
"""By how much fewer pixels a task sees where steps are not worth their time: what is saved lies in where they begin."""


@dataclass(frozen=True)
class Way:
    """How one picture is tuned.

    Whole without any field; else steps see `patch` pixels a side one after the other, or the whole through the
    transforms in tiles of `tile` pixels. `steps` are all its steps, None for as many as the phases have; `starts` says
    that there are none, and what is looked for is where to begin. `note` says it to the user.
    """

    patch: int | None = None
    tile: int | None = None
    steps: int | None = None
    note: str = ""
    starts: bool = False

    def switches(self, given: TTFTSettings) -> TTFTSettings:
        """The settings for this picture: bits of singular values, which are searched for, are nothing in large ones."""
        return given if self == WHOLE_WAY else given.model_copy(update={"patch": self.patch, "search": ()})


WHOLE_WAY = Way()
"""As the settings say."""


def way_of(
    size: tuple[int, int],
    phases: Sequence[PhaseSettings],
    switches: TTFTSettings,
    limit: int,
    task: Task,
    codec: Codec,
) -> Way:
    """How a picture of this height and width is tuned when a step may see `limit` pixels at once.

    ImageError where the task or the codec leaves no way but more memory.
    """
    steps = sum(phase.steps for phase in phases)
    pixels = at_once(size, switches.patch)
    if not steps or pixels <= limit:
        return WHOLE_WAY
    if switches.patch is not None:
        raise ImageError(f"a patch (ttft.patch) of the image has up to {_mega(pixels)}, {_remedy(limit)}")
    seen = task.sees(*size)
    patch = min(PATCH, math.isqrt(limit)) // codec.stride * codec.stride
    if seen is None and patch >= SMALLEST_PATCH:
        return _with_steps(size, steps, switches, Way(patch=patch), f"steps see patches of {patch}x{patch} pixels")
    if seen is not None and seen[0] * seen[1] > limit:
        raise ImageError(
            f"the network of task {task.name!r} sees {seen[0]}x{seen[1]} pixels of the image, {_remedy(limit)}, or "
            "have it see less (task.options.input)"
        )
    trained = {part for phase in phases if phase.steps for part in phase.train}
    if seen is None or codec.tiling is None or "encoder" in trained:
        raise ImageError(f"the image has {_mega(pixels)}, {_remedy(limit)}")
    about = f"the task sees {seen[0]}x{seen[1]} pixels of it"
    tile = Way(tile=min(TILE, limit))
    if switches.start == "seen" and seen[0] * seen[1] * REDUCED <= size[0] * size[1] and _unasked(switches):
        said = f"the image has {_mega(size[0] * size[1])}: {about}, so it is coded as they show it, without steps"
        return replace(tile, steps=0, note=f"{said} (--steps {steps} for those)", starts=True)
    return _with_steps(size, steps, switches, tile, f"{about}, steps go through tiles of it")


def _with_steps(size: tuple[int, int], steps: int, switches: TTFTSettings, way: Way, about: str) -> Way:
    """With fewer steps for a picture of this size, unless the user has said how much work it is worth."""
    pixels = size[0] * size[1]
    note = f"the image has {_mega(pixels)}: {about}"
    if not _unasked(switches):
        return Way(way.patch, way.tile, None, note)
    fewer = min(steps, max(FEWEST, WORK // pixels))
    said = f"{note}, and there are {fewer} of them, not {steps} (--steps {steps} for all)"
    return Way(way.patch, way.tile, fewer, said if fewer < steps else note)


def _unasked(switches: TTFTSettings) -> bool:
    """Whether nobody has said how much work a picture is worth."""
    return switches.steps is None and switches.time_budget is None


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:.2g} megapixels"


def _remedy(limit: int) -> str:
    return (
        f"tuning takes up to {limit / 1e6:.2g} megapixels at once (limits.max_tuning_pixels): tune it in patches with "
        "--set ttft.patch=256, send it untuned with --steps 0, make it smaller, or raise the limit if memory allows "
        "(about 2 kB a pixel with lite, 6 with tic)"
    )
