"""Decodes streams with an exported codec: numpy, onnxruntime and constriction alone, no torch.

>>> from taskodec.runtime import Decoder
>>> decoder = Decoder("lite-onnx")
>>> pixels = decoder.decode(open("photo.tkd", "rb").read())  # (height, width, 3), uint8
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taskodec.bitstream import MAX_PIXELS, Header, Stream
from taskodec.delta import decode_delta
from taskodec.entropy import SymbolDecoder
from taskodec.errors import DamagedStreamError, MismatchError, TaskodecError, UsageError, WeightsError
from taskodec.exact import between
from taskodec.exported import Manifest, read_exported
from taskodec.grids import Span, grid
from taskodec.recipes import RECIPES, Floats
from taskodec.spike_slab import ABSOLUTE_STEP, decode_absolute

__all__ = ["CPU", "TILE", "Decoded", "Decoder"]

CPU = "CPUExecutionProvider"
"""The execution provider that every onnxruntime has."""

TILE = 2**22
"""As `limits.tile`."""


@dataclass(frozen=True)
class Decoded:
    """What a stream holds: latents y_hat (1, M, h, w), and the singular values (n,) of a decoder that takes some."""

    header: Header
    y_hat: Floats
    singular_values: Floats | None


class Decoder:
    """Decodes every stream of one codec, untuned or tuned for the adapter that it was exported with.

    Args:
        folder: what `taskodec export` wrote.
        providers: onnxruntime's execution providers of the synthesis, the most wanted first. What decides on symbols
            always runs on the CPU.
        threads: of onnxruntime; None for as many as there are cores.
        max_pixels: streams of larger images are refused before memory is allocated.
        tile: pictures of more pixels are synthesised in overlapping tiles of about so many, where the codec allows it.

    Raises WeightsError for a folder that cannot be used, UsageError for a provider that is not here.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        tile: int = TILE,
    ) -> None:
        exported = read_exported(Path(folder))
        self.manifest: Manifest = exported.manifest
        self.max_pixels, self.tile = max_pixels, tile
        if self.manifest.recipe not in RECIPES:
            raise WeightsError(
                f"{folder} needs recipe {self.manifest.recipe!r}, this version of taskodec knows {', '.join(RECIPES)}: "
                "update taskodec"
            )
        decisive = {name: graph for name, graph in exported.graphs.items() if name in {"hyper", "context"}}
        graphs = {name: _Session(name, graph, (CPU,), threads) for name, graph in decisive.items()}
        try:
            self._read_latents = RECIPES[self.manifest.recipe](graphs, exported.tables, exported.arrays)
            self._synthesis = _Session("synthesis", exported.graphs["synthesis"], providers, threads)
        except KeyError as error:
            raise WeightsError(f"{folder} has no {error}, which its recipe needs: export the codec again") from error
        self._arrays = exported.arrays

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        """The picture (height, width, 3) of a stream; StreamError and its subclasses say why there is none."""
        pixels = self.picture(self.latents(data))[0].transpose(1, 2, 0)  # (1, 3, H, W) -> (H, W, 3)
        if not np.isfinite(pixels).all():
            raise DamagedStreamError("the stream gives no picture: it has NaN or infinite values")
        whole: npt.NDArray[np.uint8] = (pixels.clip(0, 1) * np.float32(255)).round().astype(np.uint8)
        return whole

    def latents(self, data: bytes) -> Decoded:
        """What the stream holds. Raises DamagedStreamError, UnsupportedStreamError and MismatchError."""
        stream = Stream.from_bytes(data, max_pixels=self.max_pixels)
        header = stream.header
        self._check(header)
        coder = SymbolDecoder(stream.payload)
        singular_values = self._singular_values(header, coder)
        y_hat = self._read_latents(self._padded(header), header.quality, coder)
        if coder.checksum != header.index_checksum:
            raise MismatchError(
                f"the entropy tables chosen here (checksum {coder.checksum:04x}) are not the encoder's "
                f"({header.index_checksum:04x}){_advice(self.manifest.encode_with)}"
            )
        return Decoded(header, y_hat, singular_values)

    def picture(self, decoded: Decoded) -> Floats:
        """The picture (1, 3, height, width) of latents, not clamped."""
        inputs: dict[str, Floats] = {}
        if "log_synthesis_gain" in self._arrays:
            levels = self._arrays["log_synthesis_gain"].astype(np.float64)
            inputs["gain"] = np.exp(between(levels, decoded.header.quality)).astype(np.float32)
        if decoded.singular_values is not None:
            inputs["singular_values"] = decoded.singular_values
        x_hat = self._in_tiles(decoded.y_hat, self._padded(decoded.header), inputs)
        return x_hat[:, :, : decoded.header.height, : decoded.header.width]

    def _in_tiles(self, y_hat: Floats, size: tuple[int, int], inputs: Mapping[str, Floats]) -> Floats:
        """The synthesis of a picture of this padded size, of at most about `tile` pixels at once."""
        tiling = self.manifest.tiling
        if tiling is None or size[0] * size[1] <= self.tile:
            whole: Floats = self._synthesis(y_hat=y_hat, **inputs)[0]
            return whole
        x_hat = np.empty((1, 3, *size), dtype=np.float32)
        rows, columns = grid(size, tiling["align"], tiling["margin"], self.tile)
        shrink = size[0] // y_hat.shape[2]
        for row in rows:
            for column in columns:
                piece = np.ascontiguousarray(y_hat[:, :, _latent(row, shrink), _latent(column, shrink)])
                part = self._synthesis(y_hat=piece, **inputs)[0]
                x_hat[:, :, row.start : row.stop, column.start : column.stop] = part[:, :, _kept(row), _kept(column)]
        return x_hat

    def _padded(self, header: Header) -> tuple[int, int]:
        """Height and width of the picture that was coded."""
        stride = self.manifest.stride
        return -(-header.height // stride) * stride, -(-header.width // stride) * stride

    def _check(self, header: Header) -> None:
        """MismatchError unless the stream is for this codec, these weights and this adapter."""
        manifest = self.manifest
        found = (header.codec, header.codec_fingerprint.hex())
        if found != (manifest.codec, manifest.codec_fingerprint):
            raise MismatchError(
                f"the stream was made with weights {found[1]} of codec {found[0]!r}, this decoder was exported from "
                f"{manifest.codec_fingerprint} of {manifest.codec!r}; export the codec that made it"
            )
        first, last = manifest.qualities[0], manifest.qualities[-1]
        if header.quality not in manifest.qualities and not (manifest.continuous and first <= header.quality <= last):
            raise DamagedStreamError(f"the stream names quality {header.quality:g}, which codec {found[0]!r} has not")
        adapter = header.adapter_fingerprint
        if adapter is not None and adapter.hex() != manifest.adapter_fingerprint:
            own = f"has adapter {manifest.adapter_fingerprint}" if manifest.adapter_fingerprint else "has no adapter"
            raise MismatchError(
                f"the stream needs adapter {adapter.hex()}, this decoder {own}; export the codec with the adapter that "
                "the stream was tuned with"
            )

    def _singular_values(self, header: Header, coder: SymbolDecoder) -> Floats | None:
        """What the synthesis gets for this stream; reads what travels of it."""
        if self.manifest.adapter_fingerprint is None:
            return None
        own: Floats = self._arrays["singular_values"]
        if header.adapter_fingerprint is None:
            return np.zeros_like(own)
        if not header.has_delta:
            return own
        if header.absolute:
            values = decode_absolute(sum(self.manifest.groups), coder)
            return own + (values.astype(np.float32) * np.float32(ABSOLUTE_STEP) - own)  # as with torch, to the last bit
        values, step = decode_delta(self.manifest.groups, coder)
        return own + values.astype(np.float32) * np.float32(step)


class _Session:
    """One ONNX graph on onnxruntime: inputs by name to the list of outputs."""

    def __init__(self, name: str, model: bytes, providers: Sequence[str], threads: int | None) -> None:
        ort = _onnxruntime()
        valid = ort.get_available_providers()
        if missing := [provider for provider in providers if provider not in valid]:
            raise UsageError(f"onnxruntime here has no {', '.join(missing)}; valid: {', '.join(valid)}")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # an arena keeps the memory of the largest picture so far
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(model, options, providers=list(providers))
        except Exception as error:  # onnxruntime has a class for each status
            raise WeightsError(f"{name}.onnx cannot be loaded: {_first_line(error)}") from error
        self._name = name

    def __call__(self, **inputs: Floats) -> list[Any]:
        try:
            outputs: list[Any] = self._session.run(None, inputs)
        except Exception as error:  # onnxruntime has a class for each status
            raise TaskodecError(f"{self._name}.onnx cannot be computed: {_first_line(error)}") from error
        return outputs


def _latent(span: Span, shrink: int) -> slice:
    """What of y_hat a piece is made from."""
    return slice(span.first // shrink, span.last // shrink)


def _kept(span: Span) -> slice:
    """What of a piece is kept."""
    return slice(span.start - span.first, span.stop - span.first)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("onnxruntime is missing: install it with `pip install onnxruntime`") from error
    return onnxruntime


def _advice(encode_with: Mapping[str, Any]) -> str:
    options = " ".join(f"--set codec.options.{name}={value}" for name, value in encode_with.items())
    return f"; encode for exported decoders with {options}" if options else ": the stream or this decoder is damaged"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
