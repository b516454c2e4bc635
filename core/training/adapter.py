"""Pre-training of an adapter for a task, on a data set, over all qualities of a codec at once.

U, S and V of encoder and decoder are trained, the codec's own weights are frozen (Park et al., CVPR 2025, section
3.2). A crop at a quality costs `lmbda * loss + bpp`, as in test-time fine-tuning. What a step minimises is the mean of
that cost, as published (`objective: cost`), or by default of its logarithm: a tenth saved counts the same on a cheap
and on a dear crop, so that neither a quality nor a crop on which the task's network is unsure dominates. Reports give
costs in units of the codec without adapter.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from taskodec.adapters.files import save_adapter
from taskodec.adapters.lora import LowRankAdapter
from taskodec.coding.streams import codec_fingerprint
from taskodec.console.progress import Progress
from taskodec.contracts import Adapter, Codec, JointTask, Task
from taskodec.errors import UsageError, WeightsError
from taskodec.files.atomic import write_atomic
from taskodec.images.framing import WHOLE, Framing
from taskodec.images.tensors import MAX_PIXELS
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.randomness import numbers_kept
from taskodec.training.codec import BEFORE, Report, make_folder, run_steps, seed_step, unit
from taskodec.training.costs import Figures, Terms, relative_cost, task_cost, validate
from taskodec.training.datasets import CropDataset, Reading, Size, StepDataset, crops_for, worker_count
from taskodec.training.parallel import broadcast_weights, rank, wait_for_all, world_size
from taskodec.training.pictures import Picture, list_pictures, opened
from taskodec.training.schedule import check_batch, check_crops, crops_of, largest_crop
from taskodec.training.state import TrainingState
from taskodec.tuning.calibration import Balance
from taskodec.tuning.slopes import SlopeWatch, warn_without_slope
from taskodec.tuning.task_calls import views_of
from taskodec.tuning.units import balance_of
from taskodec.tuning.views import RandomView, random_view

if TYPE_CHECKING:
    from taskodec.settings.model import PretrainSettings

__all__ = ["Pretraining", "pretrain"]

SMALLEST = 3
"""By what factor a crop may be reduced for a task's network before that is worth a warning."""


class Pretraining(TrainingState[LowRankAdapter]):
    """The state of a run: an adapter in training, what it is measured by, and the best weights so far."""

    settings: PretrainSettings

    def __init__(
        self, codec: Codec, adapter: LowRankAdapter, task: Task, settings: PretrainSettings, out: Path
    ) -> None:
        super().__init__(adapter, settings, out)
        self.codec, self.task, self.slope = codec, task, SlopeWatch()
        parts = task.parts if isinstance(task, JointTask) else ()
        self.part_slopes = {part.label: SlopeWatch() for part in parts}
        self.about = {"codec": codec.name, "codec_fingerprint": codec_fingerprint(codec).hex(), "task": task.name}
        self.balance = Balance((), (), ())
        self.untuned: Figures = []
        self.best: dict[str, Tensor] = {}
        self.best_cost, self.best_step, self.waited = float("inf"), 0, 0

    @property
    def ended(self) -> bool:
        out_of_patience = 0 < self.settings.patience <= self.waited
        return super().ended or out_of_patience

    def judge(self, figures: Figures) -> None:
        """Keep the average as the best weights if these figures of it are the best so far."""
        cost = relative_cost(figures, self.untuned)
        self.waited += 1
        if cost < self.best_cost:
            self.best = {name: value.clone() for name, value in self.ema.items()}
            self.best_cost, self.best_step, self.waited = cost, self.step, 0

    def extras(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "balance": self.balance.state(),
            "untuned": self.untuned,
            "best": (self.best, self.best_cost, self.best_step, self.waited),
        }

    def take_extras(self, state: dict[str, Any]) -> None:
        for key, mine in self.about.items():
            if (found := state["about"][key]) != mine:
                raise WeightsError(
                    f"{self.out} holds a run of {key} {found!r}, not of {mine!r}; resume it with the codec, weights "
                    "and task it began with, or start anew in another folder"
                )
        self.balance = Balance.of(state["balance"])
        self.untuned = [{name: float(value) for name, value in figures.items()} for figures in state["untuned"]]
        best, cost, step, waited = state["best"]
        self.check_average({name: best[name] for name in self.ema} if best else {}, str(self.out))
        self.best, self.best_cost, self.best_step, self.waited = dict(best), float(cost), int(step), int(waited)

    def save_average(self) -> None:
        """Write the best weights so far, or without validation the average, as `adapter.safetensors`."""
        card = {**self.about, "step": str(self.best_step if self.best else self.step)}
        if self.best:
            card["relative_cost"] = f"{self.best_cost:.4f}"
        now = self.model.state()
        self.model.load_state_dict(self.best or self.ema)
        save_adapter(self.out / "adapter.safetensors", self.model, card)
        self.model.load_state_dict(now)


@dataclass(frozen=True)
class _Data:
    """The crops of a run, and pieces of the held-out images, each (1, 3, H, W)."""

    crops: CropDataset
    held_out: Sequence[Tensor]


@in_clean_state
def pretrain(
    codec: Codec,
    adapter: Adapter,
    task: Task,
    data: Sequence[Picture],
    out: Path,
    settings: PretrainSettings,
    *,
    lmbda: float | Mapping[float, float] | None = None,
    lmbda_scale: float = 1.0,
    validation: Sequence[Picture] = (),
    framing: Framing = WHOLE,
    max_pixels: int = MAX_PIXELS,
    resume: bool = False,
    progress: Progress | None = None,
    resolved: Mapping[str, Any] | None = None,
    reading: Reading | None = None,
) -> Pretraining:
    """Train `adapter` on the images below `data`; returns the run, whose adapter has the weights that were kept.

    `framing` is what becomes of every picture first. `max_pixels` is as for `taskodec.training.codec.train`. `out`
    receives `adapter.safetensors`, and what that writes. `lmbda` overrides the task's weight, `lmbda_scale` multiplies
    it. The task judges crops as parts of their pictures (`Task.for_crops`). With `validation`, held-out images, the
    best weights are kept and the run can end early. The codec is frozen and left without the adapter. `reading` makes
    the batches in place of `workers`; they are the same.
    """
    if not isinstance(adapter, LowRankAdapter):
        raise UsageError(f"adapter {adapter.kind!r} has no file format; pre-training takes svd-lora and lora")
    check_batch(settings, world_size())
    check_crops(settings, codec.name, codec.stride)
    device = next(codec.parameters()).device
    crops = crops_for(settings, data, device, framing, max_pixels)
    sizes = crops.sizes(reading)
    validation = list_pictures(validation) if validation else ()
    make_folder(out, resume)
    codec.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    adapter.requires_grad_(True)
    read = _read(crops, sizes, validation, settings)
    run = Pretraining(codec, adapter.to(device), _of_crops(task, sizes, largest_crop(settings)), settings, out)
    with numbers_kept(device):
        if resume:
            run.load()
        else:
            _start(run, read, (lmbda, lmbda_scale), device)
        if rank() == 0:
            _write_settings(run, resolved or settings.model_dump(mode="json"))
        if not run.ended:
            steps = StepDataset(read.crops, settings, codec.qualities, (rank(), world_size()))
            check = partial(_validate_average, run, read.held_out) if read.held_out else None
            with run.model.applied(codec):
                run_steps(run, steps, worker_count(settings, device), partial(_advance, run), check, progress, reading)
    if rank() == 0:
        run.save()
    run.model.load_state_dict(run.best or run.ema)
    wait_for_all(device)
    return run


def _read(
    crops: CropDataset, sizes: Sequence[Size], validation: Sequence[Picture], settings: PretrainSettings
) -> _Data:
    size = largest_crop(settings)
    if rank() == 0:
        crops.check(size, sizes)
    held_out = []
    for picture in validation[:: max(1, len(validation) // settings.validation_images)][: settings.validation_images]:
        with opened(picture, crops.max_pixels) as source:
            held_out.append(_middle(crops.framing.load(source, crops.max_pixels), size))
    return _Data(crops, held_out)


def _of_crops(task: Task, sizes: Sequence[Size], side: int) -> Task:
    """The task for crops of `side` pixels; a warning where they are of pictures so large that they show it little."""
    task = task.for_crops(sizes)
    seen = task.sees(side, side)
    if rank() == 0 and seen is not None and max(seen) < side / SMALLEST:
        warnings.warn(
            f"task {task.name!r} sees a crop of {side} pixels at {seen[0]}x{seen[1]}, as it sees these pictures: scale "
            "them down (data.resize) to learn from more of each, or take larger crops (pretrain.stages)",
            stacklevel=3,
        )
    return task


def _start(
    run: Pretraining, data: _Data, weight: tuple[float | Mapping[float, float] | None, float], device: torch.device
) -> None:
    """Step 0: what the codec costs without the adapter."""
    settings = run.settings
    crops = data.crops.crops(largest_crop(settings), range(settings.calibration_crops), settings.seed, BEFORE)
    run.balance = balance_of(run.codec, run.task, unit(crops, device), *weight)
    if data.held_out:
        run.untuned = validate(run.codec, run.task, run.balance, data.held_out)
    if rank() == 0:
        (run.out / "log.jsonl").unlink(missing_ok=True)  # of a run that never came to a checkpoint
    broadcast_weights(run.model)
    run.start_average()


def _write_settings(run: Pretraining, resolved: Mapping[str, Any]) -> None:
    """The settings, and what was measured of the codec without adapter."""
    used = {**resolved, "balance": run.balance.state(), "untuned": run.untuned}
    write_atomic(run.out / "settings.json", json.dumps(used, indent=1).encode())


def _advance(run: Pretraining, x: Tensor, quality: Tensor) -> Report:
    """One step on this process's part of the batch; figures of the whole batch."""
    stage = run.stage
    seed_step(run.settings.seed, run.step)

    def forward() -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=stage.bf16):
            terms = Terms(stage.rounding, run.settings.objective, run.settings.fidelity, _views(run, x))
            watches = run.slope, list(run.part_slopes.values())
            return task_cost(run.codec, run.task, run.balance, x, quality, terms, *watches)

    rate = run.rate
    figures, norm = run.advance(forward, len(x) / crops_of(stage, run.settings))
    for name, seen in {**run.part_slopes, run.task.name: run.slope}.items():
        warn_without_slope(name, seen)
    return {**dict(zip(("cost", "loss", "bpp"), figures.unbind(), strict=True)), "norm": norm, "lr": rate}


def _views(run: Pretraining, x: Tensor) -> list[RandomView]:
    """What the task is shown of each crop (B, 3, S, S) at this step: of the views that are wanted, those it bears."""
    kinds = views_of(run.task).intersection(run.settings.seen_views)
    size = (x.shape[2], x.shape[3])
    seeds = np.random.SeedSequence((run.settings.seed, run.step, rank(), 1)).generate_state(len(x)).tolist()
    return [random_view(kinds, seed, size, run.task.sees(*size)) for seed in seeds] if kinds else []


def _validate_average(run: Pretraining, pictures: Sequence[Tensor]) -> Figures:
    """Validate and judge the averaged weights, then put the trained ones back."""
    now = run.model.state()
    run.model.load_state_dict(run.ema)
    figures = validate(run.codec, run.task, run.balance, pictures)
    run.model.load_state_dict(now)
    run.judge(figures)
    return figures


def _middle(x: Tensor, size: int) -> Tensor:
    """The middle of a picture (1, 3, H, W), at most `size` pixels a side."""
    top, left = (max(0, side - size) // 2 for side in x.shape[2:])
    return x[:, :, top : top + size, left : left + size].clone()
