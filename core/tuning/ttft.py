"""Test-time fine-tuning: adapting a codec to one image and one task.

Tuning runs through phases. Each trains some of: the latents y and z themselves; the encoder's adapter (never
sent); the decoder's singular values, whose change travels in the stream (Park et al., CVPR 2025, section 3.3).
What is minimised is the cost of the file: `cost = lmbda * loss + bpp`. After each phase its best state is
written as a real stream and judged on the 8-bit picture a decoder gives; the cheapest stream is kept, and the
untuned one is always among them, and with a trained adapter the codec's own, so that tuning never makes a file worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from torch import Tensor

from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.console.progress import Progress
from taskodec.contracts import Adapter, Codec, Task
from taskodec.errors import TaskodecError
from taskodec.isolation.activation import inactive
from taskodec.isolation.randomness import Noise
from taskodec.isolation.sharing import shared
from taskodec.settings.ttft import TTFTSettings
from taskodec.tuning.networks import TuningNetworks
from taskodec.tuning.patches import check_side
from taskodec.tuning.run import Run, Share, Tuned
from taskodec.tuning.together import run_together

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings

__all__ = ["Tuned", "Tuner"]


class Tuner:
    """Tunes images for one task with one codec and adapter, at one quality.

    `lmbda` overrides the task's weight; a task without one gets `calibrate_lmbda`; `lmbda_scale` multiplies all of
    them. The codec is frozen and the adapter returns to its state after every image. `tiles` is for all that needs no
    gradient, `step_tiles` for the synthesis in steps. `switches` says how singular values are treated, what is kept and
    what is sent, and whether steps see patches; its phases and budgets are not looked at. With `starts`, where there
    are no steps, places to begin are compared, at the codec's lowest quality too. UsageError for patches that the codec
    cannot have.
    """

    def __init__(
        self,
        codec: Codec,
        adapter: Adapter | None,
        task: Task,
        quality: float,
        *,
        lmbda: float | None = None,
        lmbda_scale: float = 1.0,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
        tiles: Tiles = WHOLE,
        step_tiles: Tiles = WHOLE,
        switches: TTFTSettings | None = None,
        starts: bool = False,
    ) -> None:
        self.codec = codec.eval().requires_grad_(False)
        self.adapter, self.task, self.quality = adapter, task, quality
        self.lmbda, self.lmbda_scale = lmbda, lmbda_scale
        self.seed, self.metadata, self.tiles, self.step_tiles = seed, metadata, tiles, step_tiles
        self.starts = starts
        self.draws: dict[str, bool] = {}
        self._making = Lock()
        self.switches = switches or TTFTSettings()
        check_side(self.switches.patch, codec)

    def at(self, quality: float, lmbda: float | None) -> Tuner:
        """The same for another quality of the codec, with the weight there."""
        other = copy(self)
        other.quality, other.lmbda = quality, lmbda
        other._making, other._networks = Lock(), self.networks
        return other

    @cached_property
    def _networks(self) -> TuningNetworks:
        return TuningNetworks.by(self.switches, self.codec, self.task, self.tiles, self.step_tiles)

    @property
    def networks(self) -> TuningNetworks:
        """How codec and task run while images are tuned; made, and compiled, once for all threads."""
        with self._making:
            return self._networks

    def tune(
        self,
        x: Tensor,
        phases: Sequence[PhaseSettings],
        *,
        time_budget: float | None = None,
        progress: Progress | None = None,
    ) -> Tuned:
        """Tune for the image x (1, 3, H, W) in [0, 1]; raises TaskError when the task's loss is unfit.

        `progress` is told of every step, or, where there are none, of every tile.
        """
        (outcome,) = self.tune_many([x], phases, time_budget=time_budget, progress=progress)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def tune_many(
        self,
        xs: Sequence[Tensor],
        phases: Sequence[PhaseSettings],
        *,
        time_budget: float | None = None,
        progress: Progress | None = None,
    ) -> list[Tuned | Exception]:
        """Tune for images (1, 3, H, W) of one size in one pass: for each its outcome, or the error that ended it.

        Each has its own latents, singular values and encoder's adapter, and becomes what it would become alone, but for
        rounding. `time_budget` is for each of them, `progress` told of the steps of all. An adapter that is not
        `per_sample` has them tuned one after the other.
        """
        try:
            if len(xs) == 1 or self.adapter is None or self.adapter.per_sample:
                return self._pass(xs, phases, Share(time_budget, progress, sum(p.steps for p in phases), len(xs)))
        except TaskodecError as error:  # before the first step
            if len(xs) == 1:
                return [error]
        return [one for x in xs for one in self.tune_many([x], phases, time_budget=time_budget, progress=progress)]

    def _pass(self, xs: Sequence[Tensor], phases: Sequence[PhaseSettings], share: Share) -> list[Tuned | Exception]:
        adapter = self.adapter
        with inactive():
            with shared(self.codec), Noise(self.seed, self.draws).used():
                runs = [Run(self, x, share) for x in xs]
                compared = share.steps > 0 and self.switches.send == "cheapest"
                compared = compared and adapter is not None and adapter.changes_decoder()
                plain = [[run.plain()] if compared else [] for run in runs]
            with shared(self.codec) if adapter is None else adapter.requires_grad_(False).applied(self.codec):
                tunings = [run.through(phases, p) for run, p in zip(runs, plain, strict=True)]
                return run_together(tunings, self.seed, self.draws)
