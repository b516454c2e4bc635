"""Whether an exported decoder gives what the codec itself gives: latents to the last bit, pictures within a hair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from taskodec.coding.singular_values import Delta, Travelling
from taskodec.coding.streams import StreamWriter, decoded_picture, quantize_quality, read_latents
from taskodec.contracts import Adapter, Codec
from taskodec.errors import StreamError
from taskodec.images.metrics import psnr
from taskodec.images.tensors import pad_to
from taskodec.isolation.ambient import in_clean_state
from taskodec.runtime import Decoder, Encoder
from taskodec.stream.bitstream import Stream
from taskodec.stream.recipes import FLOAT_MEANS

__all__ = ["NEEDED_PSNR", "Parity", "check_parity"]

NEEDED_PSNR = 55.0
"""Pictures of both decoders, in dB, at which nobody sees a difference: most pixels of 8 bits are equal."""

LARGEST_LOSS = 0.3
"""In dB, what weights in fewer bits may lose of the picture's PSNR."""

ROUNDING = 0.25
"""Far more than means in float32 differ by from those in float64, and far less than a symbol."""

LARGEST, STEP = 8, 8
"""The made-up delta has integers up to ±8, in steps of 2^-4."""


@dataclass(frozen=True)
class Parity:
    """One stream decoded twice; `encoder` says which one wrote it, `torch` or `onnx`.

    `wrong` counts latents that differ; where means are floats, those that differ by more than their rounding, since
    wrong symbols are whole numbers apart. `shift` is the largest difference, `psnr` of the two pictures (100 if equal),
    `lost` the dB that the exported decoder's has less than the codec's own, against the original. `exact` says that
    its weights are in 32 bits.
    """

    quality: float
    tuned: bool
    latents: int
    wrong: int
    shift: float
    psnr: float
    error: str = ""
    encoder: str = "torch"
    lost: float = 0.0
    exact: bool = True

    @property
    def fine(self) -> bool:
        """Whether the exported decoder may stand for the codec on this stream."""
        same = self.psnr >= NEEDED_PSNR if self.exact else self.lost <= LARGEST_LOSS
        return not self.error and not self.wrong and same


@in_clean_state
@torch.no_grad()
def check_parity(
    codec: Codec,
    adapter: Adapter | None,
    decoder: Decoder,
    x: Tensor,
    qualities: Sequence[float],
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
) -> Iterator[Parity]:
    """Encode x (1, 3, H, W) at each quality, untuned and with a made-up delta, and decode by both.

    With an exported encoder, decode what it writes too.
    """
    height, width = x.shape[2:]
    rng = np.random.default_rng(seed)
    for quality in map(quantize_quality, qualities):
        latents = codec.analysis(pad_to(x, codec.stride), quality)
        writer = StreamWriter(codec, adapter, quality, (height, width))
        deltas: list[Delta | None] = [None]
        if adapter is not None and adapter.delta_groups:
            values = rng.integers(-LARGEST, LARGEST + 1, sum(adapter.delta_groups)).astype(np.int32)
            deltas.append(Delta(values, STEP))
        for delta in deltas:
            data = writer.write(latents, delta).stream
            yield _compare(codec, adapter, decoder, data, x)
        if encoder is not None:
            pixels = x[0].permute(1, 2, 0).numpy()  # (1, 3, H, W) -> (H, W, 3)
            yield replace(_compare(codec, adapter, decoder, encoder.encode(pixels, quality), x), encoder="onnx")


def _compare(codec: Codec, adapter: Adapter | None, decoder: Decoder, data: bytes, x: Tensor) -> Parity:
    """The stream `data` of x decoded by both."""
    stream = Stream.from_bytes(data)
    header = stream.header
    y_hat, delta = read_latents(stream, codec, adapter)
    x_hat = _picture(codec, adapter if header.adapter_fingerprint else None, y_hat, delta, stream)
    try:
        decoded = decoder.latents(data)
        found = torch.from_numpy(decoder.picture(decoded))
    except StreamError as error:
        return Parity(header.quality, header.has_delta, y_hat.numel(), y_hat.numel(), float("inf"), 0.0, str(error))
    shift = np.abs(decoded.y_hat - y_hat.numpy())
    wrong = int((shift > (ROUNDING if decoder.manifest.recipe in FLOAT_MEANS else 0)).sum())
    return Parity(
        header.quality,
        header.has_delta,
        y_hat.numel(),
        wrong,
        float(shift.max()),
        psnr(found, x_hat),
        lost=psnr(x_hat.clamp(0, 1), x) - psnr(found.clamp(0, 1), x),
        exact=decoder.manifest.precision == "float32",
    )


def _picture(codec: Codec, adapter: Adapter | None, y_hat: Tensor, delta: Travelling | None, stream: Stream) -> Tensor:
    header = stream.header
    size = (header.height, header.width)
    if adapter is None:
        return decoded_picture(codec, y_hat, header.quality, size)
    with adapter.applied(codec):
        adapter.set_delta(delta.tensor(y_hat) if delta else None)
        return decoded_picture(codec, y_hat, header.quality, size)
