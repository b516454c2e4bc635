"""CompressAI's own models as anchors of speed: its networks, its `compress` and `decompress`, its entropy coder.

The codecs of the same names in `taskodec.codecs.compressai.models` predict in float64 and code with this project's
coder; these are what CompressAI itself would run. Weights are random: seconds do not depend on them but for the
entropy coding of y, which is zero nearly everywhere.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import torch
from PIL import Image
from torch.nn import functional as F

from taskodec.codecs.compressai.imports import compute_padding, zoo
from taskodec.coding.stages import Stage
from taskodec.errors import ImageError, UsageError
from taskodec.images.tensors import load_image, to_pil
from taskodec.isolation.randomness import seeded

__all__ = ["NativeAnchor", "bmshj2018_hyperprior", "mbt2018_mean"]

QUALITY = 3
SEED = 0
STRIDE = 64

HEAD = struct.Struct("<5I")
"""Width and height, height and width of z, bytes of y; the strings of y and z come after it, and last their CRC-32."""

CHECK = struct.Struct("<I")


class NativeAnchor:
    """One hyperprior model of CompressAI at quality 3, on the CPU.

    What `encode` makes is for `decode` of the same process: CompressAI's entropy decoder does not check what it
    reads, so bytes from anywhere else must not be given to it.
    """

    qualities = (float(QUALITY),)

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name = name
        with seeded(SEED):
            self.net = make(quality=QUALITY, pretrained=False).eval()
        self.net.update(force=True)

    @property
    def version(self) -> str:
        """CompressAI's version, and where the weights are from."""
        return f"CompressAI {version('compressai')}, random weights of seed {SEED}"

    def stages(self) -> Sequence[Stage]:
        """Its transforms, and the methods of its entropy models."""
        net = self.net
        y, z = net.gaussian_conditional, net.entropy_bottleneck
        coders = ((z, "compress"), (z, "decompress"), (y, "build_indexes"), (y, "compress"), (y, "decompress"))
        return (
            Stage("analysis", net.g_a, "forward", "g_a"),
            Stage("analysis", net.h_a, "forward", "h_a"),
            Stage("entropy", net.h_s, "forward", "h_s"),
            *(Stage("entropy", owner, method, "coder") for owner, method in coders),
            Stage("synthesis", net.g_s, "forward", "g_s"),
        )

    @torch.no_grad()
    def encode(self, image: Image.Image, quality: float) -> bytes:
        """The image's two strings with their lengths; padded as CompressAI's evaluation does. UsageError but for 3."""
        if quality != QUALITY:
            raise UsageError(f"quality {quality:g} is not valid for {self.name}; valid: {QUALITY}")
        x = load_image(image, max_pixels=image.width * image.height).x
        padding, _ = compute_padding(image.height, image.width, min_div=STRIDE)
        coded = self.net.compress(F.pad(x, padding))
        (y,), (z,) = coded["strings"]
        body: bytes = HEAD.pack(*image.size, *coded["shape"], len(y)) + y + z
        return body + CHECK.pack(zlib.crc32(body))

    @torch.no_grad()
    def decode(self, data: bytes) -> Image.Image:
        """The RGB image; ImageError if the bytes are not whole."""
        body = data[: -CHECK.size]
        if len(body) < HEAD.size or CHECK.pack(zlib.crc32(body)) != data[-CHECK.size :]:
            raise ImageError(f"these {len(data)} bytes are no readable {self.name} file: give what encode returned")
        width, height, rows, columns, split = HEAD.unpack_from(body)
        strings = body[HEAD.size :]
        x_hat = self.net.decompress([[strings[:split]], [strings[split:]]], (rows, columns))["x_hat"]
        _, unpadding = compute_padding(height, width, min_div=STRIDE)
        return to_pil(F.pad(x_hat, unpadding))


def bmshj2018_hyperprior() -> NativeAnchor:
    """The scale hyperprior (Ballé et al. 2018)."""
    return NativeAnchor("compressai-bmshj2018-hyperprior", zoo.bmshj2018_hyperprior)


def mbt2018_mean() -> NativeAnchor:
    """The mean-scale hyperprior (Minnen et al. 2018)."""
    return NativeAnchor("compressai-mbt2018-mean", zoo.mbt2018_mean)
