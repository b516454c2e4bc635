"""Data parallel training over processes that torchrun has started.

Gradients are summed in one flat bucket after the backward pass, so that a codec needs no wrapper around it:
rate and distortion come from several of its methods, not from one `forward`. Without torchrun everything here
does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from taskodec.api.loading import choose_device
from taskodec.errors import SettingsError, TaskodecError

__all__ = [
    "any_rank",
    "broadcast_weights",
    "process_group",
    "rank",
    "share_of",
    "sum_gradients",
    "sum_over_ranks",
    "training_device",
    "wait_for_all",
    "world_size",
]


def rank() -> int:
    """The number of this process; 0 is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share_of(count: int) -> range:
    """Which of `count` things this process takes: neighbours, and all processes about as many."""
    return range(count * rank() // world_size(), count * (rank() + 1) // world_size())


def training_device(name: str) -> torch.device:
    """The device of this process; under torchrun each has a GPU of its own. SettingsError for what is not here."""
    device = choose_device(name)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise SettingsError(f"device = {name!r}: several processes need device auto, cuda or cpu")
    return choose_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started, if it did.

    A process that fails does not wait for the others: it leaves the group as it is, and torchrun ends them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if gpu and distributed.is_nccl_available() else "gloo")
    yield
    distributed.destroy_process_group()


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of `x` over all processes, in place; a TaskodecError when one of them is gone."""
    if world_size() > 1:
        try:
            distributed.all_reduce(x)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise TaskodecError(f"process {rank()} has lost another one, which may say why above: {reason}") from error
    return x


def any_rank(condition: bool, device: torch.device) -> bool:
    """Whether the condition holds in any process."""
    if world_size() == 1:
        return condition
    return bool(sum_over_ranks(torch.tensor(float(condition), device=device)))


def wait_for_all(device: torch.device) -> None:
    """Go on when every process has come here."""
    any_rank(False, device)


def sum_gradients(parameters: Sequence[nn.Parameter], figures: Tensor) -> Tensor:
    """Replace every gradient by its sum over all processes; returns the sum of `figures` (K,), which travel along."""
    if world_size() == 1:
        return figures
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    bucket = sum_over_ranks(torch.cat([*(g.flatten() for g in gradients), figures.to(gradients[0])]))
    *summed, figures = torch.split(bucket, [*(g.numel() for g in gradients), len(figures)])
    for parameter, gradient, value in zip(parameters, gradients, summed, strict=True):
        parameter.grad = gradient.copy_(value.view(gradient.shape))  # (n,) -> the parameter's shape
    return figures


@torch.no_grad()
def broadcast_weights(module: nn.Module) -> None:
    """Give every process the parameters and buffers of process 0."""
    if world_size() > 1:
        for value in module.state_dict().values():
            same = value.contiguous()
            distributed.broadcast(same, 0)
            value.copy_(same)
