"""Large pictures in pieces: g_a and g_s over overlapping tiles, of which only the middle is kept.

A codec says in `Codec.tiling` where tiles may begin and how far beyond its own area a piece must look. Entropy coding
sees the whole picture's latents: the stream is the same kind of stream, and any decoder reads it, in tiles or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from taskodec.console.progress import Progress
from taskodec.contracts import Codec, Latents, Quality
from taskodec.errors import PluginError
from taskodec.stream.grids import Span, grid

__all__ = ["WHOLE", "Tiles"]


@dataclass(frozen=True)
class Tiles:
    """The most pixels that a transform works on at once, margins included; None for whole pictures.

    Nothing here but `differentiable` has a gradient. `run`, if given, transforms a piece in place of the codec's own
    method. `tick` is called after each tile, and never for a picture in one piece. A codec without `tiling` is never
    tiled; a limit below the codec's smallest tile means that one.
    """

    limit: int | None = None
    tick: Callable[[], None] | None = None

    @torch.no_grad()
    def analysis(
        self, codec: Codec, x: Tensor, quality: Quality, run: Callable[[Tensor, Quality], Latents] | None = None
    ) -> Latents:
        """`codec.analysis` of a padded picture (B, 3, H, W)."""
        run = run or codec.analysis
        height, width = x.shape[2:]
        rows, columns = self.grid(codec, (height, width), synthesis=False)
        if len(rows) * len(columns) == 1:
            return run(x, quality)
        y, z = _Canvas(height, width), _Canvas(height, width)
        for row, column in self._each(rows, columns):
            part = run(x[:, :, row.first : row.last, column.first : column.last], quality)
            y.paste(part.y, row, column)
            if part.z is not None:
                z.paste(part.z, row, column)
        assert y.whole is not None
        return Latents(y.whole, z.whole)

    def differentiable(
        self,
        codec: Codec,
        y_hat: Tensor,
        quality: Quality,
        size: tuple[int, int],
        run: Callable[[Tensor, Quality], Tensor],
    ) -> Tensor:
        """`synthesis` with a gradient; what is inside a tile is not kept, but computed again when that is asked for.

        The memory is that of the picture and of one tile.
        """
        rows, columns = self.grid(codec, size, synthesis=True)
        if len(rows) * len(columns) == 1:
            return run(y_hat, quality)
        down, across = size[0] // y_hat.shape[2], size[1] // y_hat.shape[3]

        def tile(piece: Tensor, row: Span, column: Span) -> Tensor:
            found = checkpoint(run, piece, quality, use_reentrant=False, preserve_rng_state=False)
            assert isinstance(found, Tensor)
            rise, run_in = row.start - row.first, column.start - column.first
            return found[:, :, rise : rise + row.stop - row.start, run_in : run_in + column.stop - column.start]

        lines = []
        for row in rows:
            line = y_hat[:, :, row.first // down : row.last // down]
            lines.append(
                torch.cat([tile(line[..., c.first // across : c.last // across], row, c) for c in columns], dim=3)
            )
        return torch.cat(lines, dim=2)

    @torch.no_grad()
    def synthesis(
        self,
        codec: Codec,
        y_hat: Tensor,
        quality: Quality,
        size: tuple[int, int],
        run: Callable[[Tensor, Quality], Tensor] | None = None,
    ) -> Tensor:
        """`codec.synthesis` of y_hat (B, M, h, w), for a picture whose padded height and width are `size`."""
        run = run or codec.synthesis
        rows, columns = self.grid(codec, size, synthesis=True)
        if len(rows) * len(columns) == 1:
            return run(y_hat, quality)
        down, across = size[0] // y_hat.shape[2], size[1] // y_hat.shape[3]
        x_hat = _Canvas(*size)
        for row, column in self._each(rows, columns):
            piece = y_hat[:, :, row.first // down : row.last // down, column.first // across : column.last // across]
            x_hat.paste(run(piece, quality), row, column)
        assert x_hat.whole is not None
        return x_hat.whole

    def count(self, codec: Codec, size: tuple[int, int], *, synthesis: bool) -> int:
        """How many ticks a picture of this padded height and width makes."""
        rows, columns = self.grid(codec, size, synthesis=synthesis)
        number = len(rows) * len(columns)
        return number if number > 1 else 0

    def counted(
        self, progress: Progress | None, codec: Codec, size: tuple[int, int], *, analysis: bool = True, times: int = 1
    ) -> Tiles:
        """The same, reporting each tile of one analysis and one synthesis, or of the latter alone, to `progress`.

        `times` says how often the picture goes through them.
        """
        if progress is None:
            return self
        total = self.count(codec, size, synthesis=True) + (self.count(codec, size, synthesis=False) if analysis else 0)
        done = itertools.count(1)
        return replace(self, tick=lambda: progress(next(done), times * total, {}))

    def grid(self, codec: Codec, size: tuple[int, int], *, synthesis: bool) -> tuple[list[Span], list[Span]]:
        """The rows and columns of tiles for this padded size; PluginError if the codec's `tiling` makes no sense."""
        tiling = codec.tiling
        if tiling is None or self.limit is None or size[0] * size[1] <= self.limit:
            return [Span(0, size[0], 0, size[0])], [Span(0, size[1], 0, size[1])]
        margin = tiling.synthesis if synthesis else tiling.analysis
        if tiling.align < 1 or tiling.align % codec.stride or margin < 0:
            raise PluginError(
                f"codec {codec.name!r} has a tiling with align {tiling.align} and margin {margin}; valid: an align "
                f"that is a multiple of its stride {codec.stride}, margins from 0 on"
            )
        return grid(size, tiling.align, margin, self.limit)

    def _each(self, rows: list[Span], columns: list[Span]) -> Iterator[tuple[Span, Span]]:
        for row in rows:
            for column in columns:
                yield row, column
                if self.tick is not None:
                    self.tick()


WHOLE = Tiles()
"""No tiles."""


class _Canvas:
    """The whole that tiles are pasted into, at whatever scale they have to the picture."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.whole: Tensor | None = None

    def paste(self, part: Tensor, row: Span, column: Span) -> None:
        """Put the middle of a part (B, C, h, w) that was made from the piece (row, column) where it belongs."""
        rise, run = row.last - row.first, column.last - column.first

        def down(pixels: int) -> int:
            return pixels * part.shape[2] // rise

        def across(pixels: int) -> int:
            return pixels * part.shape[3] // run

        if self.whole is None:
            self.whole = part.new_empty(*part.shape[:2], down(self.height), across(self.width))
        inside = part[
            :,
            :,
            down(row.start - row.first) : down(row.stop - row.first),
            across(column.start - column.first) : across(column.stop - column.first),
        ]
        self.whole[:, :, down(row.start) : down(row.stop), across(column.start) : across(column.stop)] = inside
