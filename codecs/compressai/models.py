"""Loaders of CompressAI's image models, by the names CompressAI has for them.

Weights come from a local checkpoint (CompressAI's format or this project's), from CompressAI's own download, or
are random, which a warning says.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskodec.codecs.checkpoints import load_tensors, read_checkpoint
from taskodec.codecs.compressai.families import Autoregressive, CompressAICodec, Factorized, Hyperprior, ScaleHyperprior
from taskodec.codecs.compressai.imports import image, image_vbr, models, rename_key
from taskodec.codecs.compressai.vbr import VariableAutoregressive, VariableHyperprior, VariableScaleHyperprior
from taskodec.codecs.zoo import COMPRESSAI, compressai_name
from taskodec.errors import UsageError, WeightsError
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.randomness import seeded

__all__ = [
    "LMBDAS",
    "Loader",
    "bmshj2018_factorized",
    "bmshj2018_factorized_relu",
    "bmshj2018_hyperprior",
    "bmshj2018_hyperprior_vbr",
    "cheng2020_anchor",
    "cheng2020_attn",
    "mbt2018",
    "mbt2018_mean",
    "mbt2018_mean_vbr",
    "mbt2018_vbr",
]

LMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)
"""CompressAI's trade-offs for mean squared error, qualities 1 to 8."""


MAX_CHANNELS = 640
"""Twice as many as CompressAI's widest models have."""


@dataclass(frozen=True)
class Loader:
    """Builds one model. `architecture` is CompressAI's class, `family` the codec around it."""

    name: str
    architecture: type[Any]
    family: type[CompressAICodec]

    @in_clean_state
    def __call__(
        self,
        quality: float = 3,
        checkpoint: str | Path | None = None,
        pretrained: bool = False,
        metric: str = "mse",
        seed: int = 0,
        guard: str = "exact",
    ) -> CompressAICodec:
        """The codec in evaluation mode.

        Args:
            quality: the level, 1 to 8 (cheng2020: 1 to 6); of a model of variable rate, any value between.
            checkpoint: a file with the weights; its numbers of channels are taken over.
            pretrained: download CompressAI's weights, or take them from torch's cache.
            metric: what the downloaded weights were trained on, `mse` or `ms-ssim`.
            seed: of the random weights, when there are no others.
            guard: `exact`, or `portable` for decoders that compute scales in float32; not for context models.

        Raises UsageError if there is no such quality or guard, WeightsError if the weights cannot be had or do not fit.
        """
        self._check_quality(quality)
        if checkpoint is not None:
            state, source = read_checkpoint(checkpoint, rename_key).state, str(checkpoint)
        elif pretrained:
            state, source = self._download(quality, metric), f"CompressAI's download of {self.name}"
        else:
            warnings.warn(
                f"codec {self.name!r} has no checkpoint: its weights are random, and its pictures are noise. "
                "Give one as codec.checkpoint=FILE, or let CompressAI download its own with "
                "codec.options.pretrained=true.",
                stacklevel=2,
            )
            return self._build(quality, self._published_sizes(quality), seed=seed).use_guard(guard).eval()
        codec = self._build(quality, _sizes(state, source) or self._published_sizes(quality), state)
        load_tensors(codec, state, source)
        return codec.use_guard(guard).eval()

    @property
    def variable(self) -> bool:
        """Whether one network serves all qualities."""
        return self.name in image_vbr.cfgs

    def _levels(self) -> int:
        return len(LMBDAS) if self.variable else len(image.cfgs[self.name])

    def _check_quality(self, quality: float) -> None:
        levels = self._levels()
        if not 1 <= quality <= levels or (not self.variable and quality != int(quality)):
            kind = "any value" if self.variable else "whole numbers"
            raise UsageError(f"quality {quality:g} does not exist for codec {self.name!r}; valid: {kind} 1 to {levels}")

    def _published_sizes(self, quality: float) -> tuple[int, ...]:
        sizes: tuple[int, ...] = image_vbr.cfgs[self.name] if self.variable else image.cfgs[self.name][int(quality)]
        return sizes

    def _build(
        self, quality: float, sizes: tuple[int, ...], state: Mapping[str, Tensor] | None = None, seed: int = 0
    ) -> CompressAICodec:
        """The codec with random weights; what is optional in a network is there if `state` has it."""
        options: dict[str, Any] = {}
        if self.variable and self.family is not VariableAutoregressive:
            options["vr_entbttlnck"] = state is None or any(name.startswith("gayn2zqstep.") for name in state)
        with seeded(seed):
            net = self.architecture(*sizes, **options)
        if self.variable:
            return self.family(self.name, net, range(1, len(LMBDAS) + 1), LMBDAS)
        return self.family(self.name, net, (quality,), (LMBDAS[int(quality) - 1],))

    def _download(self, quality: float, metric: str) -> dict[str, Tensor]:
        """CompressAI's published weights."""
        name = compressai_name(self.name, metric, None if self.variable else int(quality))
        if name not in COMPRESSAI:
            raise WeightsError(
                f"CompressAI has no weights of {self.name!r} with metric {metric!r}; pass a file as codec.checkpoint"
            )
        file = COMPRESSAI[name].find()
        state = torch.load(file, map_location="cpu", weights_only=True)  # it has the published hash
        return {rename_key(name): value for name, value in state.items() if name != "QuantOffset"}


def _sizes(state: Mapping[str, Tensor], source: str) -> tuple[int, ...] | None:
    """N, or N and M, of a network with these weights; None if they are of no known network."""
    known = (("g_a.0.conv1.weight",), ("g_a.0.weight", "g_a.6.weight"))
    layers = next((names for names in known if state.keys() >= set(names)), None)
    if layers is None:
        return None
    shapes = [tuple(state[name].shape) for name in layers]
    if any(len(shape) != 4 or not 1 <= shape[0] <= MAX_CHANNELS for shape in shapes):
        raise WeightsError(f"{source}: {', '.join(layers)} have shapes {shapes}; valid: 1 to {MAX_CHANNELS} channels")
    return tuple(shape[0] for shape in shapes)


bmshj2018_factorized = Loader("bmshj2018-factorized", models.FactorizedPrior, Factorized)
bmshj2018_factorized_relu = Loader("bmshj2018-factorized-relu", models.FactorizedPriorReLU, Factorized)
bmshj2018_hyperprior = Loader("bmshj2018-hyperprior", models.ScaleHyperprior, ScaleHyperprior)
mbt2018_mean = Loader("mbt2018-mean", models.MeanScaleHyperprior, Hyperprior)
mbt2018 = Loader("mbt2018", models.JointAutoregressiveHierarchicalPriors, Autoregressive)
cheng2020_anchor = Loader("cheng2020-anchor", models.Cheng2020Anchor, Autoregressive)
cheng2020_attn = Loader("cheng2020-attn", models.Cheng2020Attention, Autoregressive)
bmshj2018_hyperprior_vbr = Loader("bmshj2018-hyperprior-vbr", models.ScaleHyperpriorVbr, VariableScaleHyperprior)
mbt2018_mean_vbr = Loader("mbt2018-mean-vbr", models.MeanScaleHyperpriorVbr, VariableHyperprior)
mbt2018_vbr = Loader("mbt2018-vbr", models.JointAutoregressiveHierarchicalPriorsVbr, VariableAutoregressive)
