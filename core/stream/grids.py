"""Where the tiles of a large picture lie: arithmetic alone, for every decoder."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Span", "Tiling", "grid"]


@dataclass(frozen=True)
class Tiling:
    """How a codec's transforms may be cut into tiles that overlap, in pixels of the picture.

    The first row and column of a tile are multiples of `align`, itself a multiple of the codec's stride (and of the
    windows of its attention, so that they fall on those of the whole picture). `analysis` is how far beyond the
    latents y and z that are kept the picture is looked at, `synthesis` how far beyond the pixels that are kept y_hat
    is. Margins that cover the receptive field make tiles that equal the whole but for rounding; a border of zeros
    or a mask at the edge of a picture is right there.
    """

    align: int
    analysis: int
    synthesis: int


@dataclass(frozen=True)
class Span:
    """Along one side, in pixels: a piece from `first` to `last`, of which `start` to `stop` is kept."""

    start: int
    stop: int
    first: int
    last: int


def grid(size: tuple[int, int], align: int, margin: int, limit: int) -> tuple[list[Span], list[Span]]:
    """Rows and columns of tiles of at most `limit` pixels each, those with the fewest pixels in all.

    Every piece begins at a multiple of `align`, and reaches `margin` or, to the picture's edge, less far beyond what
    is kept of it. Where nothing is small enough, the smallest possible tiles.
    """
    height, width = size
    margin = -(-margin // align) * align
    best, fewest = (align, align), None
    for count in range(1, -(-height // align) + 1):
        tall = _core(height, count, align)
        longest = limit // min(height, tall + 2 * margin)
        wide = width if width <= longest else (longest - 2 * margin) // align * align
        if wide <= 0:
            continue
        across = -(-width // wide)
        pixels = (height + 2 * margin * (count - 1)) * (width + 2 * margin * (across - 1))
        if fewest is None or pixels < fewest:
            best, fewest = (tall, _core(width, across, align)), pixels
    return _spans(height, best[0], align, margin), _spans(width, best[1], align, margin)


def _core(size: int, count: int, align: int) -> int:
    """What one of `count` tiles keeps, as even as the alignment lets it be."""
    return -(-size // (count * align)) * align


def _spans(size: int, core: int, align: int, margin: int) -> list[Span]:
    starts = range(0, size, core)
    stops = [min(start + core, size) for start in starts]
    return [
        Span(start, stop, max(start - margin, 0), min(-(-stop // align) * align + margin, size))
        for start, stop in zip(starts, stops, strict=True)
    ]
