"""`taskodec pretrain`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common, places
from taskodec.cli.progress import progress_bar
from taskodec.console.interrupt import exit_code
from taskodec.errors import UsageError

if TYPE_CHECKING:
    import torch

    from taskodec.contracts import Adapter, Codec
    from taskodec.hooks.registry import Registry
    from taskodec.settings.model import Settings
    from taskodec.training.adapter import Pretraining
    from taskodec.training.datasets import Reading

__all__ = ["pretrain"]


def pretrain(
    *,
    data: common.TrainingData,
    output: common.RunFolder,
    task: common.TaskChoice = None,
    codec: common.CodecChoice = None,
    quality: common.QualityChoice = None,
    adapter: common.AdapterChoice = None,
    steps: common.TrainingSteps = None,
    time_budget: common.TrainingSeconds = None,
    seed: common.TrainingSeed = None,
    only: common.OnlyThese = None,
    validation: common.HeldOut = None,
    init: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Adapter to start from, not an untrained one.")
    ] = None,
    resume: common.Resume = False,
    engine: places.EngineChoice = "local",
    address: places.Address = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    quiet: common.Quiet = False,
) -> None:
    """Train a codec's adapter for a task on images; a run that was stopped goes on with --resume.

    RUNDIR/adapter.safetensors is the result, for `taskodec compress --adapter`. With --engine ray, the workers of a
    cluster open, decode and crop the images.
    """
    flags = common.tuning_flags(task=task, codec=codec, quality=quality, adapter=adapter)
    flags |= {"pretrain.steps": steps, "pretrain.seed": seed, "pretrain.time_budget": time_budget}
    settings = common.without_target(common.resolve_settings(config, overrides, flags))
    places.check_engine(engine, address)
    registry = common.load_registry(plugin)
    from taskodec.training.parallel import process_group, rank, training_device
    from taskodec.training.pictures import list_pictures

    device = training_device(settings.device)
    pictures = list_pictures(data, only)
    with process_group(device), _reading(engine, address, settings) as reading:
        quiet = quiet or rank() != 0
        options = {"validation": validation or (), "resume": resume, "reading": reading}
        try:
            done = _run(registry, settings, device, init, quiet, pictures, output, **options)
        except KeyboardInterrupt as stop:
            if rank() == 0:
                print(common.stopped_run(stop, output), file=sys.stderr)
            raise typer.Exit(exit_code(stop)) from None
    if not quiet:
        print(_summary(done))


def _run(
    registry: Registry,
    settings: Settings,
    device: torch.device,
    init: Path | None,
    quiet: bool,
    data: Sequence[Path | str],
    output: Path,
    **options: Any,
) -> Pretraining:
    """Load codec, task and adapter, and train with a progress bar."""
    from taskodec.api.loading import load_codec
    from taskodec.coding.streams import quantize_quality
    from taskodec.images.framing import Framing
    from taskodec.training.adapter import pretrain as run
    from taskodec.tuning.task_calls import on_device

    codec = load_codec(registry, settings.codec, quantize_quality(settings.quality)).to(device)
    task = on_device(registry.task_from(settings.task.spec, **settings.task.options), device)
    adapter = _adapter(registry, settings, codec, init)
    options |= {"lmbda": settings.task.lmbda or settings.task.lmbdas, "lmbda_scale": settings.task.lmbda_scale}
    options |= {"framing": Framing(**settings.data.model_dump(exclude={"eval_size"}))}
    options |= {"resolved": settings.model_dump(mode="json"), "max_pixels": settings.limits.max_pixels}
    with progress_bar(f"pretrain {task.name}", quiet) as progress:
        return run(codec, adapter, task, data, output, settings.pretrain, progress=progress, **options)


@contextmanager
def _reading(engine: str, address: str | None, settings: Settings) -> Iterator[Reading | None]:
    """Who reads the pictures, if it is not this machine; UsageError for settings that rule it out."""
    if engine == "local":
        yield None
        return
    from taskodec.engines.cluster import cluster
    from taskodec.training.parallel import world_size
    from taskodec.training.ray_reading import RayReading

    if settings.pretrain.cache_on_device or settings.pretrain.workers or world_size() > 1:
        raise UsageError(
            "--engine ray has workers of the cluster read for one process that trains: leave out torchrun, "
            "pretrain.workers and pretrain.cache_on_device, or take the local engine"
        )
    with cluster(address, settings.ray):
        yield RayReading(settings.ray, settings.pretrain, places.note)


def _adapter(registry: Registry, settings: Settings, codec: Codec, init: Path | None) -> Adapter:
    """Where training starts: a file, also one that was trained on other weights of the codec, or the settings."""
    from taskodec.adapters.files import load_adapter
    from taskodec.api.adapter_choice import untrained
    from taskodec.api.loading import build_adapter

    if init is not None:
        return load_adapter(init, codec, other_weights=True)
    return build_adapter(registry, untrained(settings.adapter), codec)


def _summary(run: Pretraining) -> str:
    file = str(run.out / "adapter.safetensors")
    if not run.best:
        return file
    ended = "" if run.step >= run.settings.steps else f"; ended early at step {run.step}"
    return f"{file}: cost {run.best_cost:.1%} of that without adapter, from step {run.best_step}{ended}"
