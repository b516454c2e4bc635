"""Tensors from files of anyone's making, and whether they can be the weights they are given as.

A file is read as data only. What cannot be weights is refused before anything computes with it: a pickle that names
code, an archive that expands to more than it is, tensors that are sparse, quantised, or larger than what is stored.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from taskodec.console.terminal import shown

__all__ = ["load_torch", "read_tensors", "tensor_problem"]

EXPANSION = 16
"""How many times its size an archive may expand to; torch itself does not compress."""


def read_tensors(source: Path | BinaryIO) -> dict[str, Tensor]:
    """The tensors in a safetensors file, by its suffix, or in one of `torch.save`, bare or under `state_dict`.

    ValueError if it holds anything else; what the libraries raise on damaged files is nearly anything.
    """
    if isinstance(source, Path) and source.suffix == ".safetensors":
        from safetensors.torch import load_file

        content: Any = load_file(source)
    else:
        content = load_torch(source)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"it holds {shown(content)}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"it holds {shown(value)} as {shown(name)}")
        _check_plain(name, value)
    return dict(content)


def load_torch(source: Path | BinaryIO) -> Any:
    """What a file of `torch.save` holds, on the CPU: tensors and plain values, or an error of nearly any kind."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
        size = source.stat().st_size if isinstance(source, Path) else source.seek(0, 2)
        if sum(member.file_size for member in members) > 2**20 + EXPANSION * size:
            raise ValueError("its parts expand to far more than the file has")
    if not isinstance(source, Path):
        source.seek(0)
    return torch.load(source, map_location="cpu", weights_only=True)


def tensor_problem(value: Tensor, expected: Tensor) -> str | None:
    """Why this cannot become the value of `expected`; None if it can. Looks at values only if all else fits."""
    if not isinstance(value, Tensor):
        return f"found {shown(value)}, expected a tensor"
    if value.shape != expected.shape:
        return f"found shape {tuple(value.shape)}, expected {tuple(expected.shape)}"
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        return "is not a plain tensor"
    kinds = (value.is_floating_point(), value.is_complex())
    if kinds != (expected.is_floating_point(), expected.is_complex()) or (kinds[0] and value.dtype.itemsize < 2):
        return f"found {value.dtype}, expected {expected.dtype}"
    return None if bool(value.isfinite().all()) else "holds values that are not finite"


def _check_plain(name: str, value: Tensor) -> None:
    if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided or value.is_quantized:
        raise ValueError(f"its tensor {shown(name)} is sparse, quantised, or of a class of its own")
    if value.device.type != "cpu" or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"its tensor {shown(name)} has {value.numel()} values, which are not in the file")
