"""The log of a training run: `log.jsonl`, and TensorBoard's event files where that is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from taskodec.files.atomic import write_atomic
from taskodec.files.json_text import parse_json

__all__ = ["TrainLog"]


class TrainLog:
    """Appends to the log of the run in `out`; what it says of steps after `step` is dropped, they are done again."""

    def __init__(self, out: Path, step: int) -> None:
        path = out / "log.jsonl"
        if path.exists():
            write_atomic(path, "".join(f"{line}\n" for line in _lines_until(path, step)).encode())
        self.file = path.open("a", encoding="utf-8")
        self.board = _summary_writer(out, step + 1)

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()
        if self.board:
            self.board.close()

    def report(self, step: int, seconds: float, figures: Mapping[str, float]) -> None:
        """Figures of a training step: loss, bpp, psnr, norm, lr."""
        self._write(step, seconds, dict(figures))
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(f"train/{name}", value, step)

    def validation(self, step: int, seconds: float, points: Sequence[Mapping[str, float]]) -> None:
        """Means over the held-out images at each quality: rate and PSNR, or whatever the run is about."""
        self._write(step, seconds, {"validation": points})
        if self.board:
            for point in points:
                for name in point.keys() - {"quality"}:
                    self.board.add_scalar(f"validation_{name}/q{point['quality']:g}", point[name], step)

    def _write(self, step: int, seconds: float, content: Mapping[str, Any]) -> None:
        self.file.write(json.dumps({"step": step, "seconds": round(seconds), **content}) + "\n")
        self.file.flush()


def _lines_until(path: Path, step: int) -> list[str]:
    """The lines about steps up to this one; one that was cut off, as by a crash, is left out."""
    kept = []
    for line in path.read_bytes().decode("utf-8", "replace").splitlines():
        try:
            if parse_json(line, constants=True)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    return kept


def _summary_writer(out: Path, first: int) -> Any:
    """TensorBoard's writer, or None without the package; curves of an earlier part go on at step `first`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out), purge_step=first)
