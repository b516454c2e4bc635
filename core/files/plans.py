"""What becomes of the inputs of a command: which file is made from which, settled before anything is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import clean_leftovers
from taskodec.files.inputs import STANDARD, argument

__all__ = [
    "Job",
    "Settled",
    "check_choice",
    "check_replaceable",
    "check_standard",
    "expand",
    "how_to_go_on",
    "make_folder",
    "plan",
    "settle",
    "writable_folder",
]


@dataclass(frozen=True)
class Job:
    """One input of a batch and the file made from it; either may be `STANDARD`."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Settled:
    """Jobs to be done, those whose files are kept, and notes on files that were there and cannot be."""

    todo: Sequence[Job]
    kept: Sequence[Job] = ()
    notes: Sequence[str] = ()


def plan(inputs: Sequence[Path], output: str | None, suffix: str, *, suffixes: frozenset[str]) -> list[Job]:
    """What becomes of each input; UsageError for outputs that collide, before anything is done.

    Folders stand for the files directly in them. A single file goes to `output` itself, unless that is a
    folder or ends in a slash; several go into the folder `output` under their stems. Without it, outputs lie
    beside inputs. `-` is standard input, or standard output.
    """
    out = argument(output) if output else None
    check_standard(inputs, out, output)
    sources = [file for path in inputs for file in expand(path, suffixes)]
    alone = _is_alone(inputs)
    folder = str(output).endswith(("/", os.sep))
    if out is not None and out.is_file() and (folder or not alone):
        why = "its name ends in a slash" if alone else "there are several inputs"
        raise UsageError(f"output {out} is a file, and {why}: give a folder")
    if out is not None and alone and (out == STANDARD or not (out.is_dir() or folder)):
        jobs = [Job(sources[0], out)]
    else:
        jobs = [Job(source, (out or source.parent) / (source.stem + suffix)) for source in sources]
    _check_targets(jobs)
    return jobs


def settle(jobs: Sequence[Job], flaw: Callable[[Path], str], *, force: bool, skip_existing: bool) -> Settled:
    """What is done with outputs that exist: refused by a UsageError, made anew, or kept if they are whole.

    `flaw` says what is wrong with a file (`taskodec.pixels.whole`). With `skip_existing`, what killed runs have left in
    the folders of the outputs is removed.
    """
    check_choice(force, skip_existing)
    targets = [job.target for job in jobs if job.target != STANDARD]
    check_replaceable(targets)
    existing = [job for job in jobs if job.target != STANDARD and job.target.is_file()]
    if existing and not (force or skip_existing):
        named = ", ".join(str(job.target) for job in existing[:3])
        rest = f" and {len(existing) - 3} more" if len(existing) > 3 else ""
        raise UsageError(
            f"{named}{rest} already there: overwrite with --force, keep with --skip-existing, or choose with -o"
        )
    if not skip_existing:
        return Settled(jobs)
    for folder in {job.target.parent for job in jobs if job.target != STANDARD}:
        clean_leftovers(folder)
    flaws = {job: flaw(job.target) for job in existing}
    kept = [job for job, found in flaws.items() if not found]
    notes = [f"{job.target} is not whole ({found}): it is made anew" for job, found in flaws.items() if found]
    return Settled([job for job in jobs if job not in set(kept)], kept, notes)


def check_replaceable(targets: Iterable[Path]) -> None:
    """UsageError for outputs that are there and are no files: folders, devices, pipes."""
    if special := [str(target) for target in targets if target.exists() and not target.is_file()]:
        raise UsageError(f"{', '.join(special)}: no regular file; give a file, or -o - for standard output")


def how_to_go_on(many: bool, *, force: bool, skip_existing: bool) -> str:
    """What to add where a run of `many` inputs was stopped; nothing with `force`: outputs may be of an earlier call."""
    if force or not many:
        return ""
    return "; the same call goes on" if skip_existing else "; the same call with --skip-existing makes the rest"


def check_choice(force: bool, skip_existing: bool) -> None:
    """UsageError for both."""
    if force and skip_existing:
        raise UsageError("--force makes files anew that --skip-existing keeps: give one of them")


def expand(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """A file itself, or the files of these types directly in a folder; UsageError when none are there to be read.

    Hidden ones are left out: macOS puts `._photo.png` beside `photo.png`, which is no picture.
    """
    try:
        if path == STANDARD or not path.is_dir():
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
    if job.target != STANDARD:
        writable_folder(job.target.parent)


def writable_folder(folder: Path) -> None:
    """Make a folder; TaskodecError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskodecError(f"cannot make folder {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise TaskodecError(f"cannot write to folder {folder}: no permission")


def _is_alone(inputs: Sequence[Path]) -> bool:
    """Whether they are one file, or standard input, and no folder."""
    return len(inputs) == 1 and (inputs[0] == STANDARD or not inputs[0].is_dir())


def check_standard(inputs: Sequence[Path], out: Path | None, output: str | None) -> None:
    """Refuse what standard input and output cannot be."""
    if inputs.count(STANDARD) > 1:
        raise UsageError("- is standard input, which can be read once: name it once")
    if STANDARD in inputs and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("- is standard input, which is a terminal here: redirect a file or a pipe to it")
    nameless = out is None or (out != STANDARD and (out.is_dir() or str(output).endswith(("/", os.sep))))
    if STANDARD in inputs and (len(inputs) > 1 or nameless):
        raise UsageError("standard input has no name for its output: give it alone, with -o FILE, or -o - for a pipe")
    if out != STANDARD:
        return
    if not _is_alone(inputs):
        raise UsageError("-o - is standard output, which takes the result of one file: give a folder for several")
    if sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("-o - is standard output, which is a terminal here: redirect it, or give -o FILE")


def _check_targets(jobs: Sequence[Job]) -> None:
    """Refuse plans that would write a file twice, or over an input."""
    sources = {job.source.resolve() for job in jobs if job.source != STANDARD}
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.target == STANDARD:
            continue
        target = job.target.resolve()
        if target in taken:
            raise UsageError(f"{taken[target]} and {job.source} would both be written to {job.target}: rename one")
        if target in sources:
            raise UsageError(f"{job.target} is an input and would be overwritten: choose another output")
        taken[target] = job.source
