"""What becomes of the inputs of a command: which file is made from which, settled before anything is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taskodec.errors import TaskodecError, UsageError

__all__ = ["Job", "expand", "make_folder", "plan"]


@dataclass(frozen=True)
class Job:
    """One input of a batch and the file made from it."""

    source: Path
    target: Path


def plan(
    inputs: Sequence[Path], output: str | None, suffix: str, *, suffixes: frozenset[str], force: bool
) -> list[Job]:
    """What becomes of each input; UsageError for outputs that collide or exist, before anything is done.

    Folders stand for the files directly in them. A single file goes to `output` itself, unless that is a
    folder or ends in a slash; several go into the folder `output` under their stems. Without it, outputs lie
    beside inputs.
    """
    out = Path(output) if output else None
    sources = [file for path in inputs for file in expand(path, suffixes)]
    alone = len(inputs) == 1 and not inputs[0].is_dir()
    folder = str(output).endswith(("/", os.sep))
    if out is not None and out.is_file() and (folder or not alone):
        why = "its name ends in a slash" if alone else "there are several inputs"
        raise UsageError(f"output {out} is a file, and {why}: give a folder")
    if out is not None and alone and not out.is_dir() and not folder:
        jobs = [Job(sources[0], out)]
    else:
        jobs = [Job(source, (out or source.parent) / (source.stem + suffix)) for source in sources]
    _check_targets(jobs, force)
    return jobs


def expand(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """A file itself, or the files of these types directly in a folder; UsageError when none are there to be read.

    Hidden ones are left out: macOS puts `._photo.png` beside `photo.png`, which is no picture.
    """
    try:
        if not path.is_dir():
            return [path]
        shown = (p for p in path.iterdir() if not p.name.startswith("."))
        found = sorted(p for p in shown if p.suffix.lower() in suffixes and p.is_file())
    except OSError as error:
        raise UsageError(f"cannot read folder {path}: {error.strerror or error}") from error
    if not found:
        raise UsageError(f"folder {path} holds no file of type {', '.join(sorted(suffixes))}")
    return found


def make_folder(job: Job) -> None:
    """The folder that a job writes to; TaskodecError when nothing can be written there."""
    folder = job.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskodecError(f"cannot make folder {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise TaskodecError(f"cannot write to folder {folder}: no permission")


def _check_targets(jobs: Sequence[Job], force: bool) -> None:
    """Refuse plans that would write a file twice, over an input, or over what exists."""
    sources = {job.source.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in taken:
            raise UsageError(f"{taken[target]} and {job.source} would both be written to {job.target}: rename one")
        if target in sources:
            raise UsageError(f"{job.target} is an input and would be overwritten: choose another output")
        taken[target] = job.source
    existing = [str(job.target) for job in jobs if job.target.is_file()]
    if existing and not force:
        rest = f" and {len(existing) - 3} more" if len(existing) > 3 else ""
        raise UsageError(f"{', '.join(existing[:3])}{rest} already there: overwrite with --force or choose with -o")
