"""Print the figures of docs/exactness.md: how far float32 is off, and what the guard against it costs.

    python scripts/guard_figures.py

Networks have published sizes and random weights, layers scaled to what training leads to and scales spread over the
tables. z is that of a 768×512 picture.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.codecs.compressai import models as compressai_models
from taskodec.codecs.lite.loading import load_lite
from taskodec.codecs.precise import EXACT, PreciseCodec
from taskodec.codecs.tic.codec import TIC
from taskodec.images.tensors import load_image, pad_to
from taskodec.stream.entropy import SCALES, SymbolEncoder
from taskodec.stream.guard import write_guard

BOUNDS = SCALES[:-1]
SIZE = (8, 12)


def random_codec(name: str, seed: int, spread: float) -> tuple[PreciseCodec, Tensor]:
    """A codec and its z_hat; a channel's scales vary by `spread` times 0.7 of their mean."""
    torch.manual_seed(seed)
    codec = TIC(quality=3) if name == "tic" else getattr(compressai_models, name.replace("-", "_"))(5, seed=seed)
    channels = codec.entropy_bottleneck.quantiles.shape[0]
    smooth = nn.functional.avg_pool2d(torch.randn(1, channels, SIZE[0] + 2, SIZE[1] + 2), 3, 1)
    z_hat = (smooth * 4 * torch.randn(1, channels, 1, 1).exp()).round()
    convs = [m for m in codec.h_s.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    outputs: list[Tensor] = []
    for conv in convs:
        conv.register_forward_hook(lambda *args: outputs.append(args[2].clone()))
    for i, conv in enumerate(convs[:-1]):
        outputs.clear()
        codec.h_s(z_hat)
        conv.weight.mul_(2 / outputs[i].std())
    outputs.clear()
    codec.h_s(z_hat)
    last, conv = outputs[-1], convs[-1]
    target = torch.empty(last.shape[1]).uniform_(math.log(0.05), math.log(12)).exp()
    factor = spread * 0.7 * target / last.std((0, 2, 3))
    conv.weight.mul_(factor.view((1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)))
    conv.bias.copy_((conv.bias - last.mean((0, 2, 3))) * factor + target)
    for module in convs:
        module._forward_hooks.clear()
    return codec.eval().use_guard("portable"), z_hat


def scales_of(codec: PreciseCodec, z_hat: Tensor) -> Tensor:
    """With the codec's own precision."""
    return codec.scales_and_means(z_hat)[0]


def settings(codec: PreciseCodec, z_hat: Tensor) -> Iterator[Tensor]:
    """Scales in float32, over threads, oneDNN and memory layouts."""
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for onednn in (True, False):
            for layout in (torch.contiguous_format, torch.channels_last):
                with torch.backends.mkldnn.flags(enabled=onednn):
                    arranged = z_hat.contiguous(memory_format=layout)
                    yield scales_of(copy.deepcopy(codec).to(memory_format=layout), arranged).double().contiguous()


def cost(scales: np.ndarray, tolerance: np.ndarray) -> str:
    """Of the guard as it is written."""
    coder = SymbolEncoder()
    guard = write_guard(scales, tolerance, coder)
    return f"{coder.bits / 8:.1f} B, {int((guard.sides >= 0).sum())} listed"


def plain_list(scales: np.ndarray, eps: float) -> str:
    """Ideal code length of positions and sides, all within eps of an unmoved bound."""
    near = sum(int((np.abs(scales - bound) <= eps * scales).sum()) for bound in BOUNDS)
    bits = near * (math.log2(scales.size / max(near, 1)) + 1 / math.log(2) + 1)
    return f"{bits / 8:.0f} B, {near} listed"


def report_random(name: str, seed: int, spread: float) -> None:
    """One network: float32 in 8 settings against the encoder's float64."""
    codec, z_hat = random_codec(name, seed, spread)
    exact = scales_of(codec.precise(), z_hat.double())
    tolerance = codec.precise().tolerance(exact, z_hat.double(), scales_of)
    own, allowed = exact.numpy(), tolerance.contiguous().numpy()
    guard = write_guard(own, allowed, SymbolEncoder())
    inside = (own > BOUNDS[0] * 0.9) & (own < BOUNDS[-1] * 1.1)
    worst, share, wrong, unguarded = 0.0, 0.0, 0, 0
    for found in map(Tensor.numpy, settings(codec, z_hat)):
        worst = max(worst, float((np.abs(found - own) / np.abs(own))[inside].max()))
        share = max(share, float((np.abs(found - own) / allowed).max()))
        wrong += int((guard.indexes(found) != guard.indexes(own)).sum())
        unguarded += int((np.searchsorted(BOUNDS, found) != np.searchsorted(BOUNDS, own)).sum())
    print(f"{name}, spread {spread:g}, seed {seed}: {own.size} scales, {inside.mean():.0%} inside the tables")
    print(f"  float32 off by {worst:.1e}, {share:.2f} of the tolerance; wrong {unguarded}, guarded {wrong}")
    print(f"  portable {cost(own, allowed)}")
    report_costs(own)


def report_trained(picture: Path, quality: float) -> None:
    """The scales of `lite` in float64, which has trained weights but needs no guard."""
    codec = load_lite()
    latents = codec.analysis(pad_to(load_image(picture).x, codec.stride), quality)
    medians = codec.entropy_bottleneck.quantiles[:, 0, 1].view(1, -1, 1, 1)
    assert latents.z is not None
    z_hat = (medians + (latents.z - medians).round()).double()
    scales = codec.double().scales_and_means(z_hat, quality)[0]
    own = scales.where(scales > 1.0001 * BOUNDS[0], 0).numpy()  # it clamps; tic and CompressAI do not
    print(f"trained, {picture.stem}, quality {quality:g}: {own.size} scales, {(own > 0).mean():.0%} inside the tables")
    report_costs(own)


def report_costs(own: np.ndarray) -> None:
    """Of a guard for scales that are off by a share of themselves."""
    for eps in (EXACT, 1e-5, 3e-5, 1e-4):
        print(f"  within {eps:g}: {cost(own, eps * np.abs(own))}; plain list {plain_list(own, eps)}")


@torch.no_grad()
def main() -> None:
    """All of it, in about a minute."""
    for name in ("tic", "bmshj2018-hyperprior", "mbt2018-mean"):
        for spread in (1.0, 4.0):
            for seed in (0, 1):
                report_random(name, seed, spread)
    for picture in sorted((Path(__file__).parents[1] / "docs" / "images").glob("*.png")):
        for quality in (2.0, 4.0, 6.0):
            report_trained(picture, quality)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
