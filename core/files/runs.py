"""What folders of `taskodec eval` and `taskodec bench` hold, beside their rows: what was run, and where. No torch."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import write_atomic
from taskodec.files.inputs import read_text
from taskodec.files.json_text import parse_json

__all__ = ["MARKS", "RUN", "is_run", "note_call", "read_json", "runs_of"]

RUN = "run.json"
"""The calls that a folder's rows come from, the last one at the end."""

MARKS = ("rows.jsonl", "points.jsonl", "summary.json", "speed.json", "ablation.json", "suite.json", "determinism.json")
"""Files by which such a folder is known."""

KEPT = 20
"""Calls, at most: a run may be taken up any number of times."""

PACKAGES = ("taskodec", "torch", "numpy", "constriction", "pillow")


def is_run(path: Path) -> bool:
    """Whether this is a folder that `eval` or `bench` has written to."""
    return path.is_dir() and any((path / name).is_file() for name in MARKS)


def note_call(folder: Path, settings: Mapping[str, Any]) -> None:
    """Add this process's call, with its settings and surroundings, to what the folder says of its runs."""
    call = {
        "command": ["taskodec", *sys.argv[1:]],
        "when": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "environment": environment(),
        "settings": dict(settings),
    }
    calls = [*runs_of(folder), call][-KEPT:]
    write_atomic(folder / RUN, (json.dumps({"calls": calls}, indent=1, default=str) + "\n").encode())


def environment() -> dict[str, str]:
    """What figures depend on beside the settings: versions and the machine."""
    found = {"python": platform.python_version(), "system": platform.platform(), "machine": _processor()}
    found["cores"] = str(os.cpu_count())
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """The calls noted in a folder, none if there are no notes or they cannot be read: rows hold without them."""
    try:
        found = read_json(folder / RUN)
    except TaskodecError:
        return []
    calls = found.get("calls") if isinstance(found, dict) else None
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def read_json(path: Path) -> Any:
    """What a file of JSON holds; UsageError if it cannot be read."""
    try:
        return parse_json(read_text(path), constants=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
