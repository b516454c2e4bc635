"""What the commands share: their options, settings from flags, the plan of a batch, and its run."""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.errors import TaskodecError
from taskodec.files.atomic import IMAGE_SUFFIXES
from taskodec.files.plans import Job, expand, make_folder, plan
from taskodec.isolation.faults import described

if TYPE_CHECKING:
    from taskodec.hooks.registry import Registry
    from taskodec.settings.model import Settings

__all__ = [
    "IMAGE_SUFFIXES",
    "AdapterChoice",
    "ConfigFiles",
    "Force",
    "HeldOut",
    "Job",
    "JsonFlag",
    "OnlyThese",
    "OutputChoice",
    "Overrides",
    "PluginFiles",
    "Quiet",
    "Resume",
    "RunFolder",
    "TrainingData",
    "expand",
    "finite",
    "load_registry",
    "make_folder",
    "plan",
    "print_json",
    "resolve_settings",
    "resumable",
    "run_batch",
]

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", metavar="FILE.yaml", help="Settings file, or taskodec:paper/NAME; repeatable."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as ttft.steps=80; repeatable.")
]
AdapterChoice = Annotated[
    str | None,
    typer.Option("--adapter", metavar="NAME|FILE.safetensors", help="Adapter, instead of the one for codec and task."),
]
OutputChoice = Annotated[str | None, typer.Option("--output", "-o", metavar="OUT", help="File, or folder for several.")]
TrainingData = Annotated[
    list[Path], typer.Option("--data", metavar="DIR|FILE.json", help="Images at any depth, or COCO's JSON; repeatable.")
]
OnlyThese = Annotated[
    Path | None, typer.Option("--only", metavar="LIST", help="Only the images that a text file or COCO's JSON names.")
]
HeldOut = Annotated[list[Path] | None, typer.Option("--validation", metavar="DIR", help="Images held out; repeatable.")]
RunFolder = Annotated[Path, typer.Option("--output", "-o", metavar="RUNDIR", help="Folder of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in RUNDIR.")]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="File with plugin hooks; may be repeated.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object per input on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no report.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


def resolve_settings(
    config: Sequence[Path] | None, overrides: Sequence[str] | None, flags: Mapping[str, Any]
) -> Settings:
    """Settings from files, `--set`, and those flags that were given; those on downloads hold from here on."""
    from taskodec.files.downloads import DownloadOptions
    from taskodec.settings.model import load_settings

    given = {key: value for key, value in flags.items() if value is not None}
    settings = load_settings(config or (), overrides or (), given)
    DownloadOptions(**settings.downloads.model_dump()).to_environment()
    return settings


def load_registry(plugins: Sequence[Path] | None) -> Registry:
    """The registry with the plugin files of the command line."""
    from taskodec.hooks.registry import default_registry

    registry = default_registry()
    for path in plugins or ():
        registry.load_plugin_file(path)
    return registry


def run_batch(
    jobs: Sequence[Job], work: Callable[[Job], Mapping[str, Any]], show: Callable[[Mapping[str, Any]], None]
) -> None:
    """Do every job; failures are shown as they come, summed up at the end, and make the exit code 1."""
    failed = []
    for job in jobs:
        try:
            report = work(job)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a batch goes on whatever happens to one picture, sys.exit included
            if not isinstance(error, TaskodecError):
                traceback.print_exc()
            failed.append(job.source)
            show({"input": str(job.source), "error": described(error)})
        else:
            show(report)
    if failed:
        if len(jobs) > 1:
            print(f"error: {len(failed)} of {len(jobs)} inputs failed: {', '.join(map(str, failed))}", file=sys.stderr)
        raise typer.Exit(1)


@contextmanager
def resumable(rows: Path) -> Iterator[None]:
    """Ctrl-C within says that the call can be repeated, and makes the exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"stopped; {rows} has what was measured, the same call goes on", file=sys.stderr)
        raise typer.Exit(130) from None


def print_json(value: Mapping[str, Any]) -> None:
    """One line of strict JSON; NaN and infinities, which JSON cannot say, become null."""
    print(json.dumps(finite(value), default=str), flush=True)


def finite(value: Any) -> Any:
    """The value with None for NaN and infinities, which JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
