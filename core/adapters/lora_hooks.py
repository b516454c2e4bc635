"""How a branch gets beside its layer: what is called with the layer's output, and what is in effect then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from taskodec.adapters.lowrank import Factors, LowRank
from taskodec.adapters.modulation import Modulation
from taskodec.contracts import Codec
from taskodec.errors import UsageError

__all__ = ["Hook", "Modulated", "Use", "find_layer", "uses_in"]


@dataclass(eq=False)
class Use:
    """What is in effect of an adapter: for all who go through it, or in one pass.

    `delta` is added to the decoder's singular values, `values` are in the place of parameters of these names.
    """

    delta: Tensor | None = None
    values: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Hook:
    """Adds a branch to the output of a layer, as a forward hook or as a `taskodec.isolation.activation.Branch`.

    `name` is what its parameters' names begin with, `span` where its part of the delta is, None on the encoder's side.
    """

    branch: LowRank
    name: str
    span: slice | None
    scaling: float
    use: Use

    def factors(self) -> Factors:
        """The factors in effect."""
        own = self.use.values
        if self.name + "_U" in own:
            return Factors(own[self.name + "_U"], own.get(self.name + "_S"), own[self.name + "_V"])
        s: Tensor | None = self.branch.w_lora_S
        if s is not None and self.span is not None and self.use.delta is not None:
            s = s + self.use.delta[..., self.span]
        return self.branch.factors(s)

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        factors = self.factors()
        # a graph that is being compiled always needs the branch
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and factors.trained()) or not factors.is_zero():
            x = args[0] if args else kwargs["input"]
            return output + cast(Tensor, self.branch(layer, x, factors, self.scaling))
        return output


@dataclass(frozen=True, eq=False)
class Modulated:
    """Lets the output of a module go through a modulation, as a forward hook or as a `Branch`."""

    modulation: Modulation
    use: Use

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        made: Tensor = self.modulation(output)
        return made


def uses_in(codec: Codec) -> list[Use]:
    """What is in effect of all branches, of whatever adapter, that are attached to the codec's layers."""
    hooks = [hook for layer in codec.modules() for hook in layer._forward_hooks.values()]
    return [hook.use for hook in hooks if isinstance(hook, Hook | Modulated)]


def find_layer(codec: Codec, name: str, branch: LowRank | None = None) -> nn.Module:
    """The codec's layer of this name, which must fit the branch; UsageError otherwise."""
    try:
        layer = codec.get_submodule(name)
    except AttributeError:
        raise UsageError(
            f"codec {codec.name!r} has no layer {name!r}; was the adapter built for another codec?"
        ) from None
    if branch is not None and not branch.fits(layer):
        raise UsageError(
            f"layer {name!r} of codec {codec.name!r} is not the {branch.layer_type.__name__} of shape "
            f"{branch.weight_shape} that the adapter was built for"
        )
    return layer
