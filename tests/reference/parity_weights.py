"""Weights and an image that any implementation can make for itself, to compare with `tic_parity.npz`.

Every tensor is drawn from a generator that is seeded with a salt and the tensor's name in the reference.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor, nn

FILLED = ("weight", "bias", "relative_position_bias_table", "w_lora_U", "w_lora_S", "w_lora_V")


def parity_tensor(name: str, shape: tuple[int, ...], salt: str) -> Tensor:
    """The values of one entry of the reference's state dict."""
    noise = torch.randn(shape, generator=_generator(f"{salt}:{name}"))
    leaf = name.rpartition(".")[2]
    if leaf == "w_lora_S":
        return 0.3 * noise
    if leaf.startswith("w_lora"):
        return noise / shape[0] ** 0.5
    if leaf == "relative_position_bias_table":
        return 0.2 * noise
    if leaf == "bias":
        return 0.05 * noise
    if len(shape) == 1:  # the gain of a LayerNorm
        return 1.0 + 0.1 * noise
    gain = 0.6 if len(shape) == 4 else 1.0
    return gain * noise / math.prod(shape[1:]) ** 0.5


def is_filled(name: str) -> bool:
    """Whether an entry is drawn; the entropy model keeps its defaults, and leftovers have no values."""
    return not name.startswith(("entropy_bottleneck.", "gaussian_conditional.")) and name.endswith(FILLED)


def parity_image(height: int, width: int, salt: str) -> Tensor:
    """A smooth coloured image (1, 3, height, width) in [0, 1]."""
    coarse = torch.rand(1, 3, 8, 8, generator=_generator(f"{salt}:image"))
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def _generator(label: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(label.encode()))
