"""Names of files: in the folder of a job, and of what is bundled. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

__all__ = ["ASKED", "EXAMPLES", "PAGE", "PIECE", "TOLD", "bundled"]

ASKED, TOLD = "asked.json", "told.jsonl"
PIECE, PAGE = "piece.html", "report.html"

EXAMPLES: Mapping[str, str] = {"parrots": "Two macaws", "warplane": "An aeroplane on grass", "door": "A red door"}
"""Bundled pictures, of Kodak's set (kodim23, kodim20, kodim02), and what they show."""


def bundled(folder: str, name: str) -> bytes:
    """A file that comes with this room."""
    return resources.files("taskodec.demo").joinpath(folder, name).read_bytes()
