"""The low-rank branch of one layer: its factors U, S, V and how they act on the layer's input.

A branch computes `up(S * down(x))`, which equals what the layer would add if `U diag(S) Vᵀ` stood in its
weight. The weight itself is only read for its shape. The samples of a batch may have factors of their own, see
`Factors`. Three kinds of layers have a branch:

| layer | V, used by `down` | U, used by `up` |
|---|---|---|
| Linear | (in, r) | (out, r) |
| Conv2d | (r, in, k, k), with the layer's stride and padding | (out, r), a 1x1 convolution |
| ConvTranspose2d | (in, r), a 1x1 convolution | (r, out, k, k), with the layer's stride and padding |
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskodec.errors import UsageError

__all__ = ["ConvBranch", "DeconvBranch", "Factors", "LinearBranch", "LowRank", "make_branch", "seeded_uniform"]


def seeded_uniform(shape: tuple[int, ...], seed: int, label: str) -> Tensor:
    """Kaiming-uniform values (a = sqrt 5) that are the same on every machine and with every torch.

    The bound is `1 / sqrt(fan_in)`, with the fan-in that `torch.nn.init` reads off this shape: the product of
    all sides but the first. The values come from a SHAKE-256 hash of `seed:label`, 32 bits each, through
    operations that IEEE 754 rounds exactly, so that a decoder can rebuild them.
    """
    count = int(np.prod(shape))
    digest = hashlib.shake_256(f"{seed}:{label}".encode()).digest(4 * count)
    draws = np.frombuffer(digest, dtype="<u4") >> 8  # 24 bits, exact in every format used below
    unit = (2.0 * draws.astype(np.float64) + 1.0) * 2.0**-24 - 1.0  # odd multiples of 2^-24 in (-1, 1)
    bound = 1.0 / np.sqrt(np.float64(np.prod(shape[1:])))
    values: npt.NDArray[np.float32] = (unit * bound).astype(np.float32).reshape(shape)  # (count,) -> shape
    return torch.from_numpy(values)


@dataclass(frozen=True)
class Factors:
    """U, S and V of one branch; S is None in plain LoRA.

    Any of them may have a side more, the first, with an entry for each sample of a batch. What such a branch is given
    then holds the samples one after the other along its first side: (B, C, h, w), or (B, …, C) and (B·n, …, C).
    """

    U: Tensor
    S: Tensor | None
    V: Tensor

    def is_zero(self) -> bool:
        """Whether the branch adds exactly nothing."""
        return not bool((self.U if self.S is None else self.S).any())

    def trained(self) -> bool:
        """Whether a gradient must reach one of them."""
        return any(factor is not None and factor.requires_grad for factor in (self.U, self.S, self.V))


class LowRank(nn.Module, ABC):
    """U, V and, unless it is plain LoRA, S of one layer, as float32 parameters on the layer's device.

    The rank is clipped to what the layer's weight matrix can have: a Linear with three outputs gets three.
    """

    layer_type: ClassVar[type[nn.Module]]

    def __init__(self, name: str, layer: nn.Module, rank: int, seed: int, *, singular: bool) -> None:
        super().__init__()
        weight = layer.get_parameter("weight")
        self.weight_shape = tuple(weight.shape)
        u_shape, v_shape = self.shapes(self.weight_shape, rank)
        u = seeded_uniform(u_shape, seed, f"{name}:U") if singular else torch.zeros(u_shape, dtype=torch.float32)
        self.w_lora_U = nn.Parameter(u.to(weight.device))
        self.w_lora_V = nn.Parameter(seeded_uniform(v_shape, seed, f"{name}:V").to(weight.device))
        self.rank = (u_shape if len(u_shape) == 2 else v_shape)[-1]
        self.w_lora_S: nn.Parameter | None
        zeros = torch.zeros(self.rank, dtype=torch.float32, device=weight.device)
        self.register_parameter("w_lora_S", nn.Parameter(zeros) if singular else None)

    @staticmethod
    @abstractmethod
    def shapes(weight: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of U and V for a weight of this shape."""

    def fits(self, layer: nn.Module) -> bool:
        """Whether `layer` is of the kind and shape this branch was made for."""
        return isinstance(layer, self.layer_type) and tuple(layer.get_parameter("weight").shape) == self.weight_shape

    def factors(self, s: Tensor | None) -> Factors:
        """The branch's own U and V, with `s` for S."""
        return Factors(self.w_lora_U, s, self.w_lora_V)

    @abstractmethod
    def forward(self, layer: nn.Module, x: Tensor, factors: Factors, scaling: float) -> Tensor:
        """What the branch adds to the output of `layer` for its input `x`, with these factors for its own."""

    @abstractmethod
    def update(self, s: Tensor | None, scaling: float) -> Tensor:
        """The same update as a tensor of the weight's shape."""


class LinearBranch(LowRank):
    """`x V diag(S) Uᵀ` beside a Linear layer."""

    layer_type = nn.Linear

    @staticmethod
    def shapes(weight: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        rows, columns = weight
        rank = min(rank, rows, columns)
        return (rows, rank), (columns, rank)

    def forward(self, layer: nn.Module, x: Tensor, factors: Factors, scaling: float) -> Tensor:
        narrow = _mix(x, factors.V)
        weights = _weights(narrow, factors.S, scaling)
        if weights.dim() > 1:
            narrow = (narrow.reshape(len(weights), -1, self.rank) * weights[:, None]).view_as(narrow)  # (B, n, r)
        else:
            narrow = narrow * weights
        return _mix(narrow, factors.U.mT)

    def update(self, s: Tensor | None, scaling: float) -> Tensor:
        return _scaled(self.w_lora_U, s, scaling) @ self.w_lora_V.T


class ConvBranch(LowRank):
    """A convolution like the layer's but to r channels, then 1x1 to the layer's outputs."""

    layer_type = nn.Conv2d

    @staticmethod
    def shapes(weight: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        out, channels, height, width = weight
        rank = min(rank, out, channels * height * width)
        return (out, rank), (rank, channels, height, width)

    def forward(self, layer: nn.Module, x: Tensor, factors: Factors, scaling: float) -> Tensor:
        assert isinstance(layer, nn.Conv2d)
        convolve = partial(layer._conv_forward, bias=None)  # this method knows every padding mode
        narrow = _each(convolve, x, factors.V)
        return _mix_channels(narrow * _weights(narrow, factors.S, scaling)[..., None, None], factors.U)

    def update(self, s: Tensor | None, scaling: float) -> Tensor:
        return torch.einsum("or,rihw->oihw", _scaled(self.w_lora_U, s, scaling), self.w_lora_V)


class DeconvBranch(LowRank):
    """1x1 to r channels, then a transposed convolution like the layer's."""

    layer_type = nn.ConvTranspose2d

    @staticmethod
    def shapes(weight: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        channels, out, height, width = weight
        rank = min(rank, channels, out * height * width)
        return (rank, out, height, width), (channels, rank)

    def forward(self, layer: nn.Module, x: Tensor, factors: Factors, scaling: float) -> Tensor:
        assert isinstance(layer, nn.ConvTranspose2d)
        convolve = partial(
            F.conv_transpose2d,
            stride=layer.stride,
            padding=layer.padding,  # type: ignore[arg-type]  # never a string: only "zeros" padding exists here
            output_padding=layer.output_padding,
            dilation=layer.dilation,
        )
        narrow = _mix_channels(x, factors.V.mT)
        return _each(convolve, narrow * _weights(narrow, factors.S, scaling)[..., None, None], factors.U)

    def update(self, s: Tensor | None, scaling: float) -> Tensor:
        return torch.einsum("ir,rohw->iohw", _scaled(self.w_lora_V, s, scaling), self.w_lora_U)


BRANCHES: tuple[type[LowRank], ...] = (LinearBranch, ConvBranch, DeconvBranch)


def make_branch(name: str, layer: nn.Module, rank: int, seed: int, *, singular: bool) -> LowRank:
    """The branch for this layer, or a UsageError that names it and says why it cannot have one."""
    found = f"layer {name!r} ({type(layer).__name__})"
    for branch in BRANCHES:
        if not isinstance(layer, branch.layer_type):
            continue
        own = type(layer).forward is not branch.layer_type.forward
        if own and not getattr(layer, "plain", False):  # which a class says that computes the same by other means
            raise UsageError(f"{found} computes its output in a way of its own; adapters need a plain layer")
        if getattr(layer, "groups", 1) != 1:
            raise UsageError(f"{found} has groups={layer.groups}; adapters take convolutions with groups=1 only")
        return branch(name, layer, rank, seed, singular=singular)
    raise UsageError(f"{found} cannot have an adapter; valid: Linear, Conv2d, ConvTranspose2d")


def _scaled(factor: Tensor, s: Tensor | None, scaling: float) -> Tensor:
    """Fold S and the scaling into the columns of a (n, r) factor."""
    return factor * (scaling if s is None else s * scaling)


def _weights(narrow: Tensor, s: Tensor | None, scaling: float) -> Tensor:
    """What the r channels of `narrow` are multiplied by: (), (r,), or (B, r)."""
    return narrow.new_tensor(scaling) if s is None else s * scaling


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """`x @ matrix` over the last side: (…, n) to (…, m), with (n, m), or with (B, n, m) for each sample."""
    if matrix.dim() == 2:
        return F.linear(x, matrix.mT)
    mixed = x.reshape(len(matrix), -1, x.shape[-1]) @ matrix  # (B, …, n) -> (B, k, n) -> (B, k, m)
    return mixed.view(*x.shape[:-1], matrix.shape[-1])  # -> (B, …, m)


def _mix_channels(x: Tensor, matrix: Tensor) -> Tensor:
    """A 1x1 convolution: (B, n, h, w) to (B, m, h, w), with (m, n), or with (B, m, n) for each sample."""
    if matrix.dim() == 2:
        return F.conv2d(x, matrix[:, :, None, None])  # (m, n) -> (m, n, 1, 1)
    return (matrix @ x.flatten(2)).view(*matrix.shape[:2], *x.shape[2:])  # (B, n, h*w) -> (B, m, h*w) -> (B, m, h, w)


def _each(convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor) -> Tensor:
    """A convolution of (B, C, h, w) with one kernel of four sides, or with one for each sample."""
    if kernel.dim() == 4:
        return convolve(x, kernel)
    return torch.cat([convolve(one[None], own) for one, own in zip(x, kernel, strict=True)])
