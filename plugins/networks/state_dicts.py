"""State dicts of task networks: read from a file, and put into a network."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from taskodec.coding.tensor_files import read_tensors, tensor_problem
from taskodec.errors import WeightsError
from taskodec.files.atomic import pointer_to

__all__ = ["put_weights", "read_pickle", "read_weights"]

ARRAYS = {
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}
"""All that a pickle of dictionaries and numpy arrays names; the second core is numpy 2's."""


def read_weights(file: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch or safetensors; WeightsError if there is none."""
    _check_here(file)
    if not file.is_file():
        raise WeightsError(f"no such weights file: {file}")
    try:
        state = read_tensors(file)
    except ValueError as error:
        raise WeightsError(f"{file} holds no state dict of tensors: {error}") from error
    except Exception as error:  # unpickling raises nearly anything on a file that is none of ours
        raise WeightsError(f"{file} cannot be read as weights: {type(error).__name__}: {error}") from error
    return {name.removeprefix("module."): value for name, value in state.items()}


def put_weights(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Load a state dict; WeightsError with the first lines of what does not fit."""
    for name, expected in model.state_dict().items():
        given = state.get(name)
        if given is not None and given.shape == expected.shape and (problem := tensor_problem(given, expected)):
            raise WeightsError(f"{file} does not fit {type(model).__name__}: {name} {problem}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error)[:500]
        raise WeightsError(f"{file} does not fit {type(model).__name__}: {reason}") from error


def read_pickle(file: Path) -> Any:
    """What a pickle of plain values and numpy arrays holds; WeightsError for any other, of which nothing is run.

    Strings of Python 2 are read too.
    """
    _check_here(file)
    try:
        with file.open("rb") as stream:
            return _Arrays(stream, encoding="latin1").load()
    except FileNotFoundError as error:
        raise WeightsError(f"no such weights file: {file}") from error
    except Exception as error:  # unpickling raises nearly anything on a file that is none of ours
        raise WeightsError(f"{file} cannot be read as arrays: {type(error).__name__}: {error}") from error


def _check_here(file: Path) -> None:
    if found := pointer_to("the weights", file):
        raise WeightsError(f"{file} is {found}")


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no data, and was not run")
        return super().find_class(module, name)
