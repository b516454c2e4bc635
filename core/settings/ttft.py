"""Settings of test-time fine-tuning: its phases, and the switches between the published algorithm and this one."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from taskodec.settings.base import Count, Model, Number, Positive, Seed, Size

__all__ = ["VIEWS", "PhaseSettings", "TTFTSettings", "View", "seen_views"]


View = Literal["scale", "shift", "flip", "noise"]

VIEWS: tuple[View, ...] = get_args(View)
"""Kinds of random views of a picture."""

Share = Annotated[Number, Field(ge=0, lt=1)]


class PhaseSettings(Model):
    """One phase of test-time fine-tuning: what is trained, and how.

    `lr` is for adapters and all that has no rate of its own, `lr_latents` for y, `lr_z` for z, which else has that of
    y. With `latent_steps: local` they are multiplied by the square root of the size that y has around each element, and
    by the size of z. `betas` are Adam's.

    With `decoder: auto` singular values are trained for as long as they promise to pay: see `taskodec.tuning.promise`.

    With `average` it is not the last values that are looked at and kept but their average over about so many steps; a
    look that finds it dearer than the best one has the phase go on from there, with rates times `backtrack`.
    """

    train: tuple[Literal["encoder", "decoder", "latents"], ...] = Field(min_length=1)
    steps: Count
    lr: Positive = 5e-3
    lr_latents: Positive | None = None
    lr_z: Positive | None = None
    latent_steps: Literal["uniform", "local"] = "uniform"
    betas: tuple[Share, Share] = (0.9, 0.999)
    schedule: Literal["cosine", "cosine_warmup", "step", "constant"] = "cosine"
    milestones: tuple[Count, ...] = ()
    gamma: Annotated[Number, Field(gt=0, le=1)] = 0.5
    rounding: Literal["noise", "ste", "mixed", "sga"] = "sga"
    decoder: Literal["always", "auto"] = "always"
    average: Count = 0
    backtrack: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> PhaseSettings:
        if len(set(self.train)) < len(self.train):
            raise ValueError(f"train names a part twice: {', '.join(self.train)}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, found {list(self.milestones)}")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones need schedule: step, found {self.schedule}")
        if self.backtrack < 1 and not self.average:
            raise ValueError(f"backtrack goes back to averages: set average as well, found backtrack {self.backtrack}")
        return self


class TTFTSettings(Model):
    """Test-time fine-tuning: its phases, the budgets they share, and how the decoder's singular values are treated.

    `steps` rescales the phases to this total. `time_budget` (seconds per image) ends tuning early enough for the
    streams that are written at the end; `min_gain_per_second` ends a phase once the cost falls more slowly than this
    share of the untuned cost a second, 0 never.

    `patch` has steps see patches of so many pixels a side, a multiple of the codec's stride, in place of the whole
    picture: one after the other, so that they need the memory of one. What is kept and sent is judged on the whole.
    `start` says where latents begin: at those of the picture, or, with `seen` and if that is cheaper, of the picture
    without the detail that the task cannot see.

    `views` has the task see, at every step, another random view of the decoded picture in place of the picture itself,
    so that networks which the file was not made for find in it what they should: of all kinds that the task bears
    (`Task.views`), or of some of them. For tasks that bear some, `fidelity` is a share of the codec's own trade-off for
    mean square error in what steps lower. With `views: false` there is neither. What is sent is judged by the picture
    itself and the task alone.

    The rest are the differences to the published algorithm (Park et al., CVPR 2025), which `paper` sets otherwise:
    `singular_values` says what of them travels, their change at a signalled step, or themselves under the published
    prior; `adapter_rate` whether their bits are in the loss; `adapter_rounding` whether they are rounded while they
    are tuned (`ste`) or only `after`; `keep` which state of a phase is written, the `best` seen or the `last`; `send`
    whether the `cheapest` of all streams, untuned ones included, is sent or always the `tuned` one. `search` lists
    what is tried for changes when a stream is written, each for a decoding and a loss, `search_decodings` in all:
    other `steps`, layers without their change (`gates`), rounding towards zero (`deadzone`), single `values` nearer
    to zero.

    The last three make tuning fast or small, and change what it finds by rounding only: networks in `bf16` (`auto`:
    where the device has instructions for it), activations computed twice instead of kept (`checkpoint`; `auto`: for
    large pictures), and `compile`, which calls `torch.compile`.
    """

    preset: str = "default"
    phases: tuple[PhaseSettings, ...] = ()
    seed: Seed = 0
    steps: Count | None = None
    time_budget: Positive | None = None
    min_gain_per_second: Annotated[Number, Field(ge=0)] = 0.0
    patch: Size | None = None
    start: Literal["seen", "picture"] = "seen"
    views: bool | tuple[View, ...] = True
    fidelity: Annotated[Number, Field(ge=0)] = 0.1
    singular_values: Literal["change", "absolute"] = "change"
    adapter_rate: bool = True
    adapter_rounding: Literal["ste", "after"] = "ste"
    keep: Literal["best", "last"] = "best"
    send: Literal["cheapest", "tuned"] = "cheapest"
    search: tuple[Literal["steps", "gates", "deadzone", "values"], ...] = ("steps", "gates", "deadzone", "values")
    search_decodings: Count = 24
    bf16: bool | Literal["auto"] = "auto"
    checkpoint: bool | Literal["auto"] = "auto"
    compile: bool = False

    @property
    def seen_views(self) -> tuple[View, ...] | None:
        """The kinds of views that tasks are shown, if they bear them; None where all is turned off."""
        return seen_views(self.views)

    @field_validator("search")
    @classmethod
    def _check_search(cls, search: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(search)) < len(search):
            raise ValueError(f"search names a part twice: {', '.join(search)}")
        return search


def seen_views(views: bool | tuple[View, ...]) -> tuple[View, ...] | None:
    """The kinds that a setting of `views` stands for; None where all is turned off."""
    return views if isinstance(views, tuple) else VIEWS if views else None
