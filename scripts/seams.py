"""Show what tiles do to a picture: PSNR near their seams and elsewhere, against the same picture done whole.

    python scripts/seams.py docs/images/kodim23.png --tile 200000
    python scripts/seams.py photo.png --codec tic --checkpoint base_codec_3.pth.tar --tile 1000000 --margin 128

The whole picture is done too, so it must fit into memory.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from taskodec.api.loading import load_codec
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Codec, Tiling
from taskodec.errors import TaskodecError, UsageError
from taskodec.hooks.registry import default_registry
from taskodec.images.tensors import load_image, pad_to, to_8bit
from taskodec.settings.model import CodecSettings
from taskodec.stream.grids import Span

BAND = 16
"""What lies so many pixels or fewer from a seam counts as near it."""


@torch.no_grad()
def report(codec: Codec, x: Tensor, quality: float, limit: int) -> dict[str, float]:
    """Figures of a picture (1, 3, H, W) in tiles of at most `limit` pixels; UsageError where that is one tile.

    `seam` and `elsewhere` are PSNRs (dB; infinite for equal ones) of the synthesis in tiles against the whole one,
    `levels` the largest difference of their 8-bit pictures. `seam_original` and `whole_seam_original` compare both
    near the seams with the original, `y` and `z` are the largest differences of latents, and `*_overhead` how many
    times the picture's pixels the tiles have.
    """
    tiles, x = Tiles(limit), pad_to(x, codec.stride)
    size = (x.shape[2], x.shape[3])
    rows, columns = tiles.grid(codec, size, synthesis=True)
    if len(rows) * len(columns) == 1:
        raise UsageError(f"the picture is one tile: choose a limit below {size[0] * size[1]} and a codec with `tiling`")
    latents = codec.analysis(x, quality)
    tiled_latents = tiles.analysis(codec, x, quality)
    y_hat = codec.entropy(latents, quality, "hard").y_hat
    whole = codec.synthesis(y_hat, quality)
    tiled = tiles.synthesis(codec, y_hat, quality, size)
    near = _near(rows)[:, None] | _near(columns)[None, :]
    shown, shown_whole = to_8bit(tiled), to_8bit(whole)
    figures = {
        "tiles": len(rows) * len(columns),
        "seam": _psnr(tiled[..., near], whole[..., near]),
        "elsewhere": _psnr(tiled[..., ~near], whole[..., ~near]),
        "levels": round(255 * float((shown - shown_whole).abs().max())),
        "seam_original": _psnr(shown[..., near], x[..., near]),
        "whole_seam_original": _psnr(shown_whole[..., near], x[..., near]),
        "y": float((tiled_latents.y - latents.y).abs().max()),
        "synthesis_overhead": _pixels(rows) * _pixels(columns) / (size[0] * size[1]),
    }
    if latents.z is not None and tiled_latents.z is not None:
        figures["z"] = float((tiled_latents.z - latents.z).abs().max())
    rows, columns = tiles.grid(codec, size, synthesis=False)
    return {**figures, "analysis_overhead": _pixels(rows) * _pixels(columns) / (size[0] * size[1])}


def _near(spans: list[Span]) -> Tensor:
    """Which positions along a side lie near a seam."""
    positions = torch.arange(spans[-1].stop)
    near = torch.zeros(len(positions), dtype=torch.bool)
    for span in spans[1:]:
        near |= (positions >= span.start - BAND) & (positions < span.start + BAND)
    return near


def _pixels(spans: list[Span]) -> int:
    return sum(span.last - span.first for span in spans)


def _psnr(one: Tensor, other: Tensor) -> float:
    if not one.numel():
        return math.nan
    mse = float((one - other).double().square().mean())
    return -10 * math.log10(mse) if mse else math.inf


def main() -> None:
    """Print the figures of one picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("image", type=Path)
    parser.add_argument("--codec", default="lite")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--quality", type=float, default=3.0)
    parser.add_argument("--tile", type=int, default=200_000, help="most pixels of a tile, margins included")
    parser.add_argument("--margin", type=int, help="instead of the codec's own two")
    chosen = parser.parse_args()
    try:
        settings = CodecSettings(name=chosen.codec, checkpoint=chosen.checkpoint)
        codec = load_codec(default_registry(), settings, chosen.quality)
        if chosen.margin is not None and codec.tiling is not None:
            codec.tiling = Tiling(codec.tiling.align, chosen.margin, chosen.margin)
        figures = report(codec, load_image(chosen.image).x, chosen.quality, chosen.tile)
    except TaskodecError as error:
        sys.exit(f"error: {error}")
    for name, value in figures.items():
        print(f"{name:<20} {value:.6g}")


if __name__ == "__main__":
    main()
