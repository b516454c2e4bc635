"""A linear transform codec as the first weights of a deep one: principal components of patches of patches.

Strided convolutions that see the 2×2 patch below each of their outputs, and the transposed ones that put it back, are a
block transform of as many levels. A network that begins as one has pictures from the first step on, and training only
adds to it what is not linear.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["start_as_block_transform"]


@torch.no_grad()
def start_as_block_transform(
    convs: Sequence[nn.Conv2d], deconvs: Sequence[nn.ConvTranspose2d], x: Tensor, step: float, between: float = 1.0
) -> None:
    """Set halving convolutions, and their counterparts from the last to the first, to an orthonormal transform.

    After all `convs` a coefficient of pictures like x (B, 3, H, W) has mean zero, in units of `step`. `between` is the
    factor of what lies behind each of the `convs` and before each of the `deconvs`. Outputs for which there is no
    component keep their random weights, and nothing reads them.
    """
    for conv, deconv in zip(convs, reversed(deconvs), strict=True):
        last = conv is convs[-1]
        scale = step if last else 1.0
        components = _components(x, conv.out_channels)  # (K, C, 2, 2)
        used, inputs = components.shape[:2]
        at = conv.kernel_size[0] // 2  # where the patch begins in the kernel
        x = F.conv2d(x, components, stride=2) / scale
        mean = x.mean((0, 2, 3)) * last
        conv.weight[:used] = 0
        conv.weight[:used, :inputs, at : at + 2, at : at + 2] = components / (scale * between)
        conv.bias[:used] = -mean / between  # type: ignore[index]
        deconv.weight[:, :inputs] = 0
        deconv.weight[:used, :inputs, at : at + 2, at : at + 2] = components * (scale / between)
        deconv.bias[:inputs] = scale * torch.einsum("k,kcij->cij", mean, components).mean((1, 2))  # type: ignore[index]


def _components(x: Tensor, most: int) -> Tensor:
    """Up to `most` principal components of the 2×2 patches of x (B, C, H, W), the first first: (K, C, 2, 2)."""
    channels = x.shape[1]
    patches = F.unfold(x, 2, stride=2).transpose(1, 2).flatten(0, 1).double()  # (B, 4C, L) -> (B*L, 4C)
    vectors = torch.linalg.eigh(patches.T @ patches).eigenvectors.flip(1)  # (4C, 4C), descending
    components: Tensor = vectors.T[:most].reshape(-1, channels, 2, 2).to(x)  # (K, 4C) -> (K, C, 2, 2)
    return components
