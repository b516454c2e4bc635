"""Decodes and encodes streams with an exported codec: numpy, onnxruntime and constriction alone, no torch.

>>> from taskodec.runtime import Decoder
>>> decoder = Decoder("lite-onnx")
>>> pixels = decoder.decode(open("photo.tkd", "rb").read())  # (height, width, 3), uint8
>>> stream = Encoder("lite-onnx").encode(pixels, quality=3)  # of a folder that was exported with --encoder
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taskodec.errors import DamagedStreamError, MismatchError, WeightsError
from taskodec.runtime.encoder import Encoder
from taskodec.runtime.exported import DECODER, Manifest
from taskodec.runtime.sessions import CPU, TILE, Session, fitting, load_recipe, open_folder
from taskodec.stream.bitstream import MAX_PIXELS, Header, Stream
from taskodec.stream.delta import decode_delta
from taskodec.stream.entropy import SymbolDecoder
from taskodec.stream.grids import Span, grid
from taskodec.stream.prior_coding import Floats
from taskodec.stream.spike_slab import ABSOLUTE_STEP, decode_absolute

__all__ = ["CPU", "TILE", "Decoded", "Decoder", "Encoder"]


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
        self._exported = open_folder(folder, DECODER)
        self.manifest: Manifest = self._exported.manifest
        self.max_pixels, self.tile = max_pixels, tile
        self._read_latents = load_recipe(self._exported, threads).read
        self.synthesis = Session("synthesis", self._exported, providers, threads)

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        """The picture (height, width, 3) of a stream; StreamError and its subclasses say why there is none."""
        x_hat = self.picture(self.latents(data))[0]
        if not np.isfinite([x_hat.min(), x_hat.max()]).all():
            raise DamagedStreamError("the stream gives no picture: it has NaN or infinite values")
        x_hat = np.clip(x_hat, 0, 1) * np.float32(255)
        whole = np.rint(x_hat, out=x_hat).astype(np.uint8)
        return np.ascontiguousarray(whole.transpose(1, 2, 0))  # (3, H, W) -> (H, W, 3)

    def decode_many(self, streams: Iterable[bytes], jobs: int = 1) -> Iterator[npt.NDArray[np.uint8]]:
        """The pictures of streams, in their order; `jobs` are in work at a time, and no more of them in memory.

        The error of a stream is raised where its picture would come, and ends it.
        """
        with ThreadPoolExecutor(jobs) as pool:
            waiting: deque[Future[npt.NDArray[np.uint8]]] = deque()
            for data in streams:
                waiting.append(pool.submit(self.decode, data))
                if len(waiting) == jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def latents(self, data: bytes) -> Decoded:
        """What the stream holds. Raises DamagedStreamError, UnsupportedStreamError and MismatchError."""
        stream = Stream.from_bytes(data, max_pixels=self.max_pixels)
        header = stream.header
        self._check(header)
        coder = SymbolDecoder(stream.payload)
        with fitting():
            singular_values = self._singular_values(header, coder)
            y_hat = self._read_latents(self.manifest.padded(header.height, header.width), header.quality, coder)
        if coder.checksum != header.index_checksum:
            raise MismatchError(
                f"the entropy tables chosen here (checksum {coder.checksum:04x}) are not the encoder's "
                f"({header.index_checksum:04x}){_advice(self.manifest.encode_with)}"
            )
        return Decoded(header, y_hat, singular_values)

    def picture(self, decoded: Decoded) -> Floats:
        """The picture (1, 3, height, width) of latents, not clamped."""
        size = self.manifest.padded(decoded.header.height, decoded.header.width)
        with fitting():
            x_hat = self._in_tiles(decoded.y_hat, size, self.inputs(decoded))
        if x_hat.shape != (1, 3, *size):
            raise WeightsError(f"synthesis.onnx gives {x_hat.shape}, needed {(1, 3, *size)}: export the codec again")
        return x_hat[:, :, : decoded.header.height, : decoded.header.width]

    def inputs(self, decoded: Decoded) -> dict[str, Floats]:
        """What the synthesis takes beside y_hat, by name."""
        inputs: dict[str, Floats] = {}
        log_gain = self._exported.at_level("log_synthesis_gain", decoded.header.quality)
        if log_gain is not None:
            inputs["gain"] = np.exp(log_gain).astype(np.float32)
        if decoded.singular_values is not None:
            inputs["singular_values"] = decoded.singular_values
        return inputs

    def _in_tiles(self, y_hat: Floats, size: tuple[int, int], inputs: Mapping[str, Floats]) -> Floats:
        """The synthesis of a picture of this padded size, of at most about `tile` pixels at once."""
        tiling = self.manifest.tiling
        if tiling is None or size[0] * size[1] <= self.tile:
            whole: Floats = self.synthesis(y_hat=y_hat, **inputs)[0]
            return whole
        x_hat = np.empty((1, 3, *size), dtype=np.float32)
        rows, columns = grid(size, tiling["align"], tiling["margin"], self.tile)
        shrink = size[0] // y_hat.shape[2]
        for row in rows:
            for column in columns:
                piece = np.ascontiguousarray(y_hat[:, :, _latent(row, shrink), _latent(column, shrink)])
                part = self.synthesis(y_hat=piece, **inputs)[0]
                x_hat[:, :, row.start : row.stop, column.start : column.stop] = part[:, :, _kept(row), _kept(column)]
        return x_hat

    def _check(self, header: Header) -> None:
        """MismatchError unless the stream is for this codec, these weights and this adapter."""
        manifest = self.manifest
        found = (header.codec, header.codec_fingerprint.hex())
        if found != (manifest.codec, manifest.codec_fingerprint):
            raise MismatchError(
                f"the stream was made with weights {found[1]} of codec {found[0]!r}, this decoder was exported from "
                f"{manifest.codec_fingerprint} of {manifest.codec!r}; export the codec that made it"
            )
        if not manifest.has_quality(header.quality):
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
        own: Floats = self._exported.arrays["singular_values"]
        if header.adapter_fingerprint is None:
            return np.zeros_like(own)
        if not header.has_delta:
            return own
        if not self.manifest.groups:
            raise DamagedStreamError("the stream has singular values, the adapter of this decoder has none that travel")
        if header.absolute:
            values = decode_absolute(sum(self.manifest.groups), coder)
            return own + (values.astype(np.float32) * np.float32(ABSOLUTE_STEP) - own)  # as with torch, to the last bit
        values, step = decode_delta(self.manifest.groups, coder)
        return own + values.astype(np.float32) * np.float32(step)


def _latent(span: Span, shrink: int) -> slice:
    """What of y_hat a piece is made from."""
    return slice(span.first // shrink, span.last // shrink)


def _kept(span: Span) -> slice:
    """What of a piece is kept."""
    return slice(span.start - span.first, span.stop - span.first)


def _advice(encode_with: Mapping[str, Any]) -> str:
    options = " ".join(f"--set codec.options.{name}={value}" for name, value in encode_with.items())
    return f"; encode for exported decoders with {options}" if options else ": the stream or this decoder is damaged"
