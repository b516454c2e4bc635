"""An exported codec's folder as graphs on onnxruntime, for the torch-free decoder and encoder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from taskodec.console.terminal import shown
from taskodec.errors import TaskodecError, UsageError, WeightsError
from taskodec.extras import require
from taskodec.runtime.exported import Exported, read_exported
from taskodec.stream.prior_coding import Floats
from taskodec.stream.recipes import RECIPES, Recipe

__all__ = ["CPU", "TILE", "Session", "fitting", "load_recipe", "open_folder"]

CPU = "CPUExecutionProvider"
"""The execution provider that every onnxruntime has."""

TILE = 2**22
"""As `limits.tile`."""

DECISIVE = ("hyper", "context")
"""Graphs whose outputs choose tables and symbols."""

OUTPUTS = {"hyper": 2}
"""Of graphs that have not one."""

LARGE = 2**21
"""Numbers in an input, after which the memory that a graph took is given back; for less it is kept, which is faster."""


def open_folder(folder: str | os.PathLike[str], graphs: Collection[str]) -> Exported:
    """These graphs of what `taskodec export` wrote; WeightsError for a folder that cannot be used."""
    exported = read_exported(Path(folder), graphs)
    if (recipe := exported.manifest.recipe) not in RECIPES:
        raise WeightsError(
            f"{folder} needs recipe {shown(recipe)}, this version of taskodec knows {', '.join(RECIPES)}: "
            "update taskodec"
        )
    return exported


def load_recipe(exported: Exported, threads: int | None) -> Recipe:
    """How latents are coded; its graphs, which decide on symbols, run on the CPU."""
    decisive = [name for name in DECISIVE if name in exported.graphs]
    graphs = {name: Session(name, exported, (CPU,), threads) for name in decisive}
    try:
        return RECIPES[exported.manifest.recipe](graphs, exported.tables, exported.arrays)
    except KeyError as error:
        raise WeightsError(f"the folder has no {error}, which its recipe needs: export the codec again") from error


@contextmanager
def fitting() -> Iterator[None]:
    """WeightsError for whatever numpy makes of graphs and arrays that do not go together, as they may in any folder."""
    try:
        yield
    except TaskodecError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise WeightsError(f"the folder's graphs and arrays do not fit ({reason}): export the codec again") from error


class Session:
    """One ONNX graph of a folder on onnxruntime: inputs by name to the list of outputs."""

    def __init__(self, name: str, exported: Exported, providers: Sequence[str], threads: int | None) -> None:
        if name not in exported.graphs:
            raise WeightsError(f"the folder has no {name}.onnx, which is needed: export the codec again")
        ort = _onnxruntime()
        valid = ort.get_available_providers()
        if missing := [provider for provider in providers if provider not in valid]:
            raise UsageError(f"onnxruntime here has no {', '.join(missing)}; valid: {', '.join(valid)}")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # which would hold memory for every size of picture so far
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(exported.graphs[name], options, providers=list(providers))
        except Exception as error:  # onnxruntime has a class for each status
            raise WeightsError(f"{name}.onnx cannot be loaded: {_first_line(error)}") from error
        self._name = name
        self._tidy = ort.RunOptions()
        self._tidy.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, **inputs: Floats) -> list[Any]:
        try:
            large = max(value.size for value in inputs.values()) > LARGE
            outputs: list[Any] = self._session.run(None, inputs, self._tidy if large else None)
        except Exception as error:  # onnxruntime has a class for each status
            raise TaskodecError(f"{self._name}.onnx cannot be computed: {_first_line(error)}") from error
        self._check(outputs)
        return outputs

    def _check(self, outputs: Sequence[Any]) -> None:
        """WeightsError unless these are what the graph is for: pictures or latents (1, C, h, w) of float32."""
        found = [f"{getattr(value, 'dtype', type(value).__name__)} {getattr(value, 'shape', '')}" for value in outputs]
        fit = len(outputs) == OUTPUTS.get(self._name, 1) and all(
            isinstance(value, np.ndarray)
            and value.dtype == np.float32
            and value.ndim == 4
            and len(value) == 1
            and value.size
            for value in outputs
        )
        if fit and self._name in DECISIVE:  # tables are chosen by these
            fit = all(bool(np.isfinite(value).all()) for value in outputs)
        if not fit:
            raise WeightsError(
                f"{self._name}.onnx gives {'; '.join(found) or 'nothing'}, not "
                f"{OUTPUTS.get(self._name, 1)} of finite float32 (1, C, h, w): export the codec again"
            )


def _onnxruntime() -> Any:
    require("export", "exported codecs", only=["onnxruntime"])
    import onnxruntime

    return onnxruntime


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
