"""`lite`'s synthesis as it is exported: equal to `Synthesis` but for rounding, in steps that onnxruntime is fast at.

Everything is channels last, so that 1×1 convolutions are matrix products and windows are cut by moving whole rows of
channels; the linear transform gives the stem its 4×4 blocks directly; masks are made only where windows need one.
The layers' own weights are read at every call, so that others can be put in their place.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.lite.transforms import Synthesis
from taskodec.codecs.swin import RSTB, SwinBlock

__all__ = ["fast_synthesis"]

BLOCK = 4
"""Side of the blocks of pixels that the stem has as channels."""


def fast_synthesis(g_s: Synthesis, y_hat: Tensor) -> Tensor:
    """y_hat (1, M, h, w), with sides that are multiples of 4, to the picture (1, 3, 16 h, 16 w)."""
    y = y_hat.permute(0, 2, 3, 1)  # (1, M, h, w) -> (1, h, w, M)
    blocks = _inverse_dct(g_s.idct, y)
    first, second, third = (cast(nn.Conv2d, g_s.net[i]) for i in (0, 2, 5))
    stages = [cast(RSTB, g_s.net[i]) for i in (1, 4)]
    x = _swin(stages[0], _pointwise(first, y), padded=True)
    x = _swin(stages[1], _upsampled(second, x), padded=False)  # at twice a multiple of 4, windows of 8 always fit
    x = F.gelu(_upsampled(third, x) + _pointwise(g_s.linear, blocks))
    x = g_s.stem[1:](x.permute(0, 3, 1, 2))  # (1, 4h, 4w, C) -> (1, C, 4h, 4w)
    return F.pixel_shuffle(blocks.permute(0, 3, 1, 2) + x, BLOCK) + 0.5


def _inverse_dct(idct: nn.ConvTranspose2d, y: Tensor) -> Tensor:
    """What `idct` makes of y (1, h, w, M), as blocks of pixels: (1, 4h, 4w, 3 * 4 * 4)."""
    assert idct.bias is not None
    channels, n = idct.weight.shape[0], BLOCK
    weight = idct.weight.reshape(channels, 3, n, n, n, n)  # (M, 3, 16, 16) -> (M, 3, row, y, column, x)
    weight = weight.permute(2, 4, 1, 3, 5, 0).reshape(3 * n**4, channels)  # -> (row column 3 y x, M)
    bias = idct.bias[:, None].expand(3, n * n).reshape(3 * n * n).repeat(n * n)  # (3,) -> as the rows of weight
    return _spread(F.linear(y, weight, bias), n)


def _pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1×1 convolution of (1, h, w, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def _upsampled(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1×1 convolution of (1, h, w, C), then a pixel shuffle by 2."""
    assert conv.bias is not None
    channels = conv.weight.shape[0] // 4
    weight = conv.weight.reshape(channels, 4, -1).transpose(0, 1).flatten(0, 1)  # (4 O, C, 1, 1) -> (yx O, C)
    bias = conv.bias.reshape(channels, 4).T.reshape(-1)  # (4 O,) -> (yx O,)
    return _spread(F.linear(x, weight, bias), 2)


def _spread(x: Tensor, r: int) -> Tensor:
    """A pixel shuffle of channels that are in the order y, x, channel: (1, h, w, r * r * C) to (1, r h, r w, C)."""
    batch, height, width, channels = x.shape
    rows = x.reshape(batch, height, width, r, channels // r).transpose(2, 3)  # -> (1, h, y, w, x C)
    return rows.reshape(batch, r * height, r * width, channels // (r * r))  # -> (1, r h, r w, C)


def _swin(stage: RSTB, x: Tensor, *, padded: bool) -> Tensor:
    """The stage on (1, h, w, C); `padded` if windows may not fit."""
    out = x
    for block in cast(list[SwinBlock], list(stage.blocks)):
        out = out + _attention(block, block.norm1(out), padded=padded)
        out = out + block.mlp(block.norm2(out))
    return x + out


def _attention(block: SwinBlock, x: Tensor, *, padded: bool) -> Tensor:
    """As `SwinBlock._attention`."""
    batch, height, width, dim = x.shape
    w, s = block.window, block.shift
    rows, columns = (height + w - 1) // w if padded else height // w, (width + w - 1) // w if padded else width // w
    mask = block._mask(height, width, x) if padded or s else None
    if padded:
        x = F.pad(x, (0, 0, 0, columns * w - width, 0, rows * w - height))
    if s:
        x = x.roll((-s, -s), dims=(1, 2))
    x = x.reshape(batch, rows, w, columns, w * dim).transpose(2, 3)  # -> (1, rows, columns, w, w C)
    x = _windows(block, x.reshape(rows * columns, w * w, dim), mask)  # -> (n, L, C)
    x = x.reshape(batch, rows, columns, w, w * dim).transpose(2, 3)  # (n, L, C) -> (1, rows, w, columns, w C)
    x = x.reshape(batch, rows * w, columns * w, dim)  # -> (1, h', w', C)
    if s:
        x = x.roll((s, s), dims=(1, 2))
    return x[:, :height, :width] if padded else x


def _windows(block: SwinBlock, x: Tensor, mask: Tensor | None) -> Tensor:
    """Attention inside each of the windows (n, L, C)."""
    attn = block.attn
    count, length, dim = x.shape
    size = dim // attn.heads
    weights, biases = attn.qkv.weight.chunk(3), attn.qkv.bias.chunk(3)
    q, k, v = (
        F.linear(x, weight, bias).reshape(count, length, attn.heads, size).transpose(1, 2)  # (n, L, C) -> (n, H, L, d)
        for weight, bias in zip(weights, biases, strict=True)
    )
    bias = attn.relative_position_bias_table[attn.relative_position_index]  # (L*L, H)
    bias = bias.reshape(1, length, length, attn.heads).permute(0, 3, 1, 2)  # -> (1, H, L, L)
    logits = (q * size**-0.5) @ k.transpose(-2, -1) + bias
    if mask is not None:
        logits = logits + mask
    out = (logits.softmax(-1) @ v).transpose(1, 2).reshape(count, length, dim)  # (n, H, L, d) -> (n, L, C)
    projected: Tensor = attn.proj(out)
    return projected
