"""How the codec's and the task's networks run while an image is tuned: layout, precision, memory, compilation.

Streams are written and judged by the plain networks in 32 bits, as decoders have them: what is here only decides how
fast, and how exactly, the way there is found.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from taskodec.coding.priors import shared_noise
from taskodec.coding.streams import padded
from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.contracts import Codec, Entropy, JointTask, Latents, Quality, Rounding, Task
from taskodec.images.tensors import crop_to
from taskodec.isolation.checkpointing import checkpointed, computed_twice
from taskodec.tuning.compiling import compile_or_not

if TYPE_CHECKING:
    from taskodec.settings.ttft import TTFTSettings

__all__ = ["TuningNetworks", "checkpointed", "has_bf16"]

CHECKPOINT_PIXELS = 2**20
"""From here on `checkpoint: auto` computes activations twice."""


class TuningNetworks:
    """A codec and a task as tuning uses them.

    `bf16` computes transforms, and the loss of a task that is fit for it (`Task.mixed_precision`), in bfloat16, the
    entropy model never. `checkpoint` keeps the activations between blocks only, and computes those inside a second
    time for the gradient. `compiled` uses `torch.compile` for the synthesis and the task's network. What needs no
    gradient is transformed in `tiles`, and what has one is synthesised in `step_tiles`.
    """

    def __init__(
        self,
        codec: Codec,
        task: Task,
        *,
        bf16: bool = False,
        checkpoint: bool = False,
        compiled: bool = False,
        tiles: Tiles = WHOLE,
        step_tiles: Tiles = WHOLE,
    ) -> None:
        self.codec, self.task, self.tiles, self.step_tiles = codec, task, tiles, step_tiles
        self.bf16, self.checkpoint = bf16, checkpoint
        self._own_synthesis = compile_or_not(codec.synthesis) if compiled else codec.synthesis
        if compiled:
            task.compile()

    @classmethod
    def by(
        cls, switches: TTFTSettings, codec: Codec, task: Task, tiles: Tiles = WHOLE, step_tiles: Tiles = WHOLE
    ) -> TuningNetworks:
        """As the settings say, for the device where the codec is; `checkpoint: auto` is up to `sized`."""
        device = next((value.device for value in codec.parameters()), torch.device("cpu"))
        bf16 = has_bf16(device) if switches.bf16 == "auto" else switches.bf16
        kept = switches.checkpoint is True
        return cls(
            codec, task, bf16=bf16, checkpoint=kept, compiled=switches.compile, tiles=tiles, step_tiles=step_tiles
        )

    def sized(self, pixels: int, switches: TTFTSettings) -> TuningNetworks:
        """The same, compiled once for all, for so many pixels at once."""
        if switches.checkpoint != "auto":
            return self
        other = copy.copy(self)
        other.checkpoint = pixels >= CHECKPOINT_PIXELS and self.step_tiles.limit is None
        return other

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        """`codec.analysis` of (B, 3, H, W), in 32 bits."""
        if torch.is_grad_enabled():
            return self._analysis(x, quality)
        return self.tiles.analysis(self.codec, x, quality, self._analysis)

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        """`codec.entropy`, of which nothing is kept for the gradient where the synthesis is in tiles."""

        def coded() -> Entropy:
            with shared_noise():
                return self.codec.entropy(latents, quality, rounding)

        if self.step_tiles.limit is None or not torch.is_grad_enabled():
            return coded()
        return computed_twice(coded, latents.y.device)

    def synthesis(self, y_hat: Tensor, quality: Quality, size: tuple[int, int]) -> Tensor:
        """`codec.synthesis` of (B, M, h, w), in 32 bits and cropped to height and width."""
        full = (padded(size[0], self.codec.stride), padded(size[1], self.codec.stride))
        if torch.is_grad_enabled():
            tiled = self.step_tiles.differentiable(self.codec, y_hat, quality, full, self._synthesis)
            return crop_to(tiled, *size)
        return crop_to(self.tiles.synthesis(self.codec, y_hat, quality, full, self._synthesis), *size)

    def _analysis(self, x: Tensor, quality: Quality) -> Latents:
        with self._precision(x), self._memory(self.codec):
            made = self.codec.analysis(x.contiguous(memory_format=torch.channels_last), quality)
        return Latents(made.y.float(), None if made.z is None else made.z.float())

    def _synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        with self._precision(y_hat), self._memory(self.codec):
            x_hat = self._own_synthesis(y_hat.contiguous(memory_format=torch.channels_last), quality)
        return x_hat.float()

    @contextmanager
    def judging(self, x_hat: Tensor) -> Iterator[None]:
        """Within, the task's loss of pictures like `x_hat` may be computed."""
        tasks = [part.task for part in self.task.parts] if isinstance(self.task, JointTask) else [self.task]
        networks = [value for task in tasks for value in vars(task).values() if isinstance(value, nn.Module)]
        with self._precision(x_hat, fit=self.task.mixed_precision), self._memory(*networks):
            yield

    def _precision(self, like: Tensor, *, fit: bool = True) -> torch.autocast:
        return torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=self.bf16 and fit)

    @contextmanager
    def _memory(self, *networks: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            if self.checkpoint and torch.is_grad_enabled():
                for network in networks:
                    stack.enter_context(checkpointed(network))
            yield


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16, and does not merely accept it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
