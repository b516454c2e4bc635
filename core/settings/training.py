"""Settings of training: of a codec, and of an adapter for a task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from taskodec.settings.base import Count, Model, Number, Positive, Seed, Size
from taskodec.settings.ttft import View, seen_views

__all__ = ["PretrainSettings", "StageSettings", "TrainSettings"]


class StageSettings(Model):
    """One part of a training run, up to `until` of its steps: how large crops are, and how latents are rounded.

    `bf16` computes analysis and synthesis in mixed precision; entropy model and hyper-synthesis never are.
    """

    until: Annotated[Number, Field(gt=0, le=1)]
    crop: Size = 128
    rounding: Literal["noise", "ste", "mixed"] = "mixed"
    bf16: bool = False


class TrainSettings(Model):
    """Training of a codec, in stages. `lr_scales` maps glob patterns of parameter names to factors of `lr`.

    `schedule: cosine` goes down to `final_lr`; `step` multiplies `lr` by `gamma` at each of `milestones`, in steps.

    `batch` is the crops of a step in the first stage, over all processes; later stages have as many pixels. `ema` is
    the decay of the moving average that becomes the weights. `workers` processes per training process read pictures
    ahead, of which `cache_mb` megabytes are kept decoded; None means none on the CPU, four on a GPU. With
    `cache_on_device` they are kept where the codec trains, crops are cut there, and no workers are needed.

    `time_budget` (seconds, over all parts of a run that was stopped) ends a run in place of `steps`, and its stages and
    rate follow the clock. `optimizer` is for weights of two dimensions and more: `muon` and `soap` take the extra
    `train`. `fused` is about Adam's kernels; None means on a GPU. `cuda_graphs` records the steps of a codec on a GPU,
    so that small kernels do not wait to be launched; what cannot be recorded goes without, with a warning.
    """

    stages: tuple[StageSettings, ...] = (StageSettings(until=0.9), StageSettings(until=1, crop=256))
    batch: Size = 16
    steps: Size = 5000
    time_budget: Positive | None = None
    optimizer: Literal["adam", "muon", "soap"] = "adam"
    fused: bool | None = None
    lr: Positive = 1e-3
    final_lr: Positive = 1e-5
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: tuple[Count, ...] = ()
    gamma: Annotated[Number, Field(gt=0, le=1)] = 0.5
    lr_scales: dict[str, Number] = Field(default_factory=dict)
    clip: Positive = 1.0
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    seed: Seed = 0
    checkpoint_minutes: Positive = 5.0
    validate_every: Size = 500
    workers: Count | None = None
    cache_mb: Count = 2000
    cache_on_device: bool = False
    cuda_graphs: bool = False

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, stages: tuple[StageSettings, ...]) -> tuple[StageSettings, ...]:
        ends = [stage.until for stage in stages]
        if not ends or ends != sorted(set(ends)) or ends[-1] != 1:
            raise ValueError(f"until must ascend from stage to stage and end at 1, found {ends}")
        return stages


class PretrainSettings(TrainSettings):
    """Pre-training of an adapter for a task: as `TrainSettings`, and what decides which weights are kept.

    `calibration_crops` training crops measure what the untuned codec costs, and the weight of the loss where neither
    task nor settings have one. Of the held-out images, `validation_images` are used, their middle as large as the
    largest crop. `objective` is what steps minimise: the mean of the costs' logarithms, of the costs in units of what
    the untuned codec costs on average at the quality, or of the costs. After `patience` validations without a lower
    cost the run ends; 0 never ends it early. `views` and `fidelity` are as for tuning (`TTFTSettings`): at every step
    the task sees another random view of each crop, and a share of the codec's own trade-off is added to the cost.
    Validation is of the cost without either.
    """

    stages: tuple[StageSettings, ...] = (StageSettings(until=1, crop=256),)
    batch: Size = 4
    steps: Size = 2500
    lr: Positive = 3e-3
    final_lr: Positive = 3e-5
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.99
    validate_every: Size = 500
    objective: Literal["log-cost", "relative-cost", "cost"] = "log-cost"
    calibration_crops: Size = 64
    validation_images: Size = 24
    patience: Count = 5
    views: bool | tuple[View, ...] = True
    fidelity: Annotated[Number, Field(ge=0)] = 0.0

    @property
    def seen_views(self) -> tuple[View, ...]:
        """The kinds of views that the task is shown, if it bears them."""
        return seen_views(self.views) or ()
