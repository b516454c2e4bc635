"""What is sent to a worker process, and what comes back; no torch. Pictures and streams themselves lie in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskodec.settings.model import Settings

__all__ = ["FORMATS", "GIVEN", "MADE", "Answer", "Done", "Failed", "Start", "Work"]

GIVEN, MADE = "given", "made"
"""The files in a job's folder: what was sent, and what became of it (with the suffix of its format)."""

FORMATS: Mapping[str, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "ppm": "image/x-portable-pixmap",
}
"""Formats that pictures are sent in, by their suffixes without the dot, and their media types."""


@dataclass(frozen=True)
class Start:
    """What a worker starts with. `memory` is in bytes.

    `coders` names the class that does the work, a `taskodec.service.worker.Coders`; `tasks`, names or `FILE.py:OBJ`,
    are made at the start, so that what is wrong with one is said then.
    """

    settings: Settings
    plugins: tuple[Path, ...]
    threads: int
    memory: int | None = None
    coders: str = "taskodec.service.worker:Coders"
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """Jobs that are done together, each with a folder of its own: pictures to compress, or one stream to decompress.

    A picture is written in `form`, one of `FORMATS`; without one, pictures are compressed. `codecs` are those that a
    stream may name.
    """

    folders: tuple[Path, ...]
    settings: Settings
    form: str = ""
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """The output is in the job's folder; `report` holds its figures."""

    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """What ended a job: the name of an error of `taskodec.errors`, or another one; `traceback` is for the log."""

    kind: str
    message: str
    traceback: str = ""


Answer = Done | Failed
