"""Encodes images, untuned, with an exported codec: numpy, onnxruntime and constriction alone, no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskodec.errors import UsageError, WeightsError
from taskodec.pixels.reading import unit_pixels
from taskodec.runtime.exported import ENCODER, Manifest
from taskodec.runtime.sessions import CPU, TILE, Session, fitting, load_recipe, open_folder
from taskodec.stream.bitstream import MAX_PIXELS, Header, Stream
from taskodec.stream.entropy import SymbolEncoder
from taskodec.stream.grids import Span, grid
from taskodec.stream.prior_coding import Floats

__all__ = ["Encoder"]


class Encoder:
    """Encodes images as `taskodec compress --steps 0` does, for decoders with torch and without.

    Args:
        folder: what `taskodec export --encoder` wrote. The encoder's side of the adapter is in its weights.
        providers: onnxruntime's execution providers of the analysis, the most wanted first. What decides on symbols
            always runs on the CPU.
        threads: of onnxruntime; None for as many as there are cores.
        max_pixels: larger images are refused.
        tile: larger images are analysed in overlapping tiles of about so many pixels, where the codec allows it.

    Raises WeightsError for a folder that cannot be used, UsageError for a provider that is not here.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        tile: int = TILE,
    ) -> None:
        self._exported = open_folder(folder, ENCODER)
        self.manifest: Manifest = self._exported.manifest
        if self.manifest.encoder is None:
            raise WeightsError(f"{folder} is a decoder alone: export the codec with --encoder")
        self.max_pixels, self.tile = max_pixels, tile
        self._write_latents = load_recipe(self._exported, threads).write
        self._analysis = Session("analysis", self._exported, providers, threads)
        has_z = "hyper_analysis" in self._exported.graphs
        self._hyper_analysis = Session("hyper_analysis", self._exported, (CPU,), threads) if has_z else None

    def encode(self, image: NDArray[Any], quality: float | None = None) -> bytes:
        """The stream of an image (height, width, 3) of uint8, uint16, or floats in [0, 1].

        ImageError for what is no image, UsageError for a quality that the codec has not.
        """
        quality = self.quality(quality)
        pixels = self._padded(image)
        coder = SymbolEncoder()
        with fitting():
            y, z = self.latents(pixels, quality)
            self._write_latents(y, z, quality, coder)
        manifest, about = self.manifest, self.manifest.encoder
        assert about is not None
        header = Header(
            codec=manifest.codec,
            codec_fingerprint=bytes.fromhex(manifest.codec_fingerprint),
            width=image.shape[1],
            height=image.shape[0],
            quality=quality,
            adapter_fingerprint=bytes.fromhex(manifest.adapter_fingerprint or "") if about["adapter"] else None,
            index_checksum=coder.checksum,
            metadata=about["metadata"],
        )
        return Stream(header, coder.getvalue()).to_bytes()

    def quality(self, quality: float | None = None) -> float:
        """This one as streams can name it, in sixteenths, or the middle one; UsageError if the codec has it not."""
        levels = self.manifest.qualities
        chosen = levels[len(levels) // 2] if quality is None else round(quality * 16) / 16
        if not self.manifest.has_quality(chosen):
            valid = (
                f"{levels[0]:g} to {levels[-1]:g}" if self.manifest.continuous else ", ".join(f"{q:g}" for q in levels)
            )
            raise UsageError(f"quality {chosen:g} does not exist for codec {self.manifest.codec!r}; valid: {valid}")
        return chosen

    def latents(self, pixels: NDArray[Any], quality: float) -> tuple[Floats, Floats | None]:
        """y (1, M, h, w) and, if the codec has it, z of a padded picture (H, W, 3) of uint8 or of floats in [0, 1]."""
        inputs = {}
        log_gain = self._exported.at_level("log_analysis_gain", quality)
        if log_gain is not None:
            inputs["gain"] = np.exp(log_gain).astype(np.float32)
        y = self._in_tiles(pixels, inputs)
        if self._hyper_analysis is None:
            return y, None
        embedding = self._exported.at_level("hyper_embedding", quality)
        told = {} if embedding is None else {"embedding": embedding.astype(np.float32)}
        return y, self._hyper_analysis(y=y, **told)[0]

    def _in_tiles(self, pixels: NDArray[Any], inputs: dict[str, Floats]) -> Floats:
        """The analysis of a picture, of at most about `tile` pixels at once."""
        height, width = pixels.shape[:2]
        tiling, about = self.manifest.tiling, self.manifest.encoder
        if tiling is None or about is None or height * width <= self.tile:
            whole: Floats = self._analysis(x=_planes(pixels), **inputs)[0]
            return whole
        rows, columns = grid((height, width), tiling["align"], about["margin"], self.tile)
        y = np.empty(0, dtype=np.float32)
        for row in rows:
            for column in columns:
                piece = pixels[row.first : row.last, column.first : column.last]
                part = self._analysis(x=_planes(piece), **inputs)[0]
                shrink = piece.shape[0] // part.shape[2]
                if not y.size:
                    y = np.empty((1, part.shape[1], height // shrink, width // shrink), dtype=np.float32)
                here = y[:, :, row.start // shrink : row.stop // shrink, column.start // shrink : column.stop // shrink]
                here[:] = part[:, :, _kept(row, shrink), _kept(column, shrink)]
        return y

    def _padded(self, image: NDArray[Any]) -> NDArray[Any]:
        """Checked, as uint8 or floats in [0, 1], its right column and bottom row repeated up to the codec's stride."""
        plain = image.dtype == np.uint8 and image.shape[2:] == (3,) and 0 < image.size <= 3 * self.max_pixels
        pixels = image if plain else unit_pixels(image, max_pixels=self.max_pixels)[0]
        height, width = self.manifest.padded(*pixels.shape[:2])
        return np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)), mode="edge")


def _planes(pixels: NDArray[Any]) -> Floats:
    """(H, W, 3) of uint8 or floats to (1, 3, H, W) of floats."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)  # (H, W, 3) -> (1, 3, H, W)
    return planes / np.float32(255) if pixels.dtype == np.uint8 else planes


def _kept(span: Span, shrink: int) -> slice:
    """What of the latents of a piece is kept."""
    return slice((span.start - span.first) // shrink, (span.stop - span.first) // shrink)
