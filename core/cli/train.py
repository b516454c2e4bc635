"""`taskodec train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.cli.progress import progress_bar
from taskodec.console.interrupt import exit_code
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
    codec: common.CodecChoice = None,
    quality: common.QualityChoice = None,
    steps: common.TrainingSteps = None,
    seed: common.TrainingSeed = None,
    validation: common.HeldOut = None,
    init: Annotated[Path | None, typer.Option(metavar="CKPT", help="Weights to start from, not random ones.")] = None,
    resume: common.Resume = False,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    quiet: common.Quiet = False,
) -> None:
    """Train a codec on images; a run that was stopped goes on with --resume."""
    flags = common.tuning_flags(codec=codec, quality=quality)
    flags |= {"codec.checkpoint": init, "train.steps": steps, "train.seed": seed}
    settings = common.without_target(common.resolve_settings(config, overrides, flags))
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
                    max_pixels=settings.limits.max_pixels,
                    resume=resume,
                    fresh=settings.codec.checkpoint is None,
                    progress=progress,
                    resolved=settings.model_dump(mode="json"),
                )
                stopped, code = "", 0
            except KeyboardInterrupt as stop:
                stopped, code = common.stopped_run(stop, output), exit_code(stop)
    if first and (stopped or not quiet):
        print(stopped or weights, file=sys.stderr if stopped else sys.stdout)
    if stopped:
        raise typer.Exit(code)


def _model(registry: Registry, chosen: CodecSettings, quality: float) -> Codec:
    """The codec with random weights, or with those of its checkpoint."""
    from taskodec.api.loading import load_codec
    from taskodec.hooks.objects import check_codec

    if registry.codecs[chosen.name].create is None:
        able = ", ".join(repr(name) for name, spec in registry.codecs.items() if spec.create is not None)
        raise UsageError(
            f"codec {chosen.name!r} cannot be trained: it has no way to be made without weights; valid: {able}"
        )
    if chosen.checkpoint is not None:
        return load_codec(registry, chosen, quality)
    made = registry.codecs.make(chosen.name, {"quality": quality, **chosen.options}, part="create")
    return check_codec(made, chosen.name, registry.codecs.owner(chosen.name))
