"""Between latents and streams: the one place where a codec, an adapter and the bitstream meet."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from taskodec.coding.singular_values import Absolute, Travelling, read_travelling
from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.coding.weights import lasting_state
from taskodec.contracts import Adapter, Codec, Latents
from taskodec.errors import MismatchError, WeightsError
from taskodec.images.tensors import crop_to
from taskodec.stream.bitstream import Header, Stream
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

__all__ = [
    "Coded",
    "StreamWriter",
    "check_weights",
    "codec_fingerprint",
    "decoded_picture",
    "quantize_quality",
    "read_latents",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coded:
    """One image as a file, and what its decoder will see."""

    stream: bytes
    y_hat: Tensor
    delta: Travelling | None
    adapter_bytes: float
    """Share of the singular values in the file, the adapter's fingerprint in the header included, its metadata not."""
    header_bytes: float
    """Everything that is neither latents nor adapter."""
    adapter_fingerprint: bytes | None = None
    """Of the adapter that the stream names; None for one that the codec alone decodes."""

    @property
    def latent_bytes(self) -> float:
        """The rest: y and z."""
        return len(self.stream) - self.adapter_bytes - self.header_bytes


def codec_fingerprint(codec: Codec) -> bytes:
    """4 bytes of SHA-256 over the codec's name and its lasting state: all parameters and persistent buffers.

    It is kept until they change, for to make it is a tenth of the time that decoding takes.
    """
    state = lasting_state(codec)
    marks = {name: _marks(value) for name, value in state.items()}
    known = _fingerprints.get(codec)
    if known is None or known[:2] != (codec.name, marks):
        known = _fingerprints[codec] = (codec.name, marks, _hashed(codec.name, state))
    return known[2]


_fingerprints: WeakKeyDictionary[Codec, tuple[str, dict[str, tuple[object, ...]], bytes]] = WeakKeyDictionary()


def _marks(value: Tensor) -> tuple[object, ...]:
    """What tells that a tensor has changed: its version and, since `value.data` changes without one, its first row."""
    version = None if value.is_inference() else value._version
    row = value[:1] if value.dim() else value
    return value.data_ptr(), value.shape, value.dtype, version, float(row.sum(dtype=torch.float32))


def _hashed(name: str, state: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.sha256(name.encode())
    for key, value in state.items():
        digest.update(key.encode())
        array = (value.float() if value.is_floating_point() else value.long()).detach().cpu().contiguous().numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.digest()[:4]


def quantize_quality(quality: float) -> float:
    """The nearest quality that a stream can name: multiples of 1/16."""
    return round(quality * 16) / 16


class StreamWriter:
    """Writes streams of images of one size with one codec, adapter and quality."""

    def __init__(
        self,
        codec: Codec,
        adapter: Adapter | None,
        quality: float,
        size: tuple[int, int],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.codec, self.adapter, self.quality = codec, adapter, quality
        self.height, self.width = size
        self.metadata = metadata or {}
        self.fingerprint = codec_fingerprint(codec)

    @torch.no_grad()
    def write(self, latents: Latents, delta: Travelling | None) -> Coded:
        """Code the latents (1, M, h, w) of one image and, unless it is None or no change, the delta."""
        coder = SymbolEncoder()
        absolute = isinstance(delta, Absolute)
        if delta is not None and not absolute and not delta.values.any():
            delta = None
        if delta is not None and self.adapter is not None:
            delta.write(self.adapter.delta_groups, coder)
        adapter_bits = coder.bits
        y_hat = self.codec.encode(latents, self.quality, coder)
        needs_adapter = self.adapter is not None and (delta is not None or self.adapter.changes_decoder())
        header = Header(
            codec=self.codec.name,
            codec_fingerprint=self.fingerprint,
            width=self.width,
            height=self.height,
            quality=self.quality,
            adapter_fingerprint=self.adapter.fingerprint() if self.adapter is not None and needs_adapter else None,
            has_delta=delta is not None,
            absolute=absolute,
            index_checksum=coder.checksum,
            metadata=self.metadata if needs_adapter else {},
        )
        stream = Stream(header, coder.getvalue())
        adapter_bytes = adapter_bits / 8 + (4 if needs_adapter else 0)
        header_bytes = stream.header_bytes - (4 if needs_adapter else 0)
        return Coded(stream.to_bytes(), y_hat, delta, adapter_bytes, header_bytes, header.adapter_fingerprint)


def check_weights(header: Header, codec: Codec) -> None:
    """MismatchError unless the codec has the weights of the stream; for earlier ones, it says which files to give."""
    found, needed = codec_fingerprint(codec), header.codec_fingerprint
    if found == needed:
        return
    earlier = codec.earlier.get(needed.hex())
    if earlier is None:
        raise MismatchError(
            f"the stream was made with weights {needed.hex()} of codec {header.codec!r}, the ones here are "
            f"{found.hex()}; give the right ones with codec.checkpoint=FILE"
        )
    raise MismatchError(
        f"the stream was written with {earlier.name} ({needed.hex()}), the ones here are {found.hex()}; decode it with "
        f"{earlier.options(header.adapter_fingerprint)}"
    )


@torch.no_grad()
def read_latents(stream: Stream, codec: Codec, adapter: Adapter | None) -> tuple[Tensor, Travelling | None]:
    """y_hat (1, M, h, w) and the delta of a stream whose codec and adapter are these.

    Raises MismatchError when the weights differ from the writer's, and when the tables that this machine chose
    are not those of the writer.
    """
    header = stream.header
    log.info(
        "decoding %dx%d pixels of %s at quality %g: %d bytes of header, %d of payload%s",
        *(header.width, header.height, header.codec, header.quality, stream.header_bytes, len(stream.payload)),
        ", with an adapter" if adapter else "",
    )
    check_weights(header, codec)
    coder = SymbolDecoder(stream.payload)
    delta = read_travelling(header, adapter, coder) if adapter is not None else None
    size = (padded(header.height, codec.stride), padded(header.width, codec.stride))
    y_hat = codec.decode(size, header.quality, coder)
    if coder.checksum != header.index_checksum:
        raise MismatchError(
            f"the entropy tables chosen here (checksum {coder.checksum:04x}) are not the encoder's "
            f"({header.index_checksum:04x}): this machine computes codec {header.codec!r} differently; decode on "
            "the machine or with the settings (threads, device) that encoded"
        )
    return y_hat, delta


@torch.no_grad()
def decoded_picture(codec: Codec, y_hat: Tensor, quality: float, size: tuple[int, int], tiles: Tiles = WHOLE) -> Tensor:
    """The picture (1, 3, height, width) of decoded latents, not yet clamped; WeightsError if it is not finite."""
    full = (padded(size[0], codec.stride), padded(size[1], codec.stride))
    x_hat = crop_to(tiles.synthesis(codec, y_hat, quality, full), *size)
    if not bool(torch.isfinite(x_hat).all()):
        raise WeightsError(
            f"codec {codec.name!r} makes a picture of NaN or infinite values; its weights are damaged or do not belong "
            "to it"
        )
    return x_hat


def padded(side: int, stride: int) -> int:
    """The next multiple of the stride."""
    return -(-side // stride) * stride
