"""Networks from ONNX files: parts of a graph between named tensors, as differentiable PyTorch modules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from taskodec.errors import WeightsError
from taskodec.extras import require
from taskodec.files.atomic import pointer_to
from taskodec.plugins.networks.onnx_padding import put_padding, take_padding

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["convert", "follow_sizes", "input_name", "input_shape", "output_name", "read_graph"]


def read_graph(file: Path) -> ModelProto:
    """The checked graph in a file. UsageError without the converter, WeightsError if the file holds no graph."""
    require("det", "networks from ONNX files")
    import onnx

    if not file.is_file():
        raise WeightsError(f"no such weights file: {file}")
    if found := pointer_to("the network", file):
        raise WeightsError(f"{file} is {found}")
    try:
        graph = onnx.load(file)
        onnx.checker.check_model(graph)
        return onnx.shape_inference.infer_shapes(graph)
    except Exception as error:  # protobuf and onnx have errors of many kinds for a file that is none of theirs
        raise WeightsError(f"{file} is not a usable ONNX file: {type(error).__name__}: {str(error)[:300]}") from error


def convert(graph: ModelProto, inputs: Sequence[str], outputs: Sequence[str], file: Path) -> fx.GraphModule:
    """The part of a graph from tensors `inputs` to tensors `outputs` as a module, which returns a list if several.

    WeightsError, which names `file`, if it has no such tensors or operators that the converter does not know.
    """
    from onnx.utils import Extractor
    from onnx2torch import convert as to_torch

    known = {name for node in graph.graph.node for name in node.output} | {i.name for i in graph.graph.input}
    if missing := [name for name in (*inputs, *outputs) if name not in known]:
        raise WeightsError(f"{file} has no tensors {', '.join(missing)}: is it the file that the network was made for?")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter's own, about its use of numpy and torch
            part = Extractor(graph).extract_model(list(inputs), list(outputs))
            _settle_weights(part)
            paddings = take_padding(part)
            module: Any = to_torch(part)
            put_padding(module, paddings)
    except Exception as error:  # the converter has no errors of its own
        raise WeightsError(f"{file} cannot be converted: {type(error).__name__}: {str(error)[:300]}") from error
    _fuse_silu(module)
    _replace_slices(module)
    return module.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _settle_weights(graph: ModelProto) -> None:
    """Make initializers of weights that exporters write as constants, or as copies of others that are equal.

    The converter looks for those of a convolution among initializers alone.
    """
    from onnx import TensorProto, helper

    known = {tensor.name: tensor for tensor in graph.graph.initializer}
    ends = {end.name for end in graph.graph.output}
    for node in list(graph.graph.node):
        found = None
        if node.op_type == "Identity":
            found = known.get(node.input[0])
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            value = helper.get_attribute_value(node.attribute[0])
            found = value if value.data_type == TensorProto.FLOAT and value.dims else None
        if found is not None and node.output[0] not in ends:
            weight = TensorProto()
            weight.CopyFrom(found)
            weight.name = node.output[0]
            known[weight.name] = weight
            graph.graph.initializer.append(weight)
            graph.graph.node.remove(node)


class _Slice(nn.Module):
    """ONNX's Slice with constant bounds; the converter's own indexes with lists, which PyTorch gives up."""

    def forward(
        self, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        along = range(len(starts)) if axes is None else axes.tolist()
        strides = [1] * len(starts) if steps is None else steps.tolist()
        for axis, start, end, stride in zip(along, starts.tolist(), ends.tolist(), strides, strict=True):
            if stride > 0:
                x = x[(slice(None),) * (axis % x.dim()) + (slice(start, end, stride),)]
            else:
                backwards = list(range(x.shape[axis])[start:end:stride])
                x = x.index_select(axis, torch.tensor(backwards, device=x.device))
        return x


def _replace_slices(module: nn.Module) -> None:
    """Put `_Slice` in the place of the converter's."""
    from onnx2torch.node_converters.slice import OnnxSlice

    for name, child in module.named_children():
        if isinstance(child, OnnxSlice):
            setattr(module, name, _Slice())


class _Ratio(nn.Module):
    """ONNX's Resize to a constant size, as the ratio that this has to what comes in at the size the graph declares."""

    def __init__(self, inner: nn.Module, ratios: Sequence[float]) -> None:
        super().__init__()
        self.inner, self.ratios = inner, tuple(ratios)

    def forward(self, x: Tensor, roi: Tensor | None = None, scales: object = None, sizes: object = None) -> Tensor:
        sides = [round(side * ratio) for side, ratio in zip(x.shape[2:], self.ratios, strict=True)]
        found: Tensor = self.inner(x, roi, None, torch.tensor([*x.shape[:2], *sides]))
        return found


@torch.no_grad()
def follow_sizes(module: nn.Module, x: Tensor) -> None:
    """Have the sizes that a graph's Resizes write out follow those of what comes in; `x` is of the declared size."""
    from onnx2torch.node_converters.resize import OnnxResize

    found: dict[str, list[float]] = {}
    hooks = []
    for name, child in module.named_children():  # those that follow already are inside of others
        if isinstance(child, OnnxResize):

            def note(_: nn.Module, x: tuple[Any, ...], named: dict[str, Any], made: Tensor, name: str = name) -> None:
                if len(x) > 3 or named.get("sizes") is not None:  # x, roi, scales, sizes
                    sides = zip(x[0].shape[2:], made.shape[2:], strict=True)
                    found[name] = [after / before for before, after in sides]

            hooks.append(child.register_forward_hook(note, with_kwargs=True))
    try:
        module(x)
    finally:
        for hook in hooks:
            hook.remove()
    for name, ratios in found.items():
        setattr(module, name, _Ratio(getattr(module, name), ratios))


def _fuse_silu(module: fx.GraphModule) -> None:
    """Write x * sigmoid(x), which ONNX has no word for, as one operation: less time, and less to keep."""
    parts = dict(module.named_modules())
    for node in module.graph.nodes:
        if node.op != "call_module" or getattr(parts[node.target], "math_op_function", None) is not torch.mul:
            continue
        for x, gate in (node.args, node.args[::-1]):
            is_sigmoid = gate.op == "call_module" and isinstance(parts[gate.target], nn.Sigmoid)
            if is_sigmoid and gate.args == (x,):
                with module.graph.inserting_before(node):
                    node.replace_all_uses_with(module.graph.call_function(F.silu, (x,)))
                break
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def input_name(graph: ModelProto) -> str:
    """The graph's first input that is no weight; WeightsError if there is none."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    names = [str(entry.name) for entry in graph.graph.input if entry.name not in weights]
    if not names:
        raise WeightsError("the graph has no input but its weights: is it the file of a network?")
    return names[0]


def input_shape(graph: ModelProto, *, nhwc: bool = False) -> tuple[int, int] | None:
    """Height and width of the graph's first input, or None where it does not fix both."""
    name = input_name(graph)
    (entry,) = (entry for entry in graph.graph.input if entry.name == name)
    sides = [dimension.dim_value for dimension in entry.type.tensor_type.shape.dim]
    if len(sides) != 4:
        return None
    height, width = sides[1:3] if nhwc else sides[2:4]
    return (height, width) if height > 0 and width > 0 else None


def output_name(graph: ModelProto) -> str:
    """The graph's first output; WeightsError if there is none."""
    if not graph.graph.output:
        raise WeightsError("the graph has no output: is it the file of a network?")
    return str(graph.graph.output[0].name)
