"""What the commands share: their options, settings from flags, the plan of a batch, and its run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import completion
from taskodec.console.interrupt import exit_code
from taskodec.files.atomic import IMAGE_SUFFIXES
from taskodec.files.json_text import finite
from taskodec.files.plans import expand

if TYPE_CHECKING:
    from taskodec.hooks.registry import Registry
    from taskodec.settings.model import Settings

__all__ = [
    "IMAGE_SUFFIXES",
    "AdapterChoice",
    "CodecChoice",
    "ConfigFiles",
    "Force",
    "HeldOut",
    "JsonFlag",
    "OnlyThese",
    "OutputChoice",
    "Overrides",
    "PluginFiles",
    "PresetChoice",
    "QualityChoice",
    "Quiet",
    "Resume",
    "RunFolder",
    "SeedChoice",
    "SkipExisting",
    "StepsChoice",
    "TargetBpp",
    "TargetBytes",
    "TargetLoss",
    "TargetMetric",
    "TaskChoice",
    "TimeBudget",
    "TrainingData",
    "TrainingSeconds",
    "TrainingSeed",
    "TrainingSteps",
    "expand",
    "finite",
    "load_registry",
    "print_json",
    "resolve_settings",
    "resumable",
    "stopped_run",
    "tuning_flags",
    "without_target",
]

CodecChoice = Annotated[
    str | None,
    typer.Option("--codec", help="Codec to use; see `taskodec plugins`.", autocompletion=completion.codecs),
]
TaskChoice = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="NAME|FILE.py:OBJ[,…]", help="What the images are for.", autocompletion=completion.tasks
    ),
]
QualityChoice = Annotated[float | None, typer.Option("--quality", "-q", help="Low is a small file.")]
StepsChoice = Annotated[int | None, typer.Option("--steps", help="Tuning steps in all; 0 sends images untuned.")]
PresetChoice = Annotated[
    str | None,
    typer.Option("--preset", help="Tuning preset, such as quick or paper.", autocompletion=completion.presets),
]
SeedChoice = Annotated[int | None, typer.Option("--seed", help="Seed of the tuning.")]
TimeBudget = Annotated[float | None, typer.Option("--time-budget", help="Seconds of tuning per image.")]
TrainingSeconds = Annotated[
    float | None,
    typer.Option(
        "--time-budget", metavar="SECONDS", help="Seconds of training, in place of steps: the clock sets its pace."
    ),
]
TrainingSteps = Annotated[int | None, typer.Option("--steps", help="Training steps.")]
TrainingSeed = Annotated[int | None, typer.Option("--seed", help="Seed of the training.")]
AdapterChoice = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="NAME|FILE.safetensors",
        help="Adapter, instead of the one for codec and task.",
        autocompletion=completion.adapters,
    ),
]
TargetBytes = Annotated[
    str | None, typer.Option("--target-bytes", metavar="SIZE", help="Best file of at most so many: 20000, 20kB, 20KiB.")
]
TargetBpp = Annotated[float | None, typer.Option("--target-bpp", help="Best file of at most so many bits per pixel.")]
TargetLoss = Annotated[float | None, typer.Option("--target-loss", help="Smallest file with at most this task loss.")]
TargetMetric = Annotated[
    str | None,
    typer.Option("--target", metavar="METRIC>=X", help="Smallest file with this figure, such as psnr>=34; <= too."),
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", metavar="FILE.yaml", help="Settings file, or taskodec:paper/NAME; repeatable."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as ttft.steps=80; repeatable.")
]
OutputChoice = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="OUT", help="File, folder for several, or -."),
]
TrainingData = Annotated[
    list[str], typer.Option("--data", metavar="DIR|JSON|URL", help="Images at any depth, or COCO's JSON; repeatable.")
]
OnlyThese = Annotated[
    Path | None, typer.Option("--only", metavar="LIST", help="Only the images that a text file or COCO's JSON names.")
]
HeldOut = Annotated[list[str] | None, typer.Option("--validation", metavar="DIR", help="Images held out; repeatable.")]
RunFolder = Annotated[Path, typer.Option("--output", "-o", metavar="RUNDIR", help="Folder of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in RUNDIR.")]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="File with plugin hooks; may be repeated.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object per input on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no report.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Keep whole files that exist, make the rest."),
]


def tuning_flags(**given: Any) -> dict[str, Any]:
    """Options by name, such as `steps`, as settings by dotted key."""
    from taskodec.settings.options import by_key

    return by_key(given)


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


def without_target(settings: Settings) -> Settings:
    """The settings, for a command of its own qualities; SettingsError where they have a target."""
    from taskodec.settings.target import check_no_target

    check_no_target(settings.target, "only `taskodec compress` makes files for a target")
    return settings


def load_registry(plugins: Sequence[Path] | None) -> Registry:
    """The registry with the plugin files of the command line."""
    from taskodec.hooks.registry import default_registry

    registry = default_registry()
    for path in plugins or ():
        registry.load_plugin_file(path)
    return registry


@contextmanager
def resumable(rows: Path) -> Iterator[None]:
    """Ctrl-C within says whether the call can be repeated, and makes the exit code 130."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = f"{rows} has what was measured, the same call goes on" if rows.is_file() else "nothing was measured yet"
        print(f"stopped; {kept}", file=sys.stderr)
        raise typer.Exit(exit_code(stop)) from None


def stopped_run(stop: KeyboardInterrupt, folder: Path) -> str:
    """What to say of a training run in this folder that a signal has ended."""
    if str(stop):
        return str(stop)
    if (folder / "checkpoint.pt").is_file():
        return f"stopped; the same command with --resume goes on from the last checkpoint in {folder}"
    return "stopped before the first checkpoint; nothing is kept"


def print_json(value: Mapping[str, Any]) -> None:
    """One line of strict JSON; NaN and infinities, which JSON cannot say, become null."""
    print(json.dumps(finite(value), default=str), flush=True)
