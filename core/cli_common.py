"""What the commands share: their options, settings from flags, the plan of a batch, and its run."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.errors import TaskodecError, UsageError
from taskodec.files import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from taskodec.registry import Registry
    from taskodec.settings import Settings

__all__ = [
    "IMAGE_SUFFIXES",
    "AdapterChoice",
    "ConfigFiles",
    "Force",
    "Job",
    "JsonFlag",
    "Overrides",
    "PluginFiles",
    "Quiet",
    "expand",
    "load_registry",
    "make_folder",
    "plan",
    "print_json",
    "resolve_settings",
    "run_batch",
]

ConfigFiles = Annotated[
    list[Path] | None, typer.Option("--config", metavar="FILE.yaml", help="Settings file; may be repeated.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as ttft.steps=80; repeatable.")
]
AdapterChoice = Annotated[
    str | None,
    typer.Option("--adapter", metavar="NAME|FILE.safetensors", help="Adapter, instead of the one for codec and task."),
]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="File with plugin hooks; may be repeated.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object per input on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no report.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


@dataclass(frozen=True)
class Job:
    """One input of a batch and the file made from it."""

    source: Path
    target: Path


def resolve_settings(
    config: Sequence[Path] | None, overrides: Sequence[str] | None, flags: Mapping[str, Any]
) -> Settings:
    """Settings from files, `--set`, and those flags that were given."""
    from taskodec.settings import load_settings

    given = {key: value for key, value in flags.items() if value is not None}
    return load_settings(config or (), overrides or (), given)


def load_registry(plugins: Sequence[Path] | None) -> Registry:
    """The registry with the plugin files of the command line."""
    from taskodec.registry import default_registry

    registry = default_registry()
    for path in plugins or ():
        registry.load_plugin_file(path)
    return registry


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


def run_batch(
    jobs: Sequence[Job], work: Callable[[Job], Mapping[str, Any]], show: Callable[[Mapping[str, Any]], None]
) -> None:
    """Do every job; failures are shown as they come, summed up at the end, and make the exit code 1."""
    failed = []
    for job in jobs:
        try:
            report = work(job)
        except Exception as error:  # a batch goes on whatever happens to one picture
            if not isinstance(error, TaskodecError):
                traceback.print_exc()
            message = str(error) if isinstance(error, TaskodecError) else f"{type(error).__name__}: {error}"
            failed.append(job.source)
            show({"input": str(job.source), "error": message})
        else:
            show(report)
    if failed:
        if len(jobs) > 1:
            print(f"error: {len(failed)} of {len(jobs)} inputs failed: {', '.join(map(str, failed))}", file=sys.stderr)
        raise typer.Exit(1)


def print_json(value: Mapping[str, Any]) -> None:
    """One line of strict JSON; NaN and infinities, which JSON cannot say, become null."""
    print(json.dumps(_finite(value), default=str), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def expand(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """A file itself, or the files of these types directly in a folder; UsageError when none are there to be read."""
    try:
        if not path.is_dir():
            return [path]
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
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
