"""Low-rank adapters: SVD-LoRA, whose decoder singular values travel in the stream, and plain LoRA.

`W' = W + (alpha / r) U diag(S) Vᵀ` (Park et al., CVPR 2025, section 3). The update is computed beside the
layer by a forward hook, never in the weight: see `taskodec.adapters.lowrank`. Passes with different singular values,
or with none, can go through one codec at the same time: see `taskodec.isolation.activation`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from taskodec.adapters.layer_choice import select_layers
from taskodec.adapters.lora_hooks import Hook, Modulated, Use, find_layer, uses_in
from taskodec.adapters.lowrank import LowRank, make_branch
from taskodec.adapters.modulation import Modulation, build_modulation, modulate
from taskodec.contracts import Adapter, Codec, Side
from taskodec.errors import UsageError
from taskodec.isolation.activation import Branch, active, without_hooks
from taskodec.isolation.sharing import shared

__all__ = ["LoRA", "LowRankAdapter", "SVDLoRA", "attached", "build_lora", "build_svd_lora", "merged", "select_layers"]

MAX_RANK, MAX_ALPHA = 65536, 1e6

AnyCodec = TypeVar("AnyCodec", bound=Codec)
AnyAdapter = TypeVar("AnyAdapter", bound="LowRankAdapter")


class LowRankAdapter(Adapter):
    """What SVD-LoRA and LoRA share.

    `encoder` and `decoder` map the names of the codec's layers to the layers; only names and shapes are kept.
    Parameters are called `encoder.<layer>.w_lora_U` and so on, with `/` for every `.` in the layer's name,
    because torch allows no dots there. `rank` is clipped per layer to what its weight can have; the scaling
    stays `alpha / rank` with the rank asked for. `latents` is the name of the module after which y is modulated, and
    what does that; it is of the encoder, trained on a data set and not for one image. Raises UsageError for a layer
    that cannot be adapted.
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
        latents: tuple[str, Modulation] | None = None,
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
        if not encoder and not decoder and latents is None:
            raise UsageError("an adapter needs at least one layer, of the encoder or of the decoder")
        self.rank, self.alpha, self.seed = rank, float(alpha), seed
        self.names: dict[Side, tuple[str, ...]] = {"encoder": tuple(encoder), "decoder": tuple(decoder)}
        for side, layers in (("encoder", encoder), ("decoder", decoder)):
            made = {
                _key(name): make_branch(name, layer, rank, seed, singular=self.singular)
                for name, layer in layers.items()
            }
            self.add_module(side, nn.ModuleDict(made))
        self.modulated: str = latents[0] if latents else ""
        self.modulation: Modulation | None = latents[1] if latents else None
        self._handles: list[RemovableHandle] = []
        self.for_all = Use()

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
        pairs = self._pairs(codec, self.for_all)
        self._handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer, hook in pairs]

    def detach(self) -> None:
        """Remove the hooks; does nothing when not attached."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @contextmanager
    def applied(self, codec: Codec) -> Iterator[None]:
        """Within, and in this thread or task alone, the codec's layers go through this adapter; others need not wait.

        What is set inside is in effect inside. UsageError as for `attach`.
        """
        use = replace(self.for_all)  # and not what is in effect around this block
        with shared(codec), active(self._pairs(codec, use)):
            token = _USES.set({**_USES.get(), self: use})
            try:
                yield
            finally:
                _USES.reset(token)

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
        self._use.delta = delta

    def set_values(self, values: Mapping[str, Tensor] | None) -> None:
        self._use.values = values or {}

    def singular_values(self) -> Tensor:
        """Those of all decoder layers in order, without a delta."""
        own = [b.w_lora_S.detach() for b in self.branches("decoder").values() if b.w_lora_S is not None]
        return torch.cat(own) if own else torch.zeros(0, dtype=torch.float32)

    def updates(self) -> dict[str, Tensor]:
        """What the adapter adds to each layer's weight as things stand, by layer name."""
        return {name: hook.branch.update(hook.factors().S, self.scaling) for name, hook in self._hooks(self._use)}

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

    @property
    def _use(self) -> Use:
        """What is in effect here: of the pass that is going on, if there is one."""
        return _USES.get().get(self, self.for_all)

    def _pairs(self, codec: Codec, use: Use) -> list[tuple[nn.Module, Branch]]:
        """The codec's layers with what is beside them."""
        if uses_in(codec):
            raise UsageError("this codec has an adapter already; detach that one first")
        pairs: list[tuple[nn.Module, Branch]] = []
        pairs += [(find_layer(codec, name, hook.branch), hook) for name, hook in self._hooks(use)]
        if self.modulation is not None:
            pairs.append((find_layer(codec, self.modulated), Modulated(self.modulation, use)))
        return pairs

    def _hooks(self, use: Use) -> list[tuple[str, Hook]]:
        hooks = []
        for name, branch in self.branches("encoder").items():
            hooks.append((name, Hook(branch, f"encoder.{_key(name)}.w_lora", None, self.scaling, use)))
        start = 0
        for name, branch in self.branches("decoder").items():
            span = slice(start, start + branch.rank)
            hooks.append((name, Hook(branch, f"decoder.{_key(name)}.w_lora", span, self.scaling, use)))
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


_USES: ContextVar[Mapping[LowRankAdapter, Use]] = ContextVar("uses", default=MappingProxyType({}))


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
    modulation: int = 0,
) -> SVDLoRA:
    """An SVD-LoRA for this codec, not attached; see `select_layers` and `build_modulation` for the options."""
    encoder, decoder = select_layers(codec, "encoder", encoder_layers), select_layers(codec, "decoder", decoder_layers)
    return SVDLoRA(encoder, decoder, rank, alpha, seed, build_modulation(codec, modulation, seed))


def build_lora(
    codec: Codec,
    rank: int = 4,
    alpha: float = 8.0,
    seed: int = 0,
    *,
    encoder_layers: str | Sequence[str] | None = None,
    decoder_layers: str | Sequence[str] | None = None,
    modulation: int = 0,
) -> LoRA:
    """A plain LoRA for this codec, not attached; see `select_layers` and `build_modulation` for the options."""
    encoder, decoder = select_layers(codec, "encoder", encoder_layers), select_layers(codec, "decoder", decoder_layers)
    return LoRA(encoder, decoder, rank, alpha, seed, build_modulation(codec, modulation, seed))


def merged(codec: AnyCodec, adapter: LowRankAdapter) -> AnyCodec:
    """A copy of the codec with the adapter's present updates, delta included, added to its weights.

    The codec itself is left alone, and the copy carries no hooks. Raises UsageError when some other adapter
    is attached to the codec.
    """
    attached_here = uses_in(codec)
    if any(use is not adapter.for_all for use in attached_here):
        raise UsageError("this codec has another adapter attached; detach that one first")
    if attached_here:
        adapter.detach()
    try:
        result = copy.deepcopy(codec)
    finally:
        if attached_here:
            adapter.attach(codec)
    without_hooks(result)
    with torch.no_grad():
        for name, update in adapter.updates().items():
            weight = find_layer(result, name).get_parameter("weight")
            weight.add_(update.to(weight))
    if adapter.modulation is not None:
        modulate(result, adapter.modulated, adapter.modulation)
    return result


def _is_whole(value: object) -> bool:
    """Options may come from a stream's metadata, so that their types are not to be trusted."""
    return isinstance(value, int) and not isinstance(value, bool)


def _key(name: str) -> str:
    """A layer's name in a form that torch allows as the name of a module."""
    return name.replace(".", "/")
