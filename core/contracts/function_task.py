"""The simplest task: a function."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

from taskodec.contracts.codec import Codec
from taskodec.contracts.findings import Findings
from taskodec.contracts.task import Task
from taskodec.errors import TaskError

__all__ = ["FunctionTask"]


class FunctionTask(Task):
    """An open-set task: any differentiable function `loss(x_hat, x)` and, if wanted, its weight.


    An attribute `findings` of the function, itself a function of a picture (1, 3, H, W), is the task's `findings`.
    `views` are those of `Task`, without them the attribute of that name that the function may have.
    """

    def __init__(
        self,
        name: str,
        loss: Callable[[Tensor, Tensor], Tensor],
        lmbda: float | None = None,
        views: Collection[str] | None = None,
    ) -> None:
        if not callable(loss):
            raise TaskError(f"task {name!r}: the loss must be a function loss(x_hat, x), found {type(loss).__name__}")
        self.name = name
        self.function = loss
        self.weight = lmbda
        self.views = getattr(loss, "views", ()) if views is None else views

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def loss(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        return self.function(x_hat, reference)

    def lmbda(self, codec: Codec, quality: float) -> float | None:
        return self.weight

    def findings(self, x: Tensor) -> Findings | None:
        find: Callable[[Tensor], Findings | None] | None = getattr(self.function, "findings", None)
        return None if find is None else find(x)
