"""Weights that a codec came with before those of today, so that an error can name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["EarlierWeights"]


@dataclass(frozen=True)
class EarlierWeights:
    """Weights that a codec came with once, which streams still name.

    Args:
        name: as an error calls them, such as "version 1 of lite's weights".
        checkpoint: their file.
        adapters: the files of adapters that were trained on them, by their fingerprints, 8 hexadecimal digits.
        kept: where these files are.
    """

    name: str
    checkpoint: str
    adapters: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""

    def options(self, adapter: bytes | None) -> str:
        """What decodes a stream of these weights, and of the adapter with this fingerprint, on a command line."""
        file = "" if adapter is None else self.adapters.get(adapter.hex(), "")
        given = f"--set codec.checkpoint={self.checkpoint}{f' --adapter {file}' if file else ''}"
        return f"`{given}`{f', {self.kept}' if self.kept else ''}"
