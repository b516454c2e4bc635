"""The weights of an ONNX graph in fewer bits: stored as float16 or int8, made float32 again when the graph is loaded.

Only the file is smaller. Inputs, outputs and arithmetic stay in float32, so every execution provider runs it, as fast
as before: onnxruntime computes what depends on weights alone once, at loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from taskodec.stream.prior_coding import Floats
from taskodec.stream.tables import IntArray

__all__ = ["Precision", "with_precision"]

Precision = Literal["float32", "float16", "int8"]

SMALLEST = 1024
"""Weights with fewer numbers, such as biases, stay as they are: they would save nothing."""

LEVELS = 127

FEWEST = 64
"""Weights that share a scale of 32 bits, or the scales would take what the weights save."""

LAST = 0.08
"""The share of all weights, those nearest to the output, that keep 16 bits where the others have 8.

What the last filters lose goes into the picture as it is: in `lite`, these made nine tenths of the error.
"""


def with_precision(model: bytes, precision: Precision) -> bytes:
    """The graph with its weights in this precision.

    int8 is symmetric and has a scale for each row of a weight, along the axis that loses least; the last weights
    before the output have 16 bits there.
    """
    if precision == "float32":
        return model
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load_model_from_string(model)
    graph = loaded.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {n: array for n, array in arrays.items() if array.dtype == np.float32 and array.size >= SMALLEST}
    fine = set(weights) if precision == "float16" else _last([node.input for node in graph.node], weights)
    kept, nodes = [], []
    for tensor in graph.initializer:
        weight = weights.get(tensor.name)
        if weight is None:
            kept.append(tensor)
            continue
        stored, made = (_halves if tensor.name in fine else _bytes)(tensor.name, weight)
        kept += [numpy_helper.from_array(value, name) for name, value in stored.items()]
        nodes += made
    others = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*nodes, *others])
    onnx.checker.check_model(loaded, full_check=True)
    data: bytes = loaded.SerializeToString()
    return data


def _last(inputs: Sequence[Iterable[str]], weights: Mapping[str, Floats]) -> set[str]:
    """The names of the weights that are used last, in the order of the nodes' `inputs`, as many as fit into `LAST`."""
    used = {name: place for place, names in enumerate(inputs) for name in names if name in weights}
    room = LAST * sum(weight.size for weight in weights.values())
    found = set()
    for name in sorted(used, key=used.__getitem__, reverse=True):
        if weights[name].size <= room:
            room -= weights[name].size
            found.add(name)
    return found


def _halves(name: str, weight: Floats) -> tuple[dict[str, IntArray], list[Any]]:
    from onnx import TensorProto, helper

    stored = f"{name}_float16"
    cast = helper.make_node("Cast", [stored], [name], f"{name}_load", to=TensorProto.FLOAT)
    return {stored: weight.clip(-65504, 65504).astype(np.float16)}, [cast]


def _bytes(name: str, weight: Floats) -> tuple[dict[str, IntArray], list[Any]]:
    from onnx import TensorProto, helper

    axes: list[int | None] = [axis for axis, side in enumerate(weight.shape) if weight.size >= FEWEST * side]
    whole, scale = min((_rounded(weight, axis) for axis in axes or [None]), key=lambda pair: _loss(weight, *pair))
    stored, real, scales = f"{name}_int8", f"{name}_whole", f"{name}_scale"
    nodes = [
        helper.make_node("Cast", [stored], [real], f"{name}_load", to=TensorProto.FLOAT),
        helper.make_node("Mul", [real, scales], [name], f"{name}_rescale"),
    ]
    return {stored: whole, scales: scale}, nodes


def _rounded(weight: Floats, axis: int | None) -> tuple[IntArray, Floats]:
    """Integers and their scales, one for each row along the axis or, without it, one in all, shaped to multiply."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(others, keepdims=True)
    scale: Floats = (np.maximum(largest, np.float32(1e-12)) / np.float32(LEVELS)).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def _loss(weight: Floats, whole: IntArray, scale: Floats) -> float:
    return float(((whole * scale - weight) ** 2).sum())
