"""`taskodec train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.cli.progress import progress_bar
from taskodec.errors import UsageError

if TYPE_CHECKING:
    from taskodec.contracts import Codec
    from taskodec.hooks.registry import Registry
    from taskodec.settings.model import CodecSettings

__all__ = ["train"]


def train(
    *,
    data: common.TrainingData,
    output: common.RunFolder,
    codec: Annotated[str | None, typer.Option(help="Codec to train.")] = None,
    validation: common.HeldOut = None,
    init: Annotated[Path | None, typer.Option(metavar="CKPT", help="Weights to start from, not random ones.")] = None,
    resume: common.Resume = False,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    quiet: common.Quiet = False,
) -> None:
    """Train a codec on images; a run that was stopped goes on with --resume."""
    settings = common.resolve_settings(config, overrides, {"codec.name": codec, "codec.checkpoint": init})
    registry = common.load_registry(plugin)
    import torch

    from taskodec.training.codec import train as run
    from taskodec.training.parallel import process_group, rank, training_device

    name = settings.codec.name
    device = training_device(settings.device)
    with process_group(device):
        first = rank() == 0
        torch.manual_seed(settings.train.seed)  # of the first weights
        with progress_bar(f"train {name}", quiet or not first) as progress:
            try:
                weights = run(
                    _model(registry, settings.codec, settings.quality).to(device),
                    data,
                    output,
                    settings.train,
                    validation=validation or (),
                    resume=resume,
                    fresh=settings.codec.checkpoint is None,
                    progress=progress,
                    resolved=settings.model_dump(mode="json"),
                )
                stopped = ""
            except KeyboardInterrupt as stop:
                stopped = str(stop) or "stopped; what is not in a checkpoint is lost"
    if first and (stopped or not quiet):
        print(stopped or weights, file=sys.stderr if stopped else sys.stdout)
    if stopped:
        raise typer.Exit(130)


def _model(registry: Registry, chosen: CodecSettings, quality: float) -> Codec:
    """The codec with random weights, or with those of its checkpoint."""
    from taskodec.api.loading import load_codec
    from taskodec.hooks.handover import build
    from taskodec.hooks.specs import resolve

    create = registry.codecs[chosen.name].create
    if create is None:  # whether it could be used or not
        able = ", ".join(repr(name) for name, spec in registry.codecs.items() if spec.create is not None)
        raise UsageError(
            f"codec {chosen.name!r} cannot be trained: it has no way to be made without weights; valid: {able}"
        )
    registry.codecs.usable(chosen.name)
    if chosen.checkpoint is not None:
        return load_codec(registry, chosen, quality)
    codec: Codec = build(f"codec {chosen.name!r}", resolve(create), {"quality": quality, **chosen.options})
    return codec
