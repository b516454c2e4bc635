"""Networks as ONNX graphs, and back as functions on tensors."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from taskodec.errors import UsageError

__all__ = ["OnnxFunction", "check_onnx", "export_graph"]

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_onnx() -> None:
    """UsageError if a package is missing that exporting and running graphs needs."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UsageError(f"{', '.join(missing)} missing: install them with `pip install 'taskodec[export]'`")


def export_graph(network: nn.Module, inputs: Sequence[Tensor]) -> bytes:
    """The network as an ONNX model; height and width of every input (B, C, h, w) are dynamic, batches are not.

    `inputs` are examples. UsageError if the network cannot be exported, or a package is missing.
    """
    check_onnx()
    free = torch.export.Dim.DYNAMIC
    shapes = tuple({2: free, 3: free} if value.dim() == 4 else {} for value in inputs)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter to its own developers
            program = torch.onnx.export(
                network, tuple(inputs), dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
            )
    except Exception as error:  # whatever a network holds
        raise UsageError(f"{type(network).__name__} cannot be exported: {str(error).partition(chr(10))[0]}") from error
    finally:
        exporter.setLevel(level)
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model


class OnnxFunction:
    """An ONNX model as a function on tensors on the CPU; `optimise` lets onnxruntime rewrite its graph."""

    def __init__(self, model: bytes, *, optimise: bool = True) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [value.name for value in self.session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> Any:
        """One tensor, or a tuple where the model has several outputs."""
        arrays = {name: value.contiguous().numpy() for name, value in zip(self.names, inputs, strict=True)}
        outputs = tuple(torch.from_numpy(array) for array in self.session.run(None, arrays))
        return outputs[0] if len(outputs) == 1 else outputs
