"""Networks as ONNX graphs, and back as functions on tensors."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from taskodec.errors import UsageError
from taskodec.extras import require

__all__ = ["OnnxFunction", "check_onnx", "export_graph"]

FOLDED = 1024
"""Constants of more elements are not computed beforehand: a gathered bias is larger than its table and index."""


def check_onnx() -> None:
    """UsageError if a package is missing that exporting and running graphs needs."""
    require("export", "ONNX graphs")


def export_graph(
    network: nn.Module,
    inputs: Sequence[Tensor],
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    *,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The network as an ONNX model; height and width of every input (B, C, h, w) are dynamic, batches are not.

    `inputs` are examples, `names` those of inputs and outputs; `opset` None is the exporter's own. Nothing of this
    machine, such as a path, is in the model. UsageError if the network cannot be exported, or a package is missing.
    """
    check_onnx()
    shapes: tuple[Any, ...] = tuple({2: "height", 3: "width"} if value.dim() == 4 else {} for value in inputs)
    if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(network.forward).parameters.values()):
        shapes = (shapes,)  # `*inputs` counts as one
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter to its own developers
            program = torch.onnx.export(
                network,
                tuple(value.clone() for value in inputs),  # one tensor given twice would become one input
                input_names=list(names[0]) if names else None,
                output_names=list(names[1]) if names else None,
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
                optimize=False,
            )
            assert program is not None
            return _finished(program.model_proto, metadata or {})
    except Exception as error:  # whatever a network holds
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise UsageError(f"{type(network).__name__} cannot be exported: {reason}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _finished(traced: Any, metadata: Mapping[str, str]) -> bytes:
    """The model simplified, checked, with this metadata and no other."""
    import onnx
    from onnxscript import optimizer

    model = optimizer.optimize(traced, input_size_limit=FOLDED, output_size_limit=FOLDED)
    graph = model.graph
    _share_equal(graph)
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph, model):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _share_equal(graph: Any) -> None:
    """Keep one of tensors that are equal, such as the tables of indexes that every block of attention has."""
    from onnx import numpy_helper

    kept: dict[tuple[int, tuple[int, ...], bytes], Any] = {}
    names = {}
    for tensor in graph.initializer:
        content = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        names[tensor.name] = kept.setdefault(content, tensor).name
    tensors = list(kept.values())
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


class OnnxFunction:
    """An ONNX model as a function on tensors on the CPU; `optimise` lets onnxruntime rewrite its graph.

    `threads` None is onnxruntime's own number.
    """

    def __init__(self, model: bytes, *, optimise: bool = True, threads: int | None = None) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [value.name for value in self.session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> Any:
        """One tensor, or a tuple where the model has several outputs."""
        arrays = {name: value.contiguous().numpy() for name, value in zip(self.names, inputs, strict=True)}
        outputs = tuple(torch.from_numpy(array) for array in self.session.run(None, arrays))
        return outputs[0] if len(outputs) == 1 else outputs
