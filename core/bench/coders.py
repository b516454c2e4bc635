"""What `taskodec bench` compares: learned codecs and anchors, each at a list of qualities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

import taskodec
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.api.loading import codec_at
from taskodec.coding.stages import Stage, Staged
from taskodec.coding.streams import StreamWriter, codec_fingerprint, quantize_quality
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Codec
from taskodec.errors import PluginError, TaskodecError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import Anchor
from taskodec.images.tensors import load_image, pad_to
from taskodec.isolation.faults import named
from taskodec.settings.model import CodecSettings, Settings, TaskSettings, TTFTSettings

__all__ = ["AnchorEntry", "CodecEntry", "Coder", "Entry", "learned_entries", "with_codec"]


@dataclass(frozen=True)
class Coder:
    """One codec at one quality: a picture to the bytes of a file, and back."""

    encode: Callable[[Image.Image], bytes]
    decode: Callable[[bytes], Image.Image]
    version: str
    """All that the bytes depend on beside the picture and the quality, as text."""
    device: str
    """All that the seconds depend on, as far as it is known."""
    stages: Callable[[], Sequence[Stage]] = tuple
    """The methods between which the time divides, once both directions have run; none if they are not known."""


class Entry(Protocol):
    """One curve of a benchmark. `at(quality)` loads what is needed."""

    name: str
    anchor: bool
    fidelity: bool
    """Whether its pictures and rates mean anything."""
    qualities: Sequence[float]

    def at(self, quality: float) -> Coder: ...


class AnchorEntry:
    """A registered anchor at its own list of qualities.

    UsageError if there is none of this name; PluginError, with its owner, for whatever else goes wrong in it.
    """

    anchor = True

    def __init__(self, name: str, registry: Registry) -> None:
        self.name, self.owner = name, ""
        spec = registry.anchors.usable(name)
        self.owner, self.fidelity = registry.anchors.owner(name), spec.fidelity
        with self._blamed():
            self.codec: Anchor = registry.anchors.make(name, {})
            if not isinstance(self.codec, Anchor):
                raise TypeError(f"found a {type(self.codec).__name__}, expected qualities, version, encode and decode")
            self.qualities: Sequence[float] = [float(quality) for quality in self.codec.qualities]
            if not self.qualities or not all(map(math.isfinite, self.qualities)):
                raise ValueError(f"its qualities are {self.qualities}, expected numbers")
            if not isinstance(self.codec.version, str):
                raise TypeError(f"its version is a {type(self.codec.version).__name__}, expected text")

    def at(self, quality: float) -> Coder:
        """The anchor at one of its own qualities."""

        def encode(image: Image.Image) -> bytes:
            with self._blamed():
                data = self.codec.encode(image, quality)
                if not isinstance(data, bytes):
                    raise TypeError(f"encode returned a {type(data).__name__}, expected bytes")
                return data

        def decode(data: bytes) -> Image.Image:
            with self._blamed():
                image = self.codec.decode(data)
                if not isinstance(image, Image.Image):
                    raise TypeError(f"decode returned a {type(image).__name__}, expected a PIL image")
                return image

        return Coder(encode, decode, self.codec.version, "cpu", self._stages)

    def _stages(self) -> Sequence[Stage]:
        """What the anchor says its stages are, if it says so."""
        if not isinstance(self.codec, Staged):
            return ()
        with self._blamed():
            stages = list(self.codec.stages())
            for stage in stages:
                stage.check()
            return stages

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        with named(f"anchor {self.name!r} of {self.owner} failed:", PluginError, TaskodecError):
            yield


class CodecEntry:
    """A learned codec without tuning, by the way `compress --steps 0` and `decompress` take.

    `settings.codec` says which codec, with which weights; a `{quality}` in the path of its checkpoint stands for
    the quality, for codecs with a file for each. `qualities` None means the levels of the codec as it is loaded
    for `settings.quality`.
    """

    anchor = False
    fidelity = True

    def __init__(
        self, name: str, settings: Settings, registry: Registry, qualities: Sequence[float] | None = None
    ) -> None:
        self.name, self.registry = name, registry
        self.settings = settings.model_copy(update={"task": TaskSettings(), "ttft": TTFTSettings()})
        first = settings.quality if qualities is None else quantize_quality(qualities[0])
        self._load(first)
        codec = self.compressor.codec
        given = codec.qualities if qualities is None else qualities
        self.qualities: Sequence[float] = [quantize_quality(quality) for quality in given]
        if codec.continuous or len(codec.qualities) > 1:
            for quality in self.qualities:
                codec.check_quality(quality)

    def at(self, quality: float) -> Coder:
        """The codec at this quality; what is loaded already is used again if it has it."""
        codec = self.compressor.codec
        if not codec.continuous and quality not in codec.qualities:
            self._load(quality)
            codec = self.compressor.codec
        device, limit = self.compressor.device, self.settings.limits.max_pixels
        tiles = Tiles(self.settings.limits.tile)
        decompressor = self.decompressor

        @torch.no_grad()
        def encode(image: Image.Image) -> bytes:
            x = load_image(image, max_pixels=limit).x.to(device)
            latents = tiles.analysis(codec, pad_to(x, codec.stride), quality)
            return StreamWriter(codec, None, quality, (x.shape[2], x.shape[3])).write(latents, None).stream

        version = f"taskodec {taskodec.__version__}, weights {codec_fingerprint(codec).hex()}"
        threads = torch.get_num_threads()
        where = f"{device}, {threads} thread{'s' * (threads > 1)}"
        return Coder(encode, decompressor.decompress, version, where, lambda: _stages(codec, decompressor.codecs))

    def _load(self, quality: float) -> None:
        """Load the codec twice, for the two sides know nothing of each other."""
        changes = {"quality": quality, "codec": codec_at(self.settings.codec, quality)}
        settings = self.settings.model_copy(update=changes)
        self.compressor = Compressor(settings, self.registry)
        self.decompressor = Decompressor(settings, self.registry)


def _stages(codec: Codec, decoding: Sequence[Codec]) -> list[Stage]:
    """The stages of the encoder's codec and of the decoder's."""
    stages = [Stage("analysis", codec, "analysis"), Stage("entropy", codec, "encode")]
    for each in decoding:
        stages += [Stage("entropy", each, "decode"), Stage("synthesis", each, "synthesis")]
    return stages


def learned_entries(
    names: Sequence[str], settings: Settings, registry: Registry, qualities: Sequence[float] | None
) -> list[CodecEntry]:
    """One entry for each `NAME` or `NAME=CHECKPOINT`; without any, the codec of the settings.

    The settings' checkpoint and options belong to the codec they name, and to no other.
    """
    return [
        CodecEntry(given, with_codec(settings, given), registry, qualities) for given in names or [settings.codec.name]
    ]


def with_codec(settings: Settings, given: str) -> Settings:
    """The settings with the codec of a `NAME` or `NAME=CHECKPOINT`; checkpoint and options as in `learned_entries`."""
    name, _, checkpoint = given.partition("=")
    codec = settings.codec if name == settings.codec.name else CodecSettings(name=name)
    if checkpoint:
        codec = codec.model_copy(update={"checkpoint": Path(checkpoint)})
    return settings.model_copy(update={"codec": codec})
