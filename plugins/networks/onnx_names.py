"""Which networks are ONNX files, and which options are for those alone. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskodec.errors import UsageError
from taskodec.files.inputs import expand_home

__all__ = ["onnx_file"]

START = "onnx:"


def onnx_file(network: str, weights: str | Path | None, onnx: Mapping[str, Any] | None) -> Path | None:
    """The file of `onnx:FILE`, None for other networks; UsageError for options that are not for the one it is."""
    if not network.startswith(START):
        if onnx:
            raise UsageError(f"task.options.onnx is for networks {START}FILE, not for {network!r}; leave it out")
        return None
    if weights is not None:
        raise UsageError(f"{network} has its weights in the file; leave out task.options.weights")
    return expand_home(network.removeprefix(START))
