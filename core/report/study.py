"""All that a page says of one picture: original, plain and tuned, and what networks make of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from taskodec.coding.streams import padded
from taskodec.contracts import Codec, Findings, Task
from taskodec.errors import TaskodecError
from taskodec.hooks.specs import Anchor
from taskodec.images.metrics import psnr
from taskodec.images.tensors import load_image, to_pil
from taskodec.report.anchors import AnchorFile, anchor_near
from taskodec.report.bits import BitMap, bit_map, parts
from taskodec.report.maps import Floats, slope
from taskodec.report.plain import Plain, plain_near
from taskodec.settings.model import Settings
from taskodec.tuning.candidates import Candidate
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import findings_of, judge_of, metrics_of, prepared
from taskodec.tuning.ttft import Tuned
from taskodec.tuning.units import weighed

__all__ = ["ORIGINAL", "PLAIN", "TUNED", "Compressed", "Opinion", "Study", "Take", "called", "study"]

ORIGINAL, PLAIN, TUNED = "original", "plain", "tuned"

SLOPE_PIXELS = 2**21
"""Pixels of a picture whose slope is drawn, at most: it takes the memory of a step of tuning that keeps everything."""


@dataclass(frozen=True)
class Compressed:
    """A picture that was compressed: x (1, 3, H, W), what tuning gave, and with what."""

    name: str
    x: Tensor
    task: Task
    tuned: Tuned
    codec: Codec
    settings: Settings
    notes: Sequence[str] = ()

    @property
    def task_name(self) -> str:
        """What people call the task."""
        return called(self.settings.task.name, self.task.name)


@dataclass(frozen=True)
class Take:
    """One of the pictures that are compared. The original has neither file nor bits, an anchor's file no candidate.

    `bounded` is that of `taskodec.report.plain.Plain`.
    """

    key: str
    x: Tensor
    candidate: Candidate | None = None
    quality: float | None = None
    bits: BitMap | None = None
    psnr: float | None = None
    parts: Mapping[str, float] | None = None
    bytes: int | None = None
    bounded: str = ""


@dataclass(frozen=True)
class Opinion:
    """What one task makes of each take, by key. `slopes` are there where it finds nothing to draw; `note` says why not.

    `own` for the task that the file was made for.
    """

    name: str
    own: bool
    losses: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]
    findings: Mapping[str, Findings]
    slopes: Mapping[str, Floats]
    note: str = ""


@dataclass(frozen=True)
class Study:
    """A picture's takes, in order, and the opinions on them, that of its own task first.

    Original, plain and tuned are followed by anchors; `missing` says which of them there are not, and why.
    """

    given: Compressed
    takes: Sequence[Take]
    opinions: Sequence[Opinion]
    plain: Plain
    missing: Sequence[str] = ()


@torch.no_grad()
def study(
    given: Compressed,
    judges: Sequence[Task] | Mapping[str, Task] = (),
    anchors: Mapping[str, Anchor] | None = None,
) -> Study:
    """Look at a compressed picture; writes files of about the same size, so that there is something to compare.

    The plain one of the codec, and one of each of the anchors, by name. `judges` have the names of their tasks, or
    those that a mapping gives them.
    """
    x, codec, settings = given.x, given.codec, given.settings
    best = given.tuned.best
    wanted = len(best.coded.stream)
    reference = weighed(given.task, x, given.tuned.weights)
    plain = plain_near(codec, given.task, x, given.tuned.lmbda, wanted, settings.limits.tile, reference)
    takes = [Take(ORIGINAL, x), _take(PLAIN, plain.candidate, plain.quality, given, plain.bounded)]
    takes.append(_take(TUNED, best, settings.quality, given))
    missing = []
    for name, anchor in (anchors or {}).items():
        try:
            takes.append(_anchor_take(name, anchor_near(anchor, name, to_pil(x), wanted), x))
        except TaskodecError as error:  # such as a format that cannot hold so large a picture
            missing.append(f"{name} is left out: {error}")
    asked = judges.items() if isinstance(judges, Mapping) else [(task.name, task) for task in judges]
    named = [(name, judge_of(task)) for name, task in asked]
    opinions = [_opinion(given.task_name, given.task, takes, reference, own=True)]
    opinions += [_opinion(name, task, takes, prepared(task, x), own=False) for name, task in named]
    return Study(given, takes, opinions, plain, missing)


def called(asked: str, own: str) -> str:
    """What people call a task that was asked for, or each of several: a function of a file by the file as well.

    Many are named `loss`, which says nothing.
    """
    if len(each := asked.split(",")) == len(names := own.split(",")) > 1:
        return ",".join(map(called, each, names))
    return PurePath(asked).name if asked.endswith(f".py:{own}") else own


def _take(key: str, candidate: Candidate, quality: float, given: Compressed, bounded: str = "") -> Take:
    height, width = given.x.shape[2:]
    pixels = padded(height, given.codec.stride) * padded(width, given.codec.stride)
    bits = bit_map(given.codec, candidate.latents, quality, pixels)
    fidelity = psnr(candidate.x_hat, given.x)
    size = len(candidate.coded.stream)
    return Take(key, candidate.x_hat, candidate, quality, bits, fidelity, parts(candidate.coded, bits), size, bounded)


def _anchor_take(key: str, file: AnchorFile, x: Tensor) -> Take:
    x_hat = load_image(file.image).x.to(x.device)
    size = len(file.data)
    return Take(key, x_hat, None, file.quality, None, psnr(x_hat, x), {"the whole file": size}, size, file.bounded)


def _opinion(name: str, task: Task, takes: Sequence[Take], reference: Any, *, own: bool) -> Opinion:
    x = takes[0].x
    losses = {take.key: float(checked_loss(task, take.x, reference)) for take in takes}
    metrics = {take.key: metrics_of(task, take.x, x) for take in takes[1:]}
    found = {take.key: findings_of(task, take.x) for take in takes}
    findings = {key: one for key, one in found.items() if one is not None}
    slopes: dict[str, Floats] = {}
    note = ""
    if not findings:
        if x.shape[2] * x.shape[3] > SLOPE_PIXELS:
            note = f"the slope of the loss is not drawn for pictures of more than {SLOPE_PIXELS:,} pixels"
        else:
            try:
                slopes = {take.key: slope(task, take.x, reference) for take in takes[1:]}
            except TaskodecError as error:  # a judge need not have a gradient
                note = f"the slope of the loss cannot be drawn: {error}"
    return Opinion(name, own, losses, metrics, findings, slopes, note)
