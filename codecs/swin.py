"""Window attention for codecs: Swin blocks that take and return (B, C, H, W) of any height and width.

Liu et al. 2021, "Swin Transformer", §3.2 (arXiv:2103.14030); grouped with a residual around the group as in
Liang et al. 2021, "SwinIR", §3.1 (arXiv:2108.10257). Numerically equal to the blocks of TIC (Lu et al. 2022,
arXiv:2111.06707) in evaluation mode where height and width are multiples of the window.

Other sizes are padded with zeros to the right and below, just before the windows are cut, and cropped right
after; padding takes no part in the attention of real positions. Masks are made of the current size in every
call, and never kept: a mask kept in Python would be baked into an exported graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.products import Linear

__all__ = ["RSTB", "SwinBlock"]

MASKED = -100.0
"""Added to the attention of positions that do not belong together; the reference has this, not -inf."""


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for every relative position.

    Adapters act on `qkv` and `proj`, which are called as `nn.Linear` modules.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"the width {dim} is not a multiple of the number of heads {heads}")
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_positions(window), persistent=False)
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend inside each of the windows (B, n, L, C); `mask` (n, 1, L, L) is added to the attention."""
        batch, count, length, dim = x.shape
        qkv = self.qkv(x).reshape(batch * count, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B*n, L, 3, heads, d) -> 3 times (B*n, heads, L, d)
        bias = self.relative_position_bias_table[self.relative_position_index]  # (L*L, heads)
        bias = bias.reshape(1, length, length, self.heads).permute(0, 3, 1, 2)  # -> (1, heads, L, L)
        if mask is not None:
            bias = bias + mask
            bias = bias if batch == 1 else bias.repeat(batch, 1, 1, 1)  # (n, heads, L, L) -> (B*n, heads, L, L)
        out = _attend(q, k, v, bias)
        out = out.transpose(1, 2).reshape(batch, count, length, dim)  # (B*n, heads, L, d) -> (B, n, L, C)
        projected: Tensor = self.proj(out)
        return projected


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, at every position."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) to (…, C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class SwinBlock(nn.Module):
    """One transformer block: window attention and an MLP, each normalised first and added to its input.

    Args:
        dim: channels.
        heads: attention heads; divides `dim`.
        window: side of the square windows.
        shift: how far the windows are shifted up and left; 0 for none, at most `window - 1`.
        mlp_ratio: hidden channels of the MLP, as a multiple of `dim`.
    """

    def __init__(self, dim: int, heads: int, window: int = 8, shift: int = 0, mlp_ratio: float = 2.0) -> None:
        super().__init__()
        if not 0 <= shift < window:
            raise ValueError(f"the shift {shift} is not in 0..{window - 1}, for windows of {window}")
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W), in channels_last memory format."""
        x = x.permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)
        x = x + self._attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x.permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W)

    def _attention(self, x: Tensor) -> Tensor:
        """Pad, shift, cut (B, H, W, C) into windows, attend, and put everything back."""
        batch, height, width, dim = x.shape
        w, s = self.window, self.shift
        rows, columns = _windows(height, w), _windows(width, w)
        # Neither padding nor cropping by nothing is free; a graph, traced once for all sizes, must hold both.
        whole = not torch.compiler.is_compiling() and height % w == 0 and width % w == 0
        if not whole:
            x = F.pad(x, (0, 0, 0, columns * w - width, 0, rows * w - height))
        if s:
            x = x.roll((-s, -s), dims=(1, 2))
        x = x.reshape(batch, rows, w, columns, w, dim).transpose(2, 3)  # -> (B, rows, columns, w, w, C)
        x = x.reshape(batch, rows * columns, w * w, dim)  # -> (B, n, L, C)
        x = self.attn(x, self._mask(height, width, x))
        x = x.reshape(batch, rows, columns, w, w, dim).transpose(2, 3)  # -> (B, rows, w, columns, w, C)
        x = x.reshape(batch, rows * w, columns * w, dim)  # -> (B, H', W', C)
        if s:
            x = x.roll((s, s), dims=(1, 2))
        return x if whole else x[:, :height, :width]

    def _mask(self, height: int, width: int, like: Tensor) -> Tensor | None:
        """(n, 1, L, L): 0 between positions of one region, -100 between regions; None where all are in one."""
        w = self.window
        # A graph is traced once for all sizes, so the shortcut must not be traced.
        if not torch.compiler.is_compiling() and not self.shift and height % w == 0 and width % w == 0:
            return None
        rows = _regions(height, w, self.shift, like).reshape(-1, 1, w, 1)  # (H',) -> (rows, 1, w, 1)
        columns = _regions(width, w, self.shift, like).reshape(1, -1, 1, w)  # (W',) -> (1, columns, 1, w)
        regions = (rows * 6 + columns).reshape(-1, w * w)  # (rows, columns, w, w) -> (n, L)
        apart = regions.unsqueeze(1) != regions.unsqueeze(2)
        return (apart.to(like.dtype) * MASKED).unsqueeze(1)  # (n, L, L) -> (n, 1, L, L)


class RSTB(nn.Module):
    """Residual Swin transformer block: `x + blocks(x)`, where every second block has shifted windows.

    Args:
        dim: channels.
        depth: number of blocks.
        heads: attention heads; divides `dim`.
        window: side of the square windows.
        shift: False to shift no block.
    """

    def __init__(self, dim: int, depth: int, heads: int, window: int, shift: bool = True) -> None:
        super().__init__()
        shifts = [window // 2 if shift and i % 2 else 0 for i in range(depth)]
        self.blocks = nn.Sequential(*(SwinBlock(dim, heads, window, s) for s in shifts))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        x = x.contiguous(memory_format=torch.channels_last)  # else every norm of every block makes a copy in rows
        out: Tensor = x + self.blocks(x)
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Softmax attention over (B*n, heads, L, d)."""
    # Fused attention does not export to ONNX, and has no fast path that also trains the bias.
    if not torch.compiler.is_compiling() and not (bias.requires_grad and torch.is_grad_enabled()):
        if q.dtype == torch.bfloat16 and q.device.type == "cpu":  # whose backward pass takes ten times as long there
            with torch.autocast("cpu", enabled=False):
                return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=bias.float())
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
    attended: Tensor = logits.softmax(-1) @ v
    return attended


def _relative_positions(window: int) -> Tensor:
    """For every pair of positions of a window, the row of the bias table: (L*L,), L = window²."""
    axis = torch.arange(window)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)  # (2, w, w) -> (2, L)
    offsets = grid.unsqueeze(2) - grid.unsqueeze(1) + window - 1  # (2, L, L), each from 0 to 2w - 2
    return (offsets[0] * (2 * window - 1) + offsets[1]).flatten()


def _windows(size: int, window: int) -> int:
    """How many windows cover `size` positions; in a form that symbolic shapes can be simplified in."""
    return (size + window - 1) // window


def _regions(size: int, window: int, shift: int, like: Tensor) -> Tensor:
    """Region of every row (or column) after padding and shifting, (size + padding,): 0..2, or 3..5 for padding.

    The windows of the last stripe hold what the shift brought round from the other side; it may not be mixed.
    """
    padded = _windows(size, window) * window
    i = torch.arange(padded, device=like.device)
    stripe = (i >= padded - window).int() + (i >= padded - shift).int()
    source = torch.where(i + shift >= padded, i + shift - padded, i + shift)  # no modulo: ONNX has none of a symbol
    return stripe + 3 * (source >= size).int()
