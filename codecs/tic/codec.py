"""TIC: the transformer codec that test-time fine-tuning was published for.

Lu et al. 2022, "Transformer-based Image Compression" (arXiv:2111.06707), in the form used by TransTIC
(Chen et al. 2023, arXiv:2306.05085) and by Park et al. (CVPR 2025), with the latter's layers under adapters.
"""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from taskodec.adapters.files import at_quality, load_reference_tensors
from taskodec.adapters.lora import SVDLoRA, build_svd_lora
from taskodec.codecs import zoo
from taskodec.codecs.checkpoints import Checkpoint, load_state, load_tensors, read_checkpoint
from taskodec.codecs.float_export import Transforms, hyperprior_parts
from taskodec.codecs.precise import PreciseCodec
from taskodec.codecs.swin import RSTB, SwinBlock
from taskodec.codecs.tic.patch_pca import start_as_block_transform
from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.coding.priors import (
    bottleneck_tables,
    decode_bottleneck,
    decode_guarded,
    encode_bottleneck,
    encode_guarded,
    estimate_bottleneck,
    estimate_gaussian,
)
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts import Entropy, ExportParts, Latents, Quality, Rounding, Side, Tiling
from taskodec.errors import UsageError, WeightsError
from taskodec.files.weights import WeightsFile
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.randomness import seeded
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables

__all__ = ["LMBDAS", "TIC", "create_tic", "load_published_adapter", "load_tic", "load_tic_adapter", "reference_name"]

LMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)
"""Trade-offs of qualities 1 to 8; public weights exist for the first four."""


class TIC(PreciseCodec):
    """Swin transformers and strided convolutions, with a mean-scale hyperprior.

    Equal to the reference on heights and widths that are multiples of 256, the only ones it takes. Here any
    multiple of 64 works: where a stage is no multiple of its window, the windows are padded (see `swin`). It codes in
    float64 and under a guard (see `precise`), so that all machines choose the same tables.

    Args:
        N: channels of the transforms and of z.
        M: channels of y.
        quality: the one level, 1 to 8, that the weights are for.
    """

    name = "tic"
    latents_layer = "g_a"
    stride = 64
    tiling = Tiling(align=256, analysis=256, synthesis=256)  # falls short of the receptive field: docs/large_images.md

    def __init__(self, N: int = 128, M: int = 192, quality: float = 3) -> None:
        super().__init__()
        self.qualities = (_level(quality),)
        self.g_a = nn.Sequential(
            _conv(3, N, 5),
            RSTB(N, 2, 8, 8),
            _conv(N, N, 3),
            RSTB(N, 4, 8, 8),
            _conv(N, N, 3),
            RSTB(N, 6, 8, 8),
            _conv(N, M, 3),
            RSTB(M, 2, 16, 8),
        )
        # Where a 256×256 image fits into one window, the reference does not shift, whatever the size.
        self.h_a = nn.Sequential(_conv(M, N, 3), RSTB(N, 2, 16, 4), _conv(N, N, 3), RSTB(N, 2, 16, 4, shift=False))
        self.h_s = nn.Sequential(
            RSTB(N, 2, 16, 4, shift=False), _deconv(N, N, 3), RSTB(N, 2, 16, 4), _deconv(N, 2 * M, 3)
        )
        self.g_s = nn.Sequential(
            RSTB(M, 2, 16, 8),
            _deconv(M, N, 3),
            RSTB(N, 6, 8, 8),
            _deconv(N, N, 3),
            RSTB(N, 4, 8, 8),
            _deconv(N, N, 3),
            RSTB(N, 2, 8, 8),
            _deconv(N, 3, 5),
        )
        self.entropy_bottleneck = EntropyBottleneck(N)
        self._tables: Tables | None = None

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Begin as a block transform, its blocks adding nothing yet, with y's spread in the scales."""
        for block in (m for transform in (self.g_a, self.g_s) for m in transform.modules() if isinstance(m, SwinBlock)):
            for layer in (block.attn.proj, block.mlp.fc2):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        # the least of lmbda * 255² * Δ² / 36 + log2(1 / Δ), of three colours and noise of variance Δ² / 12
        step = (18 / (self.lmbda(self.qualities[0]) * 255**2 * math.log(2))) ** 0.5
        convs = [m for m in self.g_a if isinstance(m, nn.Conv2d)]
        deconvs = [m for m in self.g_s if isinstance(m, nn.ConvTranspose2d)]
        start_as_block_transform(convs, deconvs, x, step, between=2.0)  # RSTB: x + blocks(x)
        y = self.g_a(x)
        weight, bias = self.h_s[-1].parameters()
        weight.mul_(0.1)
        bias.copy_(torch.cat([y.std((0, 2, 3)), y.mean((0, 2, 3))]))

    def lmbda(self, quality: float) -> float:
        return LMBDAS[int(_level(quality)) - 1]

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        y = self.g_a(x)
        return Latents(y, self.h_a(y))

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        assert latents.z is not None
        z_hat, z_likelihoods = estimate_bottleneck(latents.z, self.entropy_bottleneck, rounding)
        scales, means = self.scales_and_means(z_hat)
        y_hat, y_likelihoods = estimate_gaussian(latents.y, scales, means, rounding)
        return Entropy(y_hat, {"y": y_likelihoods, "z": z_likelihoods}, z_hat)

    def scales_and_means(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """h_s: z_hat (B, N, h/4, w/4) to the scales and means of y, each (B, M, h, w)."""
        scales, means = self.h_s(z_hat).chunk(2, 1)
        return scales, means

    def synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        x_hat: Tensor = self.g_s(y_hat)
        return x_hat

    def write(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        assert latents.z is not None
        z_hat = encode_bottleneck(latents.z, self.entropy_bottleneck, self.tables(), coder)
        scales, means = self.scales_and_means(z_hat)
        tolerance = self.tolerance(scales, z_hat, lambda codec, z: codec.scales_and_means(z)[0])
        return encode_guarded(latents.y, scales, means, tolerance, coder)

    def read(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        shape = (size[0] // self.stride, size[1] // self.stride)
        z_hat = decode_bottleneck(shape, self.entropy_bottleneck, self.tables(), coder)
        return decode_guarded(*self.scales_and_means(z_hat), coder)

    def export_parts(self) -> ExportParts:
        return hyperprior_parts(
            Transforms(self.g_a, self.h_a, self.h_s, self.g_s), self.entropy_bottleneck, self.tables()
        )

    def tables(self) -> Tables:
        """Integer tables of z, made at first use."""
        if self._tables is None:
            self._tables = bottleneck_tables(self.entropy_bottleneck)
        return self._tables

    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        """The (transposed) convolutions and all linear layers of g_a or g_s."""
        root, transform = ("g_a", self.g_a) if side == "encoder" else ("g_s", self.g_s)
        kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        return {f"{root}.{name}": layer for name, layer in transform.named_modules() if isinstance(layer, kinds)}

    def adapter_defaults(self, side: Side) -> tuple[str, ...]:
        """The attention projections of every block, as published."""
        return tuple(name for name in self.adapter_layers(side) if name.endswith((".qkv", ".proj")))

    def aux_loss(self) -> Tensor:
        return self.entropy_bottleneck.loss()


@in_clean_state
def create_tic(quality: float = 3) -> TIC:
    """TIC of one level, 1 to 8, for training, with random weights; UsageError if there is no such level."""
    return TIC(quality=quality)


@in_clean_state
def load_tic(
    quality: float = 3,
    checkpoint: str | Path | None = None,
    pretrained: bool = False,
    seed: int = 0,
    guard: str = "exact",
) -> TIC:
    """TIC in evaluation mode.

    Args:
        quality: the level the checkpoint is for, 1 to 8.
        checkpoint: a file in the reference's format or in this project's; an SVD-LoRA checkpoint gives its
            base weights. Without one the weights are random, of `seed`, and a warning says so.
        pretrained: take TransTIC's weights, of qualities 1 to 4, from the cache folder or download them.
        seed: of the random weights.
        guard: `exact`, or `portable` for decoders that compute scales in float32.

    Raises WeightsError if the checkpoint does not fit, UsageError if there is no such quality or guard.
    """
    with seeded(seed):
        codec = TIC(quality=quality).use_guard(guard)
    if checkpoint is None and pretrained:
        if quality not in zoo.TIC:
            raise WeightsError(f"codec 'tic' has no published weights of quality {quality:g}; valid: 1 to 4")
        checkpoint = zoo.TIC[int(quality)].find()
    if checkpoint is not None:
        load_state(codec, checkpoint, reference_name)
    else:
        warnings.warn(
            "codec 'tic' has no checkpoint: its weights are random, and its pictures are noise. Give one as "
            "codec.checkpoint=FILE, or take TransTIC's, of qualities 1 to 4, with codec.options.pretrained=true.",
            stacklevel=2,
        )
    return codec.eval()


@in_clean_state
def load_tic_adapter(codec: TIC, checkpoint: str | Path) -> SVDLoRA:
    """The SVD-LoRA of a reference checkpoint, for this codec, not attached.

    A `{quality}` in the path stands for the codec's. Raises WeightsError if the file holds none, or one that does not
    fit.
    """
    path = at_quality(checkpoint, codec.qualities[0])
    return _adapter(codec, read_checkpoint(path, reference_name), str(path))


@in_clean_state
def load_published_adapter(codec: TIC, weights: WeightsFile) -> SVDLoRA:
    """The paper's adapter for this codec, out of its archive, not attached; never downloaded here.

    Raises WeightsError if it is not here, or was trained on other weights of the codec.
    """
    if weights.located() is None:
        raise WeightsError(f"it is not here; `taskodec models fetch {weights.name}` downloads it, or {weights.instead}")
    weights.verify()
    member = f"{codec.qualities[0]:g}/checkpoint_best_loss.pth.tar"
    found = read_checkpoint(weights.cached, reference_name, member)
    base = TIC(quality=codec.qualities[0])
    load_tensors(base, found.state, f"{weights.cached}, {member}")
    if codec_fingerprint(base) != codec_fingerprint(codec):
        raise WeightsError(
            f"it was trained on other weights of codec {codec.name!r}: use TransTIC's, codec.options.pretrained=true"
        )
    return _adapter(codec, found, f"{weights.cached}, {member}")


def _adapter(codec: TIC, found: Checkpoint, source: str) -> SVDLoRA:
    layers = found.adapter
    if not layers or any("S" not in parts for parts in layers.values()):
        raise WeightsError(f"{source} holds no SVD-LoRA; give a checkpoint of an adapted TIC")
    rank = max(parts["S"].numel() for parts in layers.values())
    adapter = build_svd_lora(codec, rank=rank, alpha=2.0 * rank)  # the reference scales by 2
    load_reference_tensors(adapter, layers)
    return adapter


def reference_name(name: str) -> str:
    """A name in the reference's checkpoints to the one here: `g_a1.residual_group.blocks.0` is `g_a.1.blocks.0`."""
    return re.sub(r"^([gh]_[as])(\d)\.", r"\1.\2.", name).replace(".residual_group.", ".")


def _level(quality: float) -> float:
    if quality not in range(1, len(LMBDAS) + 1):
        raise UsageError(f"quality {quality:g} does not exist for codec 'tic'; valid: whole numbers 1 to {len(LMBDAS)}")
    return float(quality)


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Halves height and width."""
    return nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2)


def _deconv(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    """Doubles height and width."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1)
