"""The rows of an evaluation: one image, sent by one method at one quality, is one.

Rates are those of real files, and the task sees what is decoded from their bytes, in 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskodec.bench.fidelity import Source
from taskodec.bench.rows import RowFile

__all__ = ["Job", "Row", "row_file"]


@dataclass(frozen=True)
class Job:
    """A row to be measured. `settings` is a digest of all that it depends on beside the image."""

    source: Source
    method: str
    quality: float | None
    settings: str

    @property
    def key(self) -> tuple[str, str, str, float | None, str]:
        """The key that the row has."""
        return (self.source.path.name, self.source.digest, self.method, self.quality, self.settings)


@dataclass(frozen=True)
class Row:
    """One image, sent by one method at one quality.

    `bpp` is 8 * bytes / pixels of the whole file, of which `bpp_latent`, `bpp_adapter` and `bpp_header` are the parts
    where the file is a stream; `cost` is `lmbda * loss + bpp`, which tuning lowers, and `cost_untuned` that of the
    stream before any tuning. `seconds` are all of coding, `cpu_seconds` the processor's time of it, `step_seconds` the
    mean from one step of tuning to the next, on a CPU in processor's time too. `record` is the evaluator's; it and
    `task_loss` are of the decoded picture, and `judges` has the same two of each judge. None stands for what a method
    does not have.
    """

    image: str
    digest: str
    method: str
    quality: float | None
    settings: str
    width: int
    height: int
    task_loss: float
    record: dict[str, Any]
    bytes: int | None = None
    bpp: float | None = None
    bpp_latent: float | None = None
    bpp_adapter: float | None = None
    bpp_header: float | None = None
    cost: float | None = None
    cost_untuned: float | None = None
    lmbda: float | None = None
    chosen: str | None = None
    steps: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    step_seconds: float | None = None
    task: str | None = None
    codec: str | None = None
    judges: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str, str, float | None, str]:
        """What must be the same for a row to hold again; the name counts, because labels go by it."""
        return (self.image, self.digest, self.method, self.quality, self.settings)


def row_file(folder: Path) -> RowFile[Row]:
    """The rows of a folder of results."""
    return RowFile(folder / "rows.jsonl", Row, "row of an evaluation")
