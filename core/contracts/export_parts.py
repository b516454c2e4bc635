"""What a codec hands over to be exported: networks with named inputs and outputs, tables, arrays, and a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from taskodec.stream.tables import IntArray, Tables

__all__ = ["UNKNOWN_LICENCE", "EncoderParts", "ExportParts", "Network"]

UNKNOWN_LICENCE = "unknown: that of the checkpoint"


@dataclass(frozen=True)
class Network:
    """A network as it becomes a graph. `inputs` are examples by name; images and latents (1, C, h, w) have h, w > 1."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]


@dataclass(frozen=True)
class EncoderParts:
    """What an encoder needs beside the decoder's parts.

    Args:
        networks: `analysis`, from `x` and `gain` (M,) for codecs that have gains to `y`, and, for codecs that have a z,
            `hyper_analysis`, from `y` and `embedding` (C,) for codecs that tell it the quality to `z`. They must call
            the very layers of `Codec.adapter_layers("encoder")`.
        arrays: by the recipe's names; `log_analysis_gain` (levels, M) and `hyper_embedding` (levels, C) are what `gain`
            and `embedding` are interpolated from.
    """

    networks: Mapping[str, Network]
    arrays: Mapping[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportParts:
    """A codec's decoder in parts, and its encoder if that can be exported too.

    Args:
        recipe: a name in `taskodec.stream.recipes.RECIPES`, which says what must be in the rest.
        networks: by the names of the recipe's graphs, and `synthesis`: `y_hat`, and `gain` (M,) for codecs that have
            gains, to `x_hat`. It must call the very layers of `Codec.adapter_layers("decoder")`.
        tables: entropy tables by the recipe's names.
        arrays: by the recipe's names; `log_synthesis_gain` (levels, M) is what `gain` is interpolated from. `knots`
            (levels,) has the quality of each level, ascending reals; without it they are 1, 2, and so on.
        encode_with: options of the codec that its streams must be encoded with.
        licence: of the weights.
        encoder: None for codecs that are exported as decoders only.
    """

    recipe: str
    networks: Mapping[str, Network]
    tables: Mapping[str, Tables]
    arrays: Mapping[str, IntArray]
    encode_with: Mapping[str, Any] = field(default_factory=dict)
    licence: str = UNKNOWN_LICENCE
    encoder: EncoderParts | None = None
