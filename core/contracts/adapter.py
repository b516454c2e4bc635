"""What an adapter is: low-rank updates of a codec's layers, beside its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from taskodec.contracts.codec import Codec, Side
from taskodec.errors import UsageError
from taskodec.isolation.sharing import alone

__all__ = ["Adapter"]


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
        that adds to outputs only can let them work (`taskodec.isolation.activation.active`). UsageError if the codec
        is in use.
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
