"""State dicts of task networks: read from a file, and put into a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from taskodec.errors import WeightsError

__all__ = ["put_weights", "read_weights"]


def read_weights(file: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch or safetensors; WeightsError if there is none."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"no such weights file: {file}") from error
    except Exception as error:  # unpickling raises nearly anything on a file that is none of ours
        raise WeightsError(f"{file} cannot be read as weights: {type(error).__name__}: {error}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file} holds a {type(state).__name__}, expected a state dict of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def put_weights(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Load a state dict; WeightsError with the first lines of what does not fit."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error)[:500]
        raise WeightsError(f"{file} does not fit {type(model).__name__}: {reason}") from error
