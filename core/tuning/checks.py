"""Guards around a task, which may be anybody's code: what it raises, returns, and changes.

It runs in the state of PyTorch that taskodec computes in, and leaves that state as it was
(`taskodec.isolation.ambient.kept`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from taskodec.contracts import JointReference, JointTask, Task
from taskodec.contracts.joint_task import joint, own_of
from taskodec.errors import TaskError
from taskodec.isolation.ambient import kept
from taskodec.isolation.faults import named
from taskodec.isolation.randomness import reproducible
from taskodec.tuning.slopes import WatchedReference, watch

__all__ = ["checked_loss", "checked_losses", "guest"]


def checked_loss(task: Task, x_hat: Tensor, reference: Any, *, connected: bool = False) -> Tensor:
    """`task.loss(x_hat, reference)`, or a TaskError that names the task and says what is wrong.

    The loss must be a finite floating-point scalar and leave its arguments as they were. If `x_hat` requires a
    gradient, the loss must depend on it (`connected` says that this was seen in an earlier call), and a gradient that
    is not finite raises in the backward pass. Cheap enough for every tuning step. Of a joint task each part is checked.
    """
    if isinstance(task, JointTask):
        return _joint(task, x_hat, [reference], connected, many=False)
    return _checked(task, x_hat, [reference], lambda: task.loss(x_hat, reference), (), connected)


def checked_losses(task: Task, x_hat: Tensor, references: Sequence[Any], *, connected: bool = False) -> Tensor:
    """`task.batch_loss(x_hat, references)` (B,) of several pictures (B, 3, H, W), checked like `checked_loss`."""
    if isinstance(task, JointTask):
        return _joint(task, x_hat, references, connected, many=True)
    return _checked(task, x_hat, references, lambda: task.batch_loss(x_hat, references), (len(references),), connected)


def _joint(
    task: JointTask, x_hat: Tensor, references: Sequence[JointReference], connected: bool, *, many: bool
) -> Tensor:
    """The joint loss, every part of it checked by itself, with a gradient of its own to look at."""
    losses = []
    for i, (part, own) in enumerate(zip(task.parts, own_of(references), strict=True)):
        shown = x_hat.view_as(x_hat)
        watches = [reference.slopes[i] for reference in references if isinstance(reference, WatchedReference)]
        watch(shown, watches)
        fit = torch.is_autocast_enabled(x_hat.device.type) and part.task.mixed_precision
        with torch.autocast(x_hat.device.type, enabled=fit, dtype=torch.get_autocast_dtype(x_hat.device.type)):
            if many:
                losses.append(checked_losses(part.task, shown, own, connected=connected))
            else:
                losses.append(checked_loss(part.task, shown, own[0], connected=connected))
    return joint(losses, references)


@contextmanager
def guest(task: Task, what: str, like: Tensor, *passing: type[Exception]) -> Iterator[None]:
    """Around a call of the task's own code; errors of `passing` are the task's word for what is wrong."""
    drawing = f"{what} of {id(task)}, {'with' if torch.is_grad_enabled() else 'without'} gradients"
    with (
        named(f"task {task.name!r}: its {what} raised", TaskError, *passing),
        kept(),
        reproducible(drawing, like.device),
    ):
        yield


def _checked(
    task: Task,
    x_hat: Tensor,
    references: Sequence[Any],
    compute: Callable[[], Tensor],
    shape: tuple[int, ...],
    connected: bool,
) -> Tensor:
    given = [value for value in (x_hat, *references) if isinstance(value, Tensor)]
    versions = [value._version for value in given]
    tracked = x_hat.requires_grad and torch.is_grad_enabled()
    source = get_gradient_edge(x_hat).node if tracked and not connected else None
    if tracked and not x_hat.is_leaf:
        x_hat.register_hook(lambda grad: _check_gradient(task, grad))  # type: ignore[no-untyped-call]
    with guest(task, "loss", x_hat):
        loss = compute()
    if versions != [value._version for value in given]:
        raise TaskError(
            f"task {task.name!r}: the loss changes its arguments in place; work on copies, as x_hat.clamp(0, 1) does "
            "and x_hat.clamp_(0, 1) does not"
        )
    _check_value(task, loss, shape, x_hat.device)
    if source is not None and not _reaches(loss.grad_fn, source):
        raise TaskError(
            f"task {task.name!r}: the loss does not depend on x_hat through differentiable operations; "
            "compute it from x_hat with torch alone, without detach, no_grad, numpy, comparisons or argmax"
        )
    return loss


def _check_value(task: Task, loss: object, shape: tuple[int, ...], device: torch.device) -> None:
    if not isinstance(loss, Tensor):
        raise TaskError(f"task {task.name!r}: the loss must return a scalar tensor, found {type(loss).__name__}")
    if loss.device != device or loss.layout != torch.strided:
        raise TaskError(
            f"task {task.name!r}: the loss is a {loss.layout} tensor on {loss.device}, expected a plain one on "
            f"{device}, where the pictures are; move the network there in `to`"
        )
    if shape and loss.shape != shape:
        raise TaskError(
            f"task {task.name!r}: its losses have shape {tuple(loss.shape)}, needed: {shape}, one a picture"
        )
    if loss.dim() != len(shape):
        raise TaskError(
            f"task {task.name!r}: the loss must be a scalar, found shape {tuple(loss.shape)}; "
            "reduce it, as with .mean()"
        )
    if not loss.is_floating_point():
        raise TaskError(f"task {task.name!r}: the loss must be a floating-point number, found {loss.dtype}")
    values = loss.detach().flatten().tolist()
    for value in (value for value in values if not math.isfinite(value)):
        raise TaskError(
            f"task {task.name!r}: the loss is {value}; look for a division by zero, or a log or sqrt of zero or less"
        )


def _check_gradient(task: Task, gradient: Tensor) -> None:
    if not bool(torch.isfinite(gradient).all()):
        raise TaskError(
            f"task {task.name!r}: the gradient of the loss is not finite although its value is; "
            "the square root and the norm have no slope at zero: add a small constant inside"
        )


def _reaches(node: Any, source: Any) -> bool:
    """Whether the gradient flows from `node` to `source`; nothing is computed."""
    seen = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node is source:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(after for after, _ in node.next_functions)
    return False
