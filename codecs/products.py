"""Products of matrices that run as convolutions of oneDNN where PyTorch would take a slower library for them.

On a CPU PyTorch multiplies matrices of float32 with MKL, which leaves half of what a processor of AMD's with AVX-512
can do; oneDNN's direct convolutions do not. Convolutions of 1×1 on one thread go to MKL too, unless there are at least
`BATCH` samples.
"""

from __future__ import annotations

import os
import platform
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Blocks", "Linear", "Pointwise", "convolves_directly", "linear"]

BATCH = 16
"""From so many samples on PyTorch gives 1×1 convolutions to oneDNN on any number of threads."""


def convolves_directly(x: Tensor) -> bool:
    """Whether oneDNN convolves this as it stands: sums of products in float32, by no algorithm with fewer of them."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
        and _has_direct_convolutions()
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `torch.nn.functional.linear`: (…, I) by (O, I) to (…, O)."""
    rows = x.numel() // max(x.shape[-1], 1)
    if rows == 0 or rows % BATCH or not convolves_directly(x):
        return F.linear(x, weight, bias)
    samples = x.reshape(BATCH, 1, rows // BATCH, x.shape[-1]).permute(0, 3, 1, 2)  # (…, I) -> (16, I, 1, n)
    out = F.conv2d(samples, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))  # (16, O, 1, n) -> (…, O)


class Linear(nn.Linear):
    """A linear layer by `linear`."""

    plain = True

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution by `linear`: (B, I, h, w) to (B, O, h, w), in channels_last memory format."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not convolves_directly(input):
            convolved: Tensor = super()._conv_forward(input, weight, bias)
            return convolved
        rows = input.permute(0, 2, 3, 1)  # (B, I, h, w) -> (B, h, w, I)
        return linear(rows, weight.flatten(1), bias).permute(0, 3, 1, 2)  # (B, h, w, O) -> (B, O, h, w)


class Blocks(nn.ConvTranspose2d):
    """A transposed convolution whose blocks do not overlap, by `linear`: (B, I, h, w) to (B, O, size h, size w)."""

    plain = True

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size, stride=size)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or self.bias is None or not convolves_directly(input):
            convolved: Tensor = super().forward(input, output_size)
            return convolved
        batch, _, height, width = input.shape
        outputs, size = self.weight.shape[1:3]
        blocks = linear(input.permute(0, 2, 3, 1), self.weight.flatten(1).T)  # (B, I, h, w) -> (B, h, w, O*size*size)
        blocks = blocks.reshape(batch, height, width, outputs, size, size).permute(0, 3, 1, 4, 2, 5)
        x = blocks.reshape(batch, outputs, size * height, size * width)  # (B, O, h, size, w, size) -> (B, O, H, W)
        return x + self.bias[:, None, None]


@cache
def _has_direct_convolutions() -> bool:
    """Elsewhere oneDNN calls libraries that have others, and these variables let it compute in fewer bits."""
    modes = {os.environ.get(f"{prefix}_DEFAULT_FPMATH_MODE", "STRICT").upper() for prefix in ("ONEDNN", "DNNL")}
    machine = platform.machine().lower()
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and machine in ("x86_64", "amd64") and modes == {"STRICT"}
