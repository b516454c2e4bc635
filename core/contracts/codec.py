"""What a codec, an adapter and a task are: the three contracts everything else is written against.

Data flows one way: `image → analysis → y, z → entropy model → stream → y_hat → synthesis → x_hat → task`.
Images are float tensors (B, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from taskodec.contracts.evaluators import Evaluator, MeanEvaluator
from taskodec.contracts.export_parts import ExportParts
from taskodec.contracts.latents import Annealed, CodecOutput, Entropy, Latents, Quality, Rounding, total_bits
from taskodec.errors import UsageError
from taskodec.isolation.sharing import alone
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.grids import Tiling

__all__ = [
    "Adapter",
    "Annealed",
    "Codec",
    "CodecOutput",
    "Entropy",
    "Latents",
    "Quality",
    "Rounding",
    "Side",
    "Task",
    "Tiling",
    "total_bits",
]

Side = Literal["encoder", "decoder"]


class Codec(nn.Module, ABC):
    """A learned image codec.

    Height and width of every tensor given to it are multiples of `stride`; callers pad and crop
    (`taskodec.images.tensors.pad_to`). Training, tuning, coding and export all go through the five methods
    `analysis`, `entropy`, `synthesis`, `encode`, `decode`.
    """

    name: str
    """The registered name, as it stands in configurations and streams."""
    stride: int
    """Height and width must be multiples of this."""
    qualities: Sequence[float]
    """The levels this instance can code at, ascending; low is a small file."""
    continuous: bool = False
    """Whether any value between the first and the last level is valid too."""
    tiling: Tiling | None = None
    """How `analysis` and `synthesis` of a large picture may be done in tiles (`taskodec.coding.tiles`); None for never."""

    @abstractmethod
    def lmbda(self, quality: float) -> float:
        """The trade-off at this level, for `lmbda * 255**2 * mse + bpp`."""

    @abstractmethod
    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        """g_a and h_a: an image to unquantised latents. Differentiable."""

    @abstractmethod
    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        """Quantise the latents and say how likely every element is. Differentiable unless `hard`."""

    @abstractmethod
    def synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        """g_s: quantised latents to an image, not clamped. Differentiable."""

    @abstractmethod
    def encode(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        """Write the latents of one image; returns exactly the y_hat that `decode` will return."""

    @abstractmethod
    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        """Read y_hat (1, M, h, w) of an image whose padded height and width are `size`."""

    @abstractmethod
    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        """Layers that adapters may act on, by their module name, in forward order.

        The names are those of `named_modules()`. Layers whose output decides how symbols are decoded
        (h_s, context models) must not be among the decoder's. Of a batch, each gets the samples one after the other
        along the first side.
        """

    def adapter_defaults(self, side: Side) -> Sequence[str]:
        """The names out of `adapter_layers` that are adapted when the user chooses none."""
        return tuple(self.adapter_layers(side))

    def coding_networks(self) -> Mapping[str, nn.Module]:
        """The networks in use whose outputs decide how symbols are coded, for checks that runtimes agree on them.

        None by default. They are the ones that `encode` and `decode` call, not copies.
        """
        return {}

    def export_parts(self) -> ExportParts:
        """The decoder in parts, for `taskodec export`; UsageError, which all codecs raise by default, says why not."""
        raise UsageError(
            f"codec {self.name!r} cannot be exported, it has no `export_parts`: decode with taskodec itself"
        )

    def check_quality(self, quality: float) -> float:
        """The level as a float, or a UsageError that says which ones exist."""
        first, last = self.qualities[0], self.qualities[-1]
        if (self.continuous and first <= quality <= last) or quality in self.qualities:
            return float(quality)
        levels = ", ".join(f"{q:g}" for q in self.qualities)
        valid = f"any value from {first:g} to {last:g}" if self.continuous else levels
        raise UsageError(f"quality {quality:g} does not exist for codec {self.name!r}; valid: {valid}")

    def calibrate(self, x: Tensor) -> None:
        """Set data-dependent initial values from training images (B, 3, H, W); nothing by default."""

    def finish(self, x: Tensor) -> None:
        """Set what depends on the final weights from training images (B, 3, H, W); nothing by default."""

    def aux_loss(self) -> Tensor:
        """A loss that only fits the entropy model's own parameters; zero for codecs that have none."""
        return torch.zeros(())

    def forward(self, x: Tensor, quality: Quality, rounding: Rounding = "noise") -> CodecOutput:
        """Analysis, entropy model and synthesis in one differentiable pass.

        Under autocast the entropy model still computes in 32 bits: rates are differences of nearly equal numbers.
        """
        latents = self.analysis(x, quality)
        with torch.autocast(x.device.type, enabled=False):
            latents = Latents(_at_least_32_bits(latents.y), None if latents.z is None else _at_least_32_bits(latents.z))
            coded = self.entropy(latents, quality, rounding)
        return CodecOutput(self.synthesis(coded.y_hat, quality), coded.y_hat, coded.likelihoods)


def _at_least_32_bits(v: Tensor) -> Tensor:
    return v.float() if v.dtype.itemsize < 4 else v


class Adapter(nn.Module, ABC):
    """Low-rank updates of a codec's layers, kept beside the frozen weights and never written into them.

    The delta is the flat vector of numbers that travel in the stream: what the decoder must add to the
    adapter it already owns. It belongs to one image, and is not part of the adapter.
    """

    kind: str
    """The registered name of the method, such as `svd-lora`."""
    per_sample: bool = False
    """Whether the samples of a batch can each have their own delta and values, so that images are tuned together."""

    @abstractmethod
    def attach(self, codec: Codec) -> None:
        """Make the codec's layers go through this adapter, whichever thread calls them."""

    @abstractmethod
    def detach(self) -> None:
        """Leave the codec exactly as it was before `attach`."""

    @contextmanager
    def applied(self, codec: Codec) -> Iterator[None]:
        """Within, the codec's layers go through this adapter in this thread; what is set of it ends with the block.

        All coding and tuning is done inside. By default the adapter is attached meanwhile, and other threads wait; one
        that adds to outputs only can let them work (`taskodec.isolation.activation.active`). UsageError if the codec is in use.
        """
        with alone(self, codec):
            self.attach(codec)
            try:
                yield
            finally:
                self.detach()
                self.set_delta(None)
                self.set_values(None)

    @abstractmethod
    def adapter_params(self, side: Side) -> list[str]:
        """Names (as in `named_parameters()`) of this side's parameters, all trained in pre-training."""

    @property
    @abstractmethod
    def delta_groups(self) -> Sequence[int]:
        """How many travelling numbers each adapted decoder layer has, in order; empty when none travel."""

    @abstractmethod
    def set_delta(self, delta: Tensor | None) -> None:
        """Use this (sum of `delta_groups`,) vector, differentiably, in every following forward; None is zero.

        With `per_sample` it may also be (B, sum of `delta_groups`), a vector for each sample of the next batches.
        """

    def set_values(self, values: Mapping[str, Tensor] | None) -> None:
        """Use these values, differentiably, in place of parameters of these names in every following forward.

        Each is (B, …), an entry for each sample of the next batches; None ends it. Tuning gives the encoder's side its
        values in this way, one sample at a time without `per_sample`. UsageError, which is the default, if it cannot.
        """
        if values:
            raise UsageError(f"adapter {self.kind!r} has no `set_values`, so that its encoder's side cannot be tuned")

    def singular_values(self) -> Tensor:
        """What the delta is added to, (sum of `delta_groups`,); UsageError, which is the default, if it has none."""
        raise UsageError(f"adapter {self.kind!r} has no `singular_values`: only their changes can be sent")

    @abstractmethod
    def fingerprint(self) -> bytes:
        """4 bytes that stand for everything the decoder must own; they do not depend on the delta."""

    def changes_decoder(self) -> bool:
        """Whether the decoder needs this adapter even without a delta: false when its part does nothing yet."""
        return True

    def start(self, side: Side) -> list[nn.Parameter]:
        """Train exactly the parameters of this side; every other one is frozen."""
        names = set(self.adapter_params(side))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in names)
        return [p for n, p in self.named_parameters() if n in names]

    def state(self) -> dict[str, Tensor]:
        """A copy of all parameters and buffers, safe to keep while training goes on."""
        return {name: value.detach().clone() for name, value in self.state_dict().items()}


class Task(ABC):
    """What a decoded picture is for, as a differentiable loss."""

    name: str
    """The registered name."""
    mixed_precision: bool = False
    """Whether its loss may be computed in bfloat16 while images are tuned: networks may, fine differences may not."""

    @abstractmethod
    def prepare(self, x: Tensor) -> Any:
        """What the loss needs to know of the original (1, 3, H, W), and keeps.

        Called once per image, and for each of its patches if it is tuned in patches.
        """

    @abstractmethod
    def loss(self, x_hat: Tensor, reference: Any) -> Tensor:
        """A scalar that falls as the decoded image serves the task better. Differentiable in x_hat."""

    def batch_loss(self, x_hat: Tensor, references: Sequence[Any]) -> Tensor:
        """The losses (B,) of several pictures (B, 3, H, W); those of a network can be had in one pass of it."""
        return torch.stack([self.loss(one[None], own) for one, own in zip(x_hat, references, strict=True)])

    def lmbda(self, codec: Codec, quality: float) -> float | None:
        """Weight of the loss against bits per pixel: the cost is `lmbda * loss + bpp`.

        None lets the tuning engine set it per image, from the slope of the untuned codec's own
        rate-loss curve at this quality, so that any loss of any scale means something.
        """
        return None

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """Figures to report beside the loss, by name; none by default."""
        return {}

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        """What `taskodec eval` judges this task by over a set of images; by default the mean loss, without labels.

        `labels` is a file or folder with what is in the images, in a format of the task's choice. UsageError if it
        has no use for them, or cannot read them.
        """
        if labels is not None:
            raise UsageError(f"task {self.name!r} is judged without labels; leave out {labels}")
        return MeanEvaluator(self, {"task_loss": False})

    def compile(self) -> Task:
        """Compile the task's network for what follows, if it has one."""
        return self

    def to(self, device: torch.device) -> Task:
        """Move the task's network, if it has one."""
        return self
