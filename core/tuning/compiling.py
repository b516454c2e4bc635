"""`torch.compile` where it works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["compile_or_not"]


def compile_or_not(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled, or with a warning as it is, if at its first call that turns out to be impossible."""
    chosen: list[Callable[..., Any]] = []

    def call(x: Tensor, *rest: object) -> Any:
        if not chosen:
            chosen.append(_tried(function, x, *rest))
        return chosen[0](x, *rest)

    return call


def _tried(function: Callable[..., Any], x: Tensor, *rest: object) -> Callable[..., Any]:
    compiled = torch.compile(function)
    try:
        with torch.enable_grad():
            found = compiled(x.detach().requires_grad_(), *rest)
            parts = [found] if isinstance(found, Tensor) else found
            torch.stack([part.float().sum() for part in parts]).sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # of whatever a backend needs and does not find
        reason = str(error).partition("\n")[0]
        warnings.warn(f"tuning goes on without torch.compile: {reason}", stacklevel=2)
        return function
    return compiled
