"""Training of a codec, of variable rate or of one level: resumable to the step, on the CPU, a GPU, or several of them.

Every random number of a step comes from (seed, step), so that a resumed run continues as if it had never
stopped. All quality levels are mixed in each batch.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from taskodec.coding.weights import save_weights
from taskodec.console.interrupt import Stopped, interrupts_kept
from taskodec.console.progress import Progress
from taskodec.contracts import Codec, total_bits
from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import write_atomic
from taskodec.images.metrics import psnr
from taskodec.images.tensors import MAX_PIXELS, crop_to, load_image, pad_to
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.guests import as_guest
from taskodec.isolation.randomness import numbers_kept
from taskodec.training.datasets import (
    CropDataset,
    Reading,
    StepDataset,
    crops_for,
    step_loader,
    worker_count,
)
from taskodec.training.graphs import GraphedCalls
from taskodec.training.log import TrainLog
from taskodec.training.losses import StepLoss, lmbdas_of
from taskodec.training.parallel import (
    any_rank,
    broadcast_weights,
    rank,
    share_of,
    sum_over_ranks,
    wait_for_all,
    world_size,
)
from taskodec.training.pictures import Picture, list_pictures, opened
from taskodec.training.schedule import check_batch, check_crops, crops_of, largest_crop
from taskodec.training.state import TrainedT, TrainingState

if TYPE_CHECKING:
    from taskodec.settings.model import TrainSettings

__all__ = ["Report", "make_folder", "run_steps", "seed_step", "train", "unit", "validate"]

REPORT_EVERY = 50
"""Steps between two lines of the log."""

Report: TypeAlias = "dict[str, Tensor | float]"
"""Figures of a step by name, numbers or scalars."""

BEFORE, AFTER = 2**32 - 1, 2**32 - 2
"""Stand for no step: the crops that a codec is calibrated on before a run, and finished on after it."""


@torch.no_grad()
def validate(
    codec: Codec, paths: Sequence[Picture], qualities: Sequence[float], max_pixels: int = MAX_PIXELS
) -> list[dict[str, float]]:
    """Estimated rate and PSNR of whole images at each quality, means over the images; processes share the work."""
    device = next(codec.parameters()).device
    sums = torch.zeros(len(qualities), 2, device=device)
    for path in (paths[i] for i in share_of(len(paths))):
        with opened(path, max_pixels) as source:
            x = load_image(source, max_pixels=max_pixels).x.to(device)
        height, width = x.shape[2:]
        for row, quality in enumerate(qualities):
            output = codec(pad_to(x, codec.stride), quality, "hard")
            x_hat = crop_to(output.x_hat, height, width).clamp(0, 1)
            sums[row, 0] += float(total_bits(output.likelihoods)) / (height * width)
            sums[row, 1] += psnr(x_hat, x)
    means = (sum_over_ranks(sums) / len(paths)).tolist()
    return [{"quality": q, "bpp": bpp, "psnr": psnr} for q, (bpp, psnr) in zip(qualities, means, strict=True)]


@in_clean_state
def train(
    codec: Codec,
    data: Sequence[Picture],
    out: Path,
    settings: TrainSettings,
    *,
    validation: Sequence[Picture] = (),
    max_pixels: int = MAX_PIXELS,
    resume: bool = False,
    fresh: bool = True,
    progress: Progress | None = None,
    resolved: dict[str, Any] | None = None,
) -> Path:
    """Train `codec` on the images below `data`; returns the file of the averaged weights.

    `out` receives `checkpoint.pt` (everything needed to resume), `weights.safetensors` (the moving average),
    `log.jsonl` (one line per report), `settings.json`, and TensorBoard's event files if that is installed. `validation`
    names held-out images. Larger pictures than `max_pixels` are passed over in `data`, and refused in `validation`.
    Only a `fresh` codec gets data-dependent initial values; one that starts from trained weights keeps them. The codec
    trains where it lies; resuming a run that has done all its steps only writes its weights again.

    Ctrl-C and SIGTERM end the run after its current step: the checkpoint is written, then a KeyboardInterrupt says
    how to go on. Inside a process group (`taskodec.training.parallel`) all processes train together and process 0
    writes.
    """
    if not codec.continuous and len(codec.qualities) > 1:
        raise UsageError(f"codec {codec.name!r} has levels and nothing between them; training takes one, or a range")
    check_batch(settings, world_size())
    check_crops(settings, codec.name, codec.stride)
    device = next(codec.parameters()).device
    workers = worker_count(settings, device)
    dataset = crops_for(settings, data, device, max_pixels=max_pixels)
    held_out = list_pictures(validation) if validation else []
    make_folder(out, resume)
    if rank() == 0:
        dataset.check(largest_crop(settings))
    codec.train().to(memory_format=torch.channels_last)
    run = TrainingState[Codec](codec, settings, out)
    with numbers_kept(device):
        if resume:
            run.load()
        else:
            _start(run, dataset, device, fresh)
        if rank() == 0:
            used = resolved or settings.model_dump(mode="json")
            write_atomic(out / "settings.json", json.dumps(used, indent=1).encode())
        if not run.ended:
            points = partial(_validate_average, run, held_out, max_pixels) if held_out else None
            steps = StepDataset(dataset, settings, codec.qualities, (rank(), world_size()))
            run_steps(run, steps, workers, partial(_advance, run, _graphs(run, device)), points, progress)
        if rank() == 0:
            run.save()
            _finish(run, dataset, device)
        wait_for_all(device)
    return out / "weights.safetensors"


def make_folder(out: Path, resume: bool) -> None:
    """The folder of a run; a UsageError when it holds one that is not to be resumed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskodecError(f"cannot make folder {out}: {error.strerror or error}") from error
    if (out / "checkpoint.pt").exists() and not resume:
        raise UsageError(f"{out} already holds a run; continue it with --resume or choose another folder")


def _start(run: TrainingState[Codec], dataset: CropDataset, device: torch.device, fresh: bool) -> None:
    """Step 0: the weights of process 0 for all."""
    settings = run.settings
    torch.manual_seed(settings.seed)
    if rank() == 0:
        if fresh:
            numbers = range(min(64, 4 * settings.batch))
            run.model.calibrate(unit(dataset.crops(settings.stages[0].crop, numbers, settings.seed, BEFORE), device))
        (run.out / "log.jsonl").unlink(missing_ok=True)  # of a run that never came to a checkpoint
    broadcast_weights(run.model)
    run.start_average()


def run_steps(
    run: TrainingState[TrainedT],
    steps: StepDataset,
    workers: int,
    advance: Callable[[Tensor, Tensor], Report],
    validation: Callable[[], list[dict[str, float]]] | None,
    progress: Progress | None,
    reading: Reading | None = None,
) -> None:
    """The steps of a run from where it stands until it has ended: the log, validation, checkpoints, a clean stop.

    `advance` does one step on this process's crops (B, 3, S, S) in [0, 1] and their qualities (B,), and returns
    figures, which a GPU is waited for only where they are said; `validation` gives figures at each quality.
    """
    settings, device, progress = run.settings, next(run.model.parameters()).device, as_guest(progress)
    pinned = device.type == "cuda" and not settings.cache_on_device
    steps.seconds.fill_(run.seconds)
    batches = reading.batches(steps, run.step) if reading else step_loader(steps, run.step, workers, pinned=pinned)
    written = TrainLog(run.out, run.step) if rank() == 0 else nullcontext()
    saved = ticked = time.monotonic()
    with interrupts_kept(twice=world_size() == 1) as interrupted, written as log:
        for batch in batches:
            if isinstance(batch, TaskodecError):
                raise batch
            run.stage = settings.stages[batch[2]]
            report = advance(unit(batch[0], device), batch[1])
            said = log is not None and run.step % REPORT_EVERY == 0
            figures = {name: float(value) for name, value in report.items()} if said or progress else {}
            now = time.monotonic()
            run.seconds += now - ticked
            steps.seconds.fill_(run.seconds)
            ticked = now
            if progress:
                progress(int(run.position), settings.steps, figures)
            if log and said:
                log.report(run.step, run.seconds, figures)
            if any_rank(bool(interrupted()), device) and not run.ended:
                _stop(run, interrupted())
            last = run.ended and settings.time_budget is not None
            if validation and (last or run.step % settings.validate_every == 0):
                points = validation()
                if log:
                    log.validation(run.step, run.seconds, points)
            if run.ended:
                break
            if rank() == 0 and now - saved > settings.checkpoint_minutes * 60:
                run.save()
                saved = time.monotonic()


def _graphs(run: TrainingState[Codec], device: torch.device) -> GraphedCalls | None:
    """Steps by recorded graphs, where they are wanted and this is one process on a GPU."""
    wanted = run.settings.cuda_graphs and device.type == "cuda" and world_size() == 1
    return GraphedCalls(partial(StepLoss, run.model)) if wanted else None


def _advance(run: TrainingState[Codec], calls: GraphedCalls | None, x: Tensor, quality: Tensor) -> Report:
    """One step on this process's part of the batch; figures of the whole batch."""
    seed_step(run.settings.seed, run.step)
    inputs = x, quality.to(x.device), lmbdas_of(run.model, quality, x.device)

    def forward() -> tuple[Tensor, Tensor]:
        found = StepLoss(run.model, run.stage)(*inputs) if calls is None else calls(run.stage, *inputs)
        return cast("tuple[Tensor, Tensor]", found)

    rate = run.rate
    figures, norm = run.advance(forward, len(x) / crops_of(run.stage, run.settings))
    return {**dict(zip(("loss", "bpp", "psnr"), figures.unbind(), strict=True)), "norm": norm, "lr": rate}


def seed_step(seed: int, step: int) -> None:
    """Seed the noise of a step: each process has its own."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank())).generate_state(1)[0]))


def unit(crops: Tensor, device: torch.device) -> Tensor:
    """Bytes (B, 3, H, W) to floats in [0, 1] on the device."""
    return crops.to(device, non_blocking=True).float().div(255).to(memory_format=torch.channels_last)


def _stop(run: TrainingState[TrainedT], number: int) -> None:
    """End the run for a signal of this number, 0 for one that came to another process."""
    if rank() == 0:
        run.save()
    raise Stopped(
        f"stopped after step {run.step} of {run.settings.steps}; the same command with --resume goes on from {run.out}",
        number or signal.SIGINT,
    )


@torch.no_grad()
def _finish(run: TrainingState[Codec], dataset: CropDataset, device: torch.device) -> None:
    """The averaged weights as they are shipped: prepared by `Codec.finish` on crops of the training images."""
    codec, settings = run.model, run.settings
    codec.load_state_dict({**codec.state_dict(), **run.ema})
    codec.eval()
    codec.finish(unit(dataset.crops(largest_crop(settings), range(16), settings.seed, AFTER), device))
    save_weights(codec, codec.state_dict(), run.out / "weights.safetensors", {"step": str(run.step)})


def _validate_average(run: TrainingState[Codec], paths: Sequence[Picture], max_pixels: int) -> list[dict[str, float]]:
    """Validate the averaged weights, then put the trained ones back."""
    current = {n: v.detach().clone() for n, v in run.model.state_dict().items()}
    run.model.load_state_dict({**current, **run.ema})
    run.model.eval()
    try:
        return validate(run.model, paths, run.model.qualities, max_pixels)
    finally:
        run.model.load_state_dict(current)
        run.model.train()
