"""`taskodec train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taskodec import cli_common as common
from taskodec.cli_progress import progress_bar
from taskodec.errors import UsageError

__all__ = ["train"]


def train(
    *,
    data: Annotated[list[Path], typer.Option("--data", metavar="DIR", help="Folder of images; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUNDIR", help="Folder of the run.")],
    codec: Annotated[str | None, typer.Option(help="Codec to train.")] = None,
    validation: Annotated[list[Path] | None, typer.Option(metavar="DIR", help="Images held out; repeatable.")] = None,
    init: Annotated[Path | None, typer.Option(metavar="CKPT", help="Weights to start from, not random ones.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in RUNDIR.")] = False,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    quiet: common.Quiet = False,
) -> None:
    """Train a codec on images; a run that was stopped goes on with --resume."""
    settings = common.resolve_settings(config, overrides, {"codec.name": codec, "codec.checkpoint": init})
    registry = common.load_registry(plugin)
    from taskodec.handover import build
    from taskodec.hookspecs import resolve
    from taskodec.loading import choose_device
    from taskodec.training import train as run

    name = settings.codec.name
    spec = registry.codecs[name]
    if spec.create is None:
        raise UsageError(f"codec {name!r} cannot be trained: it has no way to be made without weights")
    device = choose_device(settings.device)
    what, options = f"codec {name!r}", settings.codec.options
    if settings.codec.checkpoint is None:
        model = build(what, resolve(spec.create), options)
    else:
        model = build(what, resolve(spec.load), {**options, "checkpoint": settings.codec.checkpoint})
    model.to(device)
    with progress_bar(f"train {name}", quiet) as progress:
        weights = run(
            model,
            data,
            output,
            settings.train,
            validation=validation or (),
            resume=resume,
            fresh=settings.codec.checkpoint is None,
            progress=progress,
            resolved=settings.model_dump(mode="json"),
        )
    if not quiet:
        print(weights)
