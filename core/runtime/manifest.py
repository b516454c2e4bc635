"""The manifest of an exported codec, every field of it checked. Plain Python: no torch, no pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskodec.console.terminal import shown
from taskodec.stream.bitstream import MAX_QUALITY, NAME

__all__ = ["MAX_BYTES", "Manifest", "parse_manifest"]

MAX_BYTES = 2**31
"""No file is larger: ONNX itself allows no more in one."""

MAX_STRIDE, MAX_SIDE = 1024, 2**17
"""Of the codec, and of what tiles are aligned to and overlap by, in pixels."""

MAX_VALUES = 2**20
"""Singular values that a stream may change."""

FINGERPRINT, SHA256 = re.compile(r"[0-9a-f]{8}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """What an exported decoder is, for programs and people.

    `adapter_fingerprint` is None, and `groups` is empty, for a decoder of untuned streams only. `groups` are the
    numbers of singular values of each adapted layer that streams may change. `tiling` has `align` and `margin` of the
    synthesis (see `taskodec.stream.grids`), None for codecs that are never tiled. `encoder`, None for decoders alone,
    has the `margin` of the analysis, and of the streams whether they name the adapter (`adapter`),
    and their `metadata`. `precision` is that of the synthesis' weights in their file. `files` has the size and SHA-256
    of all.
    """

    codec: str
    codec_fingerprint: str
    recipe: str
    stride: int
    qualities: Sequence[float]
    continuous: bool
    licence: str
    tiling: Mapping[str, int] | None = None
    adapter: str | None = None
    adapter_fingerprint: str | None = None
    groups: Sequence[int] = ()
    encode_with: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] | None = None
    precision: str = "float32"
    opset: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def has_quality(self, quality: float) -> bool:
        """Whether the codec codes at it."""
        return quality in self.qualities or (self.continuous and self.qualities[0] <= quality <= self.qualities[-1])

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the picture that is coded."""
        return -(-height // self.stride) * self.stride, -(-width // self.stride) * self.stride


def parse_manifest(values: Mapping[str, Any]) -> Manifest:
    """A manifest of these fields; ValueError says which is missing, unknown, or what it cannot be."""
    if unknown := sorted(values.keys() - Manifest.__dataclass_fields__.keys()):
        raise ValueError(f"it has {shown(unknown)}, which no manifest has")
    for name, needed in _FIELDS.items():
        if name not in values:
            if name in _NEEDED:
                raise ValueError(f"it has no {name!r}")
        elif not needed.holds(values[name]):
            raise ValueError(f"its {name} is {shown(values[name])}, expected {needed.words}")
    found = Manifest(**values)
    if found.tiling is not None and found.tiling["align"] % found.stride:
        raise ValueError(f"its tiles are aligned to {found.tiling['align']}, no multiple of the stride {found.stride}")
    if found.tiling is not None and found.encoder is not None and found.encoder["margin"] is None:
        raise ValueError("its encoder has no margin for tiles")
    if found.adapter_fingerprint is None and (found.groups or (found.encoder or {}).get("adapter")):
        raise ValueError("it has singular values, or streams of an adapter, but no adapter_fingerprint")
    return found


@dataclass(frozen=True)
class _Field:
    """What a field must be, and how to say so."""

    holds: Callable[[Any], bool]
    words: str


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 4096


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63  # false for NaN
    )


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _are_qualities(value: Any) -> bool:
    ascending = isinstance(value, list) and all(map(_is_number, value)) and sorted(set(value)) == value
    return ascending and bool(value) and value[0] >= 0 and value[-1] <= MAX_QUALITY


def _is_tiling(value: Any) -> bool:
    exact = isinstance(value, dict) and value.keys() == {"align", "margin"}
    return exact and _is_whole(value["align"], 1, MAX_SIDE) and _is_whole(value["margin"], 0, MAX_SIDE)


def _are_groups(value: Any) -> bool:
    return (
        isinstance(value, list) and all(_is_whole(size, 1, MAX_VALUES) for size in value) and sum(value) <= MAX_VALUES
    )


def _are_options(value: Any) -> bool:
    """Those of a codec, which are shown to people."""
    plain = isinstance(value, dict) and all(_is_text(name) for name in value)
    return plain and all(isinstance(v, bool) or _is_text(v) or _is_number(v) for v in value.values())


def _is_encoder(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"margin", "adapter", "metadata"}:
        return False
    margin = value["margin"] is None or _is_whole(value["margin"], 0, MAX_SIDE)
    return margin and isinstance(value["adapter"], bool) and isinstance(value["metadata"], dict)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(item) for pair in value.items() for item in pair)


def _are_files(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(about, dict)
        and about.keys() == {"bytes", "sha256"}
        and _is_whole(about["bytes"], 0, MAX_BYTES)
        and _matches(SHA256)(about["sha256"])
        for about in value.values()
    )


def _or_null(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


_NEEDED = ("codec", "codec_fingerprint", "recipe", "stride", "qualities", "continuous", "licence")

_FIELDS: Mapping[str, _Field] = {
    "codec": _Field(_matches(NAME), "a codec's name"),
    "codec_fingerprint": _Field(_matches(FINGERPRINT), "8 hexadecimal digits"),
    "recipe": _Field(_is_text, "text"),
    "stride": _Field(lambda value: _is_whole(value, 1, MAX_STRIDE), f"a whole number from 1 to {MAX_STRIDE}"),
    "qualities": _Field(_are_qualities, f"ascending numbers from 0 to {MAX_QUALITY}"),
    "continuous": _Field(lambda value: isinstance(value, bool), "true or false"),
    "licence": _Field(_is_text, "text"),
    "tiling": _Field(_or_null(_is_tiling), "null, or align and margin in pixels"),
    "adapter": _Field(_or_null(_is_text), "null or text"),
    "adapter_fingerprint": _Field(_or_null(_matches(FINGERPRINT)), "null or 8 hexadecimal digits"),
    "groups": _Field(_are_groups, f"a list of whole numbers from 1 on, {MAX_VALUES} in all at most"),
    "encode_with": _Field(_are_options, "options with plain values"),
    "encoder": _Field(_or_null(_is_encoder), "null, or margin, adapter and metadata"),
    "precision": _Field(_is_text, "text"),
    "opset": _Field(lambda value: _is_whole(value, 0, 2**31), "a whole number"),
    "versions": _Field(_are_texts, "versions by package"),
    "files": _Field(_are_files, f"bytes, up to {MAX_BYTES}, and sha256 of each file"),
}
