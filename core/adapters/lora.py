"""Low-rank adapters: SVD-LoRA, whose decoder singular values travel in the stream, and plain LoRA.

`W' = W + (alpha / r) U diag(S) Vᵀ` (Park et al., CVPR 2025, section 3). The update is computed beside the
layer by a forward hook, never in the weight: see `taskodec.adapters.lowrank`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from taskodec.adapters.layer_choice import select_layers
from taskodec.adapters.lowrank import Factors, LowRank, make_branch
from taskodec.contracts import Adapter, Codec, Side
from taskodec.errors import UsageError

__all__ = ["LoRA", "LowRankAdapter", "SVDLoRA", "attached", "build_lora", "build_svd_lora", "merged", "select_layers"]

MAX_RANK, MAX_ALPHA = 65536, 1e6

AnyCodec = TypeVar("AnyCodec", bound=Codec)
AnyAdapter = TypeVar("AnyAdapter", bound="LowRankAdapter")


class LowRankAdapter(Adapter):
    """What SVD-LoRA and LoRA share.

    `encoder` and `decoder` map the names of the codec's layers to the layers; only names and shapes are kept.
    Parameters are called `encoder.<layer>.w_lora_U` and so on, with `/` for every `.` in the layer's name,
    because torch allows no dots there. `rank` is clipped per layer to what its weight can have; the scaling
    stays `alpha / rank` with the rank asked for. Raises UsageError for a layer that cannot be adapted.
    """

    singular: ClassVar[bool]
    per_sample = True

    def __init__(
        self,
        encoder: Mapping[str, nn.Module],
        decoder: Mapping[str, nn.Module],
        rank: int = 4,
        alpha: float = 8.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        numbers = _is_whole(rank) and _is_whole(seed) and isinstance(alpha, int | float)
        if not (numbers and 1 <= rank <= MAX_RANK and 0 < alpha <= MAX_ALPHA):
            raise UsageError(
                f"found rank={rank!r}, alpha={alpha!r}, seed={seed!r}; rank must be a whole number from 1 to "
                f"{MAX_RANK}, alpha a number above 0 and at most {MAX_ALPHA:g}, seed a whole number"
            )
        shared = [name for name, layer in decoder.items() if any(layer is other for other in encoder.values())]
        if shared:
            raise UsageError(f"layers {shared} are given for the encoder and the decoder; each may be on one side only")
        if not encoder and not decoder:
            raise UsageError("an adapter needs at least one layer, of the encoder or of the decoder")
        self.rank, self.alpha, self.seed = rank, float(alpha), seed
        self.names: dict[Side, tuple[str, ...]] = {"encoder": tuple(encoder), "decoder": tuple(decoder)}
        for side, layers in (("encoder", encoder), ("decoder", decoder)):
            made = {
                _key(name): make_branch(name, layer, rank, seed, singular=self.singular)
                for name, layer in layers.items()
            }
            self.add_module(side, nn.ModuleDict(made))
        self._handles: list[RemovableHandle] = []
        self._delta_in_use: list[Tensor] = []  # in a list, or torch would register a Parameter given to set_delta
        self._values_in_use: Mapping[str, Tensor] = {}

    @property
    def scaling(self) -> float:
        """The factor before U diag(S) Vᵀ."""
        return self.alpha / self.rank

    def branches(self, side: Side) -> dict[str, LowRank]:
        """The branch of every adapted layer of this side, by the layer's name in the codec."""
        modules = self.get_submodule(side)
        return {name: cast(LowRank, modules.get_submodule(_key(name))) for name in self.names[side]}

    def attach(self, codec: Codec) -> None:
        """Hook every branch beside its layer. UsageError if a layer is missing, or an adapter is attached already."""
        if self._handles:
            raise UsageError("this adapter is attached already; call detach() first")
        if _hooks_of(codec):
            raise UsageError("this codec has an adapter already; detach that one first")
        pairs = [(_find(codec, name, hook.branch), hook) for name, hook in self._hooks()]
        self._handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer, hook in pairs]

    def detach(self) -> None:
        """Remove the hooks; does nothing when not attached."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def adapter_params(self, side: Side) -> list[str]:
        """U, S and V of every layer of this side."""
        return [name for name, _ in self.named_parameters() if name.startswith(f"{side}.")]

    @property
    def delta_groups(self) -> Sequence[int]:
        """The rank of every decoder layer, in order; empty when nothing travels."""
        return tuple(branch.rank for branch in self.branches("decoder").values()) if self.singular else ()

    def set_delta(self, delta: Tensor | None) -> None:
        """Add `delta` to the decoder's singular values from now on; None is zero. UsageError for a wrong shape."""
        if delta is not None and (delta.dim() not in (1, 2) or delta.shape[-1] != sum(self.delta_groups)):
            raise UsageError(f"the delta has shape {tuple(delta.shape)}, needed: ({sum(self.delta_groups)},)")
        self._delta_in_use = [] if delta is None else [delta]

    def set_values(self, values: Mapping[str, Tensor] | None) -> None:
        self._values_in_use = values or {}

    def singular_values(self) -> Tensor:
        """Those of all decoder layers in order, without a delta."""
        own = [b.w_lora_S.detach() for b in self.branches("decoder").values() if b.w_lora_S is not None]
        return torch.cat(own) if own else torch.zeros(0)

    def factors(self, hook: _Hook) -> Factors:
        """The factors in effect for the branch of this hook."""
        own = self._values_in_use
        if hook.name + "_U" in own:
            return Factors(own[hook.name + "_U"], own.get(hook.name + "_S"), own[hook.name + "_V"])
        s: Tensor | None = hook.branch.w_lora_S
        if s is not None and hook.span is not None and self._delta_in_use:
            s = s + self._delta_in_use[0][..., hook.span]
        return hook.branch.factors(s)

    def updates(self) -> dict[str, Tensor]:
        """What the adapter adds to each layer's weight as things stand, by layer name."""
        return {name: hook.branch.update(self.factors(hook).S, self.scaling) for name, hook in self._hooks()}

    def fingerprint(self) -> bytes:
        """4 bytes of SHA-256 over kind, rank, alpha and the decoder's layer names, U, S and V."""
        digest = hashlib.sha256(f"{self.kind}\n{self.rank}\n{self.alpha!r}\n".encode())
        for name, branch in self.branches("decoder").items():
            digest.update(f"{name}\n".encode())
            for factor in (branch.w_lora_U, branch.w_lora_S, branch.w_lora_V):
                if factor is not None:
                    digest.update(factor.detach().float().cpu().numpy().astype("<f4").tobytes())
        return digest.digest()[:4]

    def changes_decoder(self) -> bool:
        """Whether some decoder branch adds anything without a delta."""
        return any(not branch.factors(branch.w_lora_S).is_zero() for branch in self.branches("decoder").values())

    def _hooks(self) -> list[tuple[str, _Hook]]:
        hooks = []
        for name, branch in self.branches("encoder").items():
            hooks.append((name, _Hook(self, branch, f"encoder.{_key(name)}.w_lora", None)))
        start = 0
        for name, branch in self.branches("decoder").items():
            span = slice(start, start + branch.rank)
            hooks.append((name, _Hook(self, branch, f"decoder.{_key(name)}.w_lora", span)))
            start += branch.rank
        return hooks


class SVDLoRA(LowRankAdapter):
    """`W + (alpha / r) U diag(S) Vᵀ`: U and V start from the seed, S at zero; changes of the decoder's S travel."""

    kind = "svd-lora"
    singular = True


class LoRA(LowRankAdapter):
    """`W + (alpha / r) U Vᵀ` (Hu et al. 2021, arXiv:2106.09685): V starts from the seed, U at zero.

    Nothing of it travels, so test-time fine-tuning can use its encoder side only; its decoder side is for
    pre-trained adapters that both ends own.
    """

    kind = "lora"
    singular = False


@dataclass(frozen=True, eq=False)
class _Hook:
    """Adds a branch to the output of the layer it is registered on; `name` is what its parameters' names begin with."""

    adapter: LowRankAdapter
    branch: LowRank
    name: str
    span: slice | None

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        factors = self.adapter.factors(self)
        # a graph that is being compiled always needs the branch
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and factors.trained()) or not factors.is_zero():
            x = args[0] if args else kwargs["input"]
            return output + cast(Tensor, self.branch(layer, x, factors, self.adapter.scaling))
        return output


@contextmanager
def attached(adapter: AnyAdapter, codec: Codec) -> Iterator[AnyAdapter]:
    """Attach for the length of a `with` block."""
    adapter.attach(codec)
    try:
        yield adapter
    finally:
        adapter.detach()


def build_svd_lora(
    codec: Codec,
    rank: int = 4,
    alpha: float = 8.0,
    seed: int = 0,
    *,
    encoder_layers: str | Sequence[str] | None = None,
    decoder_layers: str | Sequence[str] | None = None,
) -> SVDLoRA:
    """An SVD-LoRA for this codec, not attached; layers as in `select_layers`."""
    encoder, decoder = select_layers(codec, "encoder", encoder_layers), select_layers(codec, "decoder", decoder_layers)
    return SVDLoRA(encoder, decoder, rank, alpha, seed)


def build_lora(
    codec: Codec,
    rank: int = 4,
    alpha: float = 8.0,
    seed: int = 0,
    *,
    encoder_layers: str | Sequence[str] | None = None,
    decoder_layers: str | Sequence[str] | None = None,
) -> LoRA:
    """A plain LoRA for this codec, not attached; layers as in `select_layers`."""
    encoder, decoder = select_layers(codec, "encoder", encoder_layers), select_layers(codec, "decoder", decoder_layers)
    return LoRA(encoder, decoder, rank, alpha, seed)


def merged(codec: AnyCodec, adapter: LowRankAdapter) -> AnyCodec:
    """A copy of the codec with the adapter's present updates, delta included, added to its weights.

    The codec itself is left alone, and the copy carries no hooks. Raises UsageError when some other adapter
    is attached to the codec.
    """
    attached_here = [hook.adapter for hook in _hooks_of(codec)]
    if any(other is not adapter for other in attached_here):
        raise UsageError("this codec has another adapter attached; detach that one first")
    if attached_here:
        adapter.detach()
    try:
        result = copy.deepcopy(codec)
    finally:
        if attached_here:
            adapter.attach(codec)
    with torch.no_grad():
        for name, update in adapter.updates().items():
            weight = _find(result, name).get_parameter("weight")
            weight.add_(update.to(weight))
    return result


def _is_whole(value: object) -> bool:
    """Options may come from a stream's metadata, so that their types are not to be trusted."""
    return isinstance(value, int) and not isinstance(value, bool)


def _key(name: str) -> str:
    """A layer's name in a form that torch allows as the name of a module."""
    return name.replace(".", "/")


def _hooks_of(codec: Codec) -> list[_Hook]:
    """All branches, of whatever adapter, that the codec's layers go through."""
    return [hook for layer in codec.modules() for hook in layer._forward_hooks.values() if isinstance(hook, _Hook)]


def _find(codec: Codec, name: str, branch: LowRank | None = None) -> nn.Module:
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
