"""Steps of training as CUDA graphs: hundreds of small kernels are launched at once, not one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["GraphedCalls"]


class GraphedCalls:
    """Calls a module on a GPU by recorded graphs, forward and backward, one for each set of shapes and each `key`.

    `make(key)` gives the module; it must not wait for the GPU nor depend on values, and have no buffers that change.
    Where a graph cannot be recorded, a warning says why, and the module is called as it is.
    """

    def __init__(self, make: Callable[[Any], nn.Module]) -> None:
        self.make = make
        self.recorded: dict[object, Callable[..., Any]] = {}

    def __call__(self, key: object, *inputs: Tensor) -> Any:
        """What the module of this key returns for tensors on a GPU, differentiable in its parameters."""
        shapes = (key, *(tuple(value.shape) for value in inputs))
        if shapes not in self.recorded:
            self.recorded.clear()  # of a stage before, whose memory is given back
            self.recorded[shapes] = self._record(key, inputs)
        return self.recorded[shapes](*inputs)

    def _record(self, key: object, inputs: tuple[Tensor, ...]) -> Callable[..., Any]:
        module = self.make(key)
        examples = tuple(value.detach().clone(memory_format=torch.preserve_format) for value in inputs)
        try:
            made = torch.cuda.make_graphed_callables(module, examples, allow_unused_input=True)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"no CUDA graph of a step can be recorded, steps go without: {reason}", stacklevel=3)
            return self.make(key)
        return cast("Callable[..., Any]", made)
