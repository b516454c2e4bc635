"""What a plugin's loaders give, checked where it is loaded, so that nothing of it goes wrong far from the plugin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from taskodec.console.terminal import shown
from taskodec.contracts import Adapter, Codec, EarlierWeights, Entropy, Latents, Task
from taskodec.errors import PluginError, TaskodecError
from taskodec.isolation.faults import described
from taskodec.stream.bitstream import MAX_QUALITY
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.grids import Tiling

if TYPE_CHECKING:
    from taskodec.contracts import Side

__all__ = ["check_adapter", "check_codec", "check_task_object", "try_codec"]

MAX_STRIDE = 1024
SMALL = 64
"""Pixels of a side of the picture that a codec is tried on, or its stride if that is larger."""

SIDES: tuple[Side, Side] = ("encoder", "decoder")


def check_codec(codec: object, name: str, owner: str) -> Codec:
    """The codec of this name; a PluginError unless its attributes are what `taskodec.Codec` says."""
    who = f"{owner}: codec {name!r}"
    if not isinstance(codec, Codec):
        raise PluginError(f"{who}: its loader returned {shown(codec)}, expected a taskodec.Codec")
    with _blamed(who):
        _require(codec.name == name, who, f"its name is {shown(codec.name)}, expected that of its spec, {name!r}")
        stride, tiling = codec.stride, codec.tiling
        _require(
            _is_whole(stride) and 1 <= stride <= MAX_STRIDE,
            who,
            f"its stride is {shown(stride)}, expected a whole number from 1 to {MAX_STRIDE}",
        )
        _require(
            _are_qualities(codec.qualities),
            who,
            f"its qualities are {shown(codec.qualities)}, expected ascending numbers from 0 to {MAX_QUALITY}",
        )
        _require(isinstance(codec.continuous, bool), who, f"continuous is {shown(codec.continuous)}")
        _require(
            tiling is None or _is_tiling(tiling, stride),
            who,
            f"its tiling is {tiling}, expected None or a Tiling whose align is a multiple of the stride {stride}",
        )
        _require(
            isinstance(codec.earlier, Mapping)
            and all(isinstance(one, EarlierWeights) for one in codec.earlier.values()),
            who,
            f"its earlier weights are {shown(codec.earlier)}, expected EarlierWeights by fingerprints",
        )
        for side in SIDES:
            _check_layers(codec, side, who)
    return codec


def check_adapter(adapter: object, name: str, owner: str) -> Adapter:
    """The adapter; a PluginError unless its attributes are what `taskodec.Adapter` says."""
    who = f"{owner}: adapter {name!r}"
    if not isinstance(adapter, Adapter):
        raise PluginError(f"{who}: it was built as {shown(adapter)}, expected a taskodec.Adapter")
    with _blamed(who):
        _require(isinstance(adapter.kind, str), who, f"its kind is {shown(adapter.kind)}, expected text")
        groups = adapter.delta_groups
        _require(
            _is_sequence(groups) and all(_is_whole(size) and size >= 1 for size in groups),
            who,
            f"its delta_groups are {shown(groups)}, expected whole numbers from 1 on",
        )
        own = {parameter for parameter, _ in adapter.named_parameters()}
        for side in SIDES:
            names = adapter.adapter_params(side)
            _require(
                _is_sequence(names) and own.issuperset(names),
                who,
                f"its adapter_params of the {side} are {shown(names)}, expected names of its parameters",
            )
        mark = adapter.fingerprint()
        _require(isinstance(mark, bytes) and len(mark) == 4, who, f"its fingerprint is {shown(mark)}, expected 4 bytes")
    return adapter


def check_task_object(task: object, what: str) -> Task:
    """The task; a PluginError, which begins with `what`, unless it is a `taskodec.Task` with a name."""
    if not isinstance(task, Task):
        raise PluginError(f"{what}: its loader returned {shown(task)}, expected a taskodec.Task")
    with _blamed(what):
        _require(isinstance(task.name, str) and bool(task.name), what, f"its name is {shown(task.name)}, expected text")
    return task


@torch.no_grad()
def try_codec(codec: Codec, quality: float, owner: str) -> None:
    """Code a small picture; a PluginError says which method gives what it should not."""
    who = f"{owner}: codec {codec.name!r}"
    side = codec.stride * -(-SMALL // codec.stride)
    x = torch.linspace(0, 1, 3 * side * side).reshape(1, 3, side, side)  # (3 s s,) -> (1, 3, s, s)
    with _blamed(who):
        latents = codec.analysis(x, quality)
        _require(
            isinstance(latents, Latents) and _is_batch(latents.y) and (latents.z is None or _is_batch(latents.z)),
            who,
            f"analysis of (1, 3, {side}, {side}) gives {_about(latents)}, expected Latents of (1, M, h, w)",
        )
        _check_latents_layer(codec, x, quality, who)
        coded = codec.entropy(latents, quality, "hard")
        _require(
            isinstance(coded, Entropy)
            and _is_batch(coded.y_hat)
            and isinstance(coded.likelihoods, Mapping)
            and all(isinstance(value, Tensor) for value in coded.likelihoods.values()),
            who,
            f"entropy gives {_about(coded)}, expected an Entropy with y_hat (1, M, h, w) and likelihoods",
        )
        x_hat = codec.synthesis(coded.y_hat, quality)
        _require(
            isinstance(x_hat, Tensor) and x_hat.shape == x.shape,
            who,
            f"synthesis gives {_about(x_hat)}, expected a picture (1, 3, {side}, {side})",
        )
        coder = SymbolEncoder()
        written = codec.encode(latents, quality, coder)
        read = codec.decode((side, side), quality, SymbolDecoder(coder.getvalue()))
        _require(
            isinstance(written, Tensor) and isinstance(read, Tensor) and torch.equal(written, read),
            who,
            f"decode gives {_about(read)}, which is not what encode returned, {_about(written)}",
        )


def _check_latents_layer(codec: Codec, x: Tensor, quality: float, who: str) -> None:
    """The output of the codec's `latents_layer`, if it has one, is the y that analysis gives."""
    name: object = codec.latents_layer
    if name is None:
        return
    layer = dict(codec.named_modules()).get(name) if isinstance(name, str) else None
    if layer is None:
        raise PluginError(f"{who}: its latents_layer is {shown(name)}, expected the name of a module of it, or None")
    seen: list[Any] = []
    handle = layer.register_forward_hook(lambda _layer, _args, output: seen.append(output))
    try:
        latents = codec.analysis(x, quality)
    finally:
        handle.remove()
    fits = len(seen) == 1 and seen[0] is latents.y
    _require(fits, who, f"the output of its latents_layer {name!r} is not the y that analysis gives")


@contextmanager
def _blamed(who: str) -> Iterator[None]:
    """PluginError for whatever a stranger's code raises within."""
    try:
        yield
    except (TaskodecError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit among them
        raise PluginError(f"{who}: {described(error)}") from error


def _require(holds: bool, who: str, problem: str) -> None:
    if not holds:
        raise PluginError(f"{who}: {problem}")


def _check_layers(codec: Codec, side: Side, who: str) -> None:
    """The layers for adapters are modules of the codec by their own names, and the defaults some of them."""
    layers = codec.adapter_layers(side)
    known = dict(codec.named_modules())
    what = f"its {side} layers for adapters"
    _require(isinstance(layers, dict), who, f"{what} are {shown(layers)}, expected modules by name")
    for name, layer in layers.items():
        fits = isinstance(layer, nn.Module) and known.get(name) is layer
        _require(fits, who, f"{what} have {shown(name)}, which is no module of the codec by this name")
    defaults = codec.adapter_defaults(side)
    _require(
        _is_sequence(defaults) and set(defaults) <= layers.keys(),
        who,
        f"adapter_defaults of the {side} are {shown(defaults)}, expected some of {shown(list(layers))}",
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _are_qualities(value: Any) -> bool:
    if not _is_sequence(value) or not len(value):
        return False
    if not all(isinstance(q, int | float) and not isinstance(q, bool) and math.isfinite(q) for q in value):
        return False
    return list(value) == sorted(set(value)) and value[0] >= 0 and value[-1] <= MAX_QUALITY


def _is_tiling(value: Any, stride: int) -> bool:
    numbers = isinstance(value, Tiling) and all(map(_is_whole, (value.align, value.analysis, value.synthesis)))
    return numbers and value.align >= 1 and value.align % stride == 0 and min(value.analysis, value.synthesis) >= 0


def _is_batch(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4 and len(value) == 1 and value.is_floating_point()


def _about(value: object) -> str:
    return f"a tensor {tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else shown(value)
