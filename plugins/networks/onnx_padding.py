"""ONNX's `auto_pad` in graphs whose pictures have any size: how much is added depends on what comes, each time anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["SamePadding", "put_padding", "take_padding"]

PADDED = {"Conv": 0.0, "MaxPool": float("-inf")}
"""Operators that can have it, and what they continue their input with."""


@dataclass(frozen=True)
class SamePadding:
    """What an operator needs so that its output has its input's size over its stride, rounded up."""

    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    lower: bool
    value: float

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, …) continued at both ends of every axis; the odd one is at the end, or at the start if `lower`."""
        pads: list[int] = []
        for size, kernel, stride, dilation in zip(x.shape[2:], self.kernel, self.strides, self.dilations, strict=True):
            missing = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
            less, more = missing // 2, missing - missing // 2
            pads = [*((more, less) if self.lower else (less, more)), *pads]  # of the last axis first
        return F.pad(x, pads, value=self.value) if any(pads) else x


class _Padded(nn.Module):
    def __init__(self, padding: SamePadding, inner: nn.Module) -> None:
        super().__init__()
        self.padding, self.inner = padding, inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(self.padding(x))
        return found


def take_padding(graph: ModelProto) -> Mapping[str, SamePadding]:
    """Take `auto_pad` SAME out of a graph, whose nodes that had it get names of their own; by these, what they had."""
    from onnx.helper import get_attribute_value

    shapes = {weight.name: list(weight.dims) for weight in graph.graph.initializer}
    found: dict[str, SamePadding] = {}
    for node in graph.graph.node:
        given = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        way = given.get("auto_pad", b"NOTSET")
        if node.op_type not in PADDED or way not in (b"SAME_UPPER", b"SAME_LOWER"):
            continue
        kernel = given.get("kernel_shape") or shapes.get(node.input[1], [])[2:]
        ones = [1] * len(kernel)
        node.name = f"same_padding_{len(found)}"
        found[node.name] = SamePadding(
            kernel,
            given.get("strides", ones),
            given.get("dilations", ones),
            way == b"SAME_LOWER",
            PADDED[node.op_type],
        )
        kept = [attribute for attribute in node.attribute if attribute.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend(kept)
    return found


def put_padding(module: nn.Module, paddings: Mapping[str, SamePadding]) -> None:
    """Give the modules of these names their padding back."""
    for name, padding in paddings.items():
        setattr(module, name, _Padded(padding, getattr(module, name)))
