"""Adapters as safetensors files, and factors that come from reference checkpoints.

A file holds U, S and V of every layer as `encoder.<layer>.w_lora_U` and so on, with the layers' own dotted
names, and in its metadata what is needed to rebuild the adapter around them. The delta is not in it: it
belongs to one image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from taskodec.adapters.lora import MAX_ALPHA, MAX_RANK, LoRA, LowRankAdapter, SVDLoRA
from taskodec.adapters.modulation import MAX_WIDTH, Modulation
from taskodec.coding.streams import codec_fingerprint
from taskodec.coding.tensor_files import tensor_problem
from taskodec.console.terminal import shown
from taskodec.contracts import Codec, Side
from taskodec.errors import UsageError, WeightsError
from taskodec.files.atomic import pointer_to, write_atomic
from taskodec.files.inputs import expand_home
from taskodec.files.json_text import parse_json
from taskodec.isolation.ambient import in_clean_state

__all__ = [
    "adapter_from",
    "at_quality",
    "load_adapter",
    "load_adapter_state",
    "load_reference_tensors",
    "read_card",
    "save_adapter",
]

FORMAT = "taskodec-adapter-1"
DTYPES = ("F32", "F16", "BF16", "F64")
"""Of factors, in safetensors' words; what is written is the first."""
MAX_METADATA = 2**20
KINDS: Mapping[str, type[LowRankAdapter]] = {"svd-lora": SVDLoRA, "lora": LoRA}


@dataclass(frozen=True)
class _About:
    """What it takes to build the adapter again."""

    kind: str
    rank: int
    alpha: float
    encoder: Sequence[str]
    decoder: Sequence[str]
    modulation: Sequence[Any] = ()
    """The module after which y is modulated, the channels there, and the hidden ones."""


def save_adapter(path: str | Path, adapter: LowRankAdapter, card: Mapping[str, str]) -> None:
    """Write the adapter's factors, and the card that says what it is for.

    The card is free, but should name `codec` and `codec_fingerprint` (both checked by `load_adapter`), `task` and
    the licence of the data.
    """
    modulation = adapter.modulation and (adapter.modulated, adapter.modulation.channels, adapter.modulation.width)
    about = asdict(_About(adapter.kind, adapter.rank, adapter.alpha, **adapter.names, modulation=modulation or ()))
    if not modulation:
        del about["modulation"]  # as files were before there was any
    metadata = {"format": FORMAT, "adapter": json.dumps(about), "card": json.dumps(dict(card))}
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in _tensors(adapter).items()}
    write_atomic(Path(path), safetensors.torch.save(tensors, metadata))


def read_card(path: str | Path) -> dict[str, str]:
    """The card of an adapter file; WeightsError if it is not one."""
    return _read(path)[1]


def load_adapter_state(path: str | Path, adapter: LowRankAdapter) -> dict[str, str]:
    """Fill an adapter of the same kind, rank, alpha and layers from a file; returns the file's card.

    Raises WeightsError, and leaves the adapter as it was, when anything does not match.
    """
    about, card, tensors = _read(path)
    for key in ("kind", "rank", "alpha"):
        made, mine = getattr(about, key), getattr(adapter, key)
        if made != mine:
            raise WeightsError(f"{path}: made for {key}={made}, but this adapter has {key}={mine}")
    _copy(tensors, _tensors(adapter), str(path))
    return card


@in_clean_state
def load_adapter(path: str | Path, codec: Codec, *, other_weights: bool = False) -> LowRankAdapter:
    """The adapter a file describes, for this codec, not attached.

    WeightsError if it is for another codec, or, unless `other_weights` is set, was trained on other weights of it.
    """
    about, card, _ = _read(path)
    if card.get("codec", codec.name) != codec.name:
        raise WeightsError(f"{path}: made for codec {shown(card['codec'])}, but this codec is {codec.name!r}")
    mine = codec_fingerprint(codec).hex()
    if (trained := card.get("codec_fingerprint", mine)) != mine and not other_weights:
        raise WeightsError(
            f"{path}: trained on weights {shown(trained)} of codec {codec.name!r}, but these are {mine}; "
            "give those with codec.checkpoint=FILE, or go on training from the file with `taskodec pretrain --init`"
        )
    encoder = _named_layers(path, codec, "encoder", about.encoder)
    decoder = _named_layers(path, codec, "decoder", about.decoder)
    try:
        latents = _modulation(path, codec, about)
        adapter = KINDS[about.kind](encoder, decoder, about.rank, about.alpha, latents=latents)
    except UsageError as error:  # a layer on both sides, or no layer at all
        raise WeightsError(f"{path}: {error}") from error
    load_adapter_state(path, adapter)
    return adapter


def adapter_from(codec: Codec, *, path: str | Path) -> LowRankAdapter:
    """`load_adapter` in the form that adapters are registered in; `{quality}` in the path is the codec's first."""
    return load_adapter(at_quality(path, codec.qualities[0]), codec)


def at_quality(path: str | Path, quality: float) -> Path:
    """The path with the quality in place of a `{quality}`, for what has a file for each."""
    return expand_home(str(path).replace("{quality}", f"{quality:g}"))


def load_reference_tensors(adapter: LowRankAdapter, layers: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Fill U, S and V of every layer from `{layer: {"U": …, "S": …, "V": …}}`, in the reference's shapes.

    Raises WeightsError, and leaves the adapter as it was, when layers or shapes do not match.
    """
    target = {name.split(".", 1)[1]: value for name, value in _factors(adapter).items()}  # without the side
    source = {f"{layer}.w_lora_{part}": value for layer, parts in layers.items() for part, value in parts.items()}
    _copy(source, target, "reference tensors")


def _modulation(path: str | Path, codec: Codec, about: _About) -> tuple[str, Modulation] | None:
    if not about.modulation:
        return None
    name, channels, width = about.modulation
    if name != codec.latents_layer:
        valid = codec.latents_layer or "no such layer"
        raise WeightsError(f"{path}: it modulates after {shown(name)}, but codec {codec.name!r} has {valid}")
    return name, Modulation(channels, width).to(next(codec.parameters()).device)


def _tensors(adapter: LowRankAdapter) -> dict[str, nn.Parameter]:
    """All that a file holds."""
    own = adapter.modulation.named_parameters() if adapter.modulation else ()
    return {**_factors(adapter), **{f"modulation.{name}": value for name, value in own}}


def _factors(adapter: LowRankAdapter) -> dict[str, nn.Parameter]:
    sides: tuple[Side, Side] = ("encoder", "decoder")
    return {
        f"{side}.{layer}.{name}": factor
        for side in sides
        for layer, branch in adapter.branches(side).items()
        for name, factor in branch.named_parameters()
    }


def _copy(source: Mapping[str, Tensor], target: Mapping[str, nn.Parameter], origin: str) -> None:
    """Copy all tensors or none."""
    missing, extra = sorted(set(target) - set(source)), sorted(set(source) - set(target))
    if missing or extra:
        raise WeightsError(
            f"{origin}: does not fit this adapter; missing {shown(missing) if missing else 'none'}, "
            f"not needed {shown(extra) if extra else 'none'}"
        )
    for name, value in source.items():
        if problem := tensor_problem(value, target[name]):
            raise WeightsError(f"{origin}: {name}: {problem}")
    with torch.no_grad():
        for name, value in source.items():
            target[name].copy_(value)


def _named_layers(path: str | Path, codec: Codec, side: Side, names: Sequence[str]) -> dict[str, nn.Module]:
    layers = codec.adapter_layers(side)
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise WeightsError(
            f"{path}: codec {codec.name!r} has no {side} layers {shown(unknown)}; valid: {', '.join(layers)}"
        )
    return {name: layers[name] for name in names}


def _read(path: str | Path) -> tuple[_About, dict[str, str], dict[str, Tensor]]:
    """What the file says of the adapter, its card, and its tensors."""
    if found := pointer_to("the adapter", Path(path)):
        raise WeightsError(f"{path} is {found}")
    if Path(path).exists() and not Path(path).is_file():
        raise WeightsError(f"{path}: cannot be read as an adapter file: it is no regular file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                found = shown(metadata.get("format"))
                raise WeightsError(f"{path}: not an adapter file of format {FORMAT}; found {found}")
            about, card = _about(_json(metadata, "adapter")), _card(_json(metadata, "card"))
            names = list(file.keys())
            dtypes = {name: file.get_slice(name).get_dtype() for name in names}
            if wrong := [f"{shown(name)} is {dtypes[name]}" for name in names if dtypes[name] not in DTYPES]:
                raise WeightsError(f"{path}: {wrong[0]}; factors are of {', '.join(DTYPES)}")
            return about, card, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as an adapter file: {error}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata is damaged: {error}") from error


def _json(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    text = metadata.get(name, "")
    if len(text) > MAX_METADATA:
        raise ValueError(f"{name!r} has {len(text)} characters, valid: up to {MAX_METADATA}")
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{name!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is {shown(value)}, expected an object")
    return value


def _about(found: Mapping[str, Any]) -> _About:
    """ValueError unless every field is there, and can be what an adapter is built with."""
    if {*found, "modulation"} != set(_About.__dataclass_fields__):
        raise ValueError(f"'adapter' has {shown(sorted(found))}, expected {', '.join(_About.__dataclass_fields__)}")
    kind, rank, alpha = found["kind"], found["rank"], found["alpha"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown kind {shown(kind)}; valid: {', '.join(KINDS)}")
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= MAX_RANK:
        raise ValueError(f"rank is {shown(rank)}, expected a whole number from 1 to {MAX_RANK}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= MAX_ALPHA:
        raise ValueError(f"alpha is {shown(alpha)}, expected a number above 0 and at most {MAX_ALPHA:g}")
    for side in ("encoder", "decoder"):
        names = found[side]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{side} is {shown(names)}, expected a list of layers")
        if len(set(names)) < len(names):
            raise ValueError(f"{side} names a layer twice: {shown(names)}")
    modulation = found.get("modulation", ())
    if modulation and not _is_modulation(modulation):
        raise ValueError(f"modulation is {shown(modulation)}, expected a layer, its channels and the hidden ones")
    return _About(kind, rank, float(alpha), found["encoder"], found["decoder"], modulation)


def _is_modulation(found: Any) -> bool:
    if not isinstance(found, list) or len(found) != 3 or not isinstance(found[0], str):
        return False
    return all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MAX_WIDTH for n in found[1:])


def _card(found: Mapping[str, Any]) -> dict[str, str]:
    """ValueError unless all is text."""
    for name, value in found.items():
        if not isinstance(value, str):
            raise ValueError(f"'card' has {shown(value)} as {shown(name)}, expected text")
    return dict(found)
