"""Evaluation of a task: one image, sent by one method at one quality, becomes one row.

Rates are those of real files, and the task sees what is decoded from their bytes, in 8 bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from taskodec.api.compressor import Compressor, Decompressor
from taskodec.api.loading import choose_device, codec_at, has_quality, load_codec, missing_adapter
from taskodec.bench.coders import AnchorEntry
from taskodec.bench.fidelity import Source
from taskodec.bench.rows import RowFile
from taskodec.coding.streams import quantize_quality
from taskodec.contracts import Codec, Task
from taskodec.errors import TaskError, TaskodecError, UsageError
from taskodec.evaluation.methods import Method, Qualities
from taskodec.evaluation.versions import digest_of, task_version
from taskodec.evaluation.ways import AnchorWay, LearnedWay, OriginalWay, Way
from taskodec.hooks.registry import Registry
from taskodec.images.framing import WHOLE, Framing
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.faults import named
from taskodec.settings.model import CodecSettings, Settings, TaskSettings
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import evaluator_of, on_device, prepared

__all__ = ["EvaluationPlan", "Job", "Lab", "Row", "row_file"]


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated; plain enough to be handed to other processes.

    `methods` are with their settings, of which anchors need none; `plugins` are files for the registry. `judge` is the
    task whose evaluator looks at the pictures, where that is not the one that they are sent for.
    """

    settings: Settings
    methods: tuple[tuple[Method, Settings | None], ...]
    qualities: Qualities
    labels: Path | None = None
    plugins: tuple[Path, ...] = ()
    judge: TaskSettings | None = None


@dataclass(frozen=True)
class Job:
    """A row to be measured. `settings` is a digest of all that it depends on beside the image."""

    source: Source
    method: str
    quality: float | None
    settings: str

    @property
    def key(self) -> tuple[str, str, str, float | None, str]:
        """The key that the row has."""
        return (self.source.path.name, self.source.digest, self.method, self.quality, self.settings)


@dataclass(frozen=True)
class Row:
    """One image, sent by one method at one quality.

    `bpp` is 8 * bytes / pixels of the whole file, of which `bpp_latent`, `bpp_adapter` and `bpp_header` are the parts
    where the file is a stream; `cost` is `lmbda * loss + bpp`, which tuning lowers, and `cost_untuned` that of the
    stream before any tuning. `seconds` are all of coding, `cpu_seconds` the processor's time of it, `step_seconds` the
    mean from one step of tuning to the next, on a CPU in processor's time too. `record` is the evaluator's; it and
    `task_loss` are of the decoded picture. None stands for what a method does not have.
    """

    image: str
    digest: str
    method: str
    quality: float | None
    settings: str
    width: int
    height: int
    task_loss: float
    record: dict[str, Any]
    bytes: int | None = None
    bpp: float | None = None
    bpp_latent: float | None = None
    bpp_adapter: float | None = None
    bpp_header: float | None = None
    cost: float | None = None
    cost_untuned: float | None = None
    lmbda: float | None = None
    chosen: str | None = None
    steps: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    step_seconds: float | None = None
    task: str | None = None
    codec: str | None = None

    @property
    def key(self) -> tuple[str, str, str, float | None, str]:
        """What must be the same for a row to hold again; the name counts, because labels go by it."""
        return (self.image, self.digest, self.method, self.quality, self.settings)


def row_file(folder: Path) -> RowFile[Row]:
    """The rows of a folder of results."""
    return RowFile(folder / "rows.jsonl", Row, "row of an evaluation")


class Lab:
    """Measures rows; codecs and the task are loaded once and kept.

    Everything that a call can get wrong - names, qualities, adapters, labels - is an error before the first row.
    """

    @in_clean_state
    def __init__(self, plan: EvaluationPlan, registry: Registry) -> None:
        self.plan, self.registry = plan, registry
        settings = plan.settings
        self.device = choose_device(settings.device)
        self.task = self._load_task(settings.task)
        judge = self.task if plan.judge is None else self._load_task(plan.judge)
        self.evaluator = evaluator_of(judge, plan.labels)
        self.framing = Framing(**settings.data.model_dump())
        labels = self.evaluator.labels_version or digest_of(plan.labels)
        self._judged = {"task": task_version(settings.task, registry), "labels": labels}
        if self.framing != WHOLE:
            self._judged["data"] = settings.data.model_dump()
        if plan.judge is not None:
            self._judged["judge"] = task_version(plan.judge, registry)
        self._codecs: list[tuple[CodecSettings, Codec]] = []
        self._decompressors: dict[str, Decompressor] = {}
        self._ways: dict[tuple[str, float | None], Way] = {}
        self._last: tuple[Source, Tensor, Any] | None = None

    def check_adapters(self, leave_out: Collection[str] = ()) -> list[str]:
        """UsageError for a method that needs an adapter trained beforehand where there is none, before any other work.

        Methods of the names in `leave_out` are left out instead, and a note for each says why.
        """
        notes, kept = [], []
        for method, settings in self.plan.methods:
            why = self._without_adapter(method, settings, None)
            if why and method.name not in leave_out:
                raise UsageError(f"method {method.name!r}: {why}")
            notes += [f"{method.name} is left out: {why}"] if why else []
            kept += [] if why else [(method, settings)]
        self.plan = replace(self.plan, methods=tuple(kept))
        return notes

    def jobs(self, sources: Sequence[Source]) -> list[Job]:
        """All rows of these images, one image after the other."""
        kinds = [
            (method.name, quality, self.digest(method.name, quality))
            for method, settings in self.plan.methods
            for quality in self.qualities(method, settings)
        ]
        return [Job(source, *kind) for source in sources for kind in kinds]

    def qualities(self, method: Method, settings: Settings | None) -> Sequence[float | None]:
        """Those asked for; without any, all that an anchor has, or the codec as it is loaded for `quality`."""
        if method.kind == "original":
            return [None]
        if method.kind == "anchor":
            entry = self._anchor(method)
            return self.plan.qualities.get(method.name, entry.qualities)
        given = self.plan.qualities.get(method.name, self.plan.qualities.get(""))
        chosen = settings or self.plan.settings
        if given is None:
            given = self._codec(chosen.codec, quantize_quality(chosen.quality)).qualities
        return sorted({quantize_quality(quality) for quality in given})

    def digest(self, method: str, quality: float | None) -> str:
        """16 hex digits that stand for all that a row depends on beside the image and its name."""
        version = {**self.way(method, quality).version, **self._judged}
        return hashlib.sha256(json.dumps(version, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def way(self, name: str, quality: float | None) -> Way:
        """A method at a quality, ready to send pictures."""
        if (name, quality) not in self._ways:
            method, settings = next(pair for pair in self.plan.methods if pair[0].name == name)
            self._ways[name, quality] = self._make_way(method, settings, quality)
        return self._ways[name, quality]

    def about(self) -> dict[str, Mapping[str, Any]]:
        """What each method is measured with, at the first of its qualities."""
        firsts = {method.name: self.qualities(method, settings)[0] for method, settings in self.plan.methods}
        return {name: self.way(name, quality).about for name, quality in firsts.items()}

    @in_clean_state
    def measure(self, job: Job, picture: IO[bytes] | None = None) -> Row:
        """One row; errors say of what. `picture` is the image's file, where that is not on this machine."""
        what = job.method if job.quality is None else f"{job.method}, quality {job.quality:g}"
        try:
            with named("", TaskError, TaskodecError):  # anybody's task, evaluator or codec
                return self._measure(job, picture)
        except TaskodecError as error:
            raise type(error)(f"{what}, {job.source.path}: {error}") from error

    def _measure(self, job: Job, picture: IO[bytes] | None) -> Row:
        x, reference = self._original(job.source, picture)
        sent = self.way(job.method, job.quality).send(x)
        loss, record = self._judge(job.source.path.name, sent.x_hat, x, reference)
        return Row(
            image=job.source.path.name,
            digest=job.source.digest,
            method=job.method,
            quality=job.quality,
            settings=job.settings,
            width=x.shape[3],
            height=x.shape[2],
            task_loss=loss,
            record=record,
            task=self.task.name,
            **sent.figures,
        )

    @torch.no_grad()
    def _original(self, source: Source, picture: IO[bytes] | None) -> tuple[Tensor, Any]:
        """An image and what the task's loss needs to know of it; kept until another one is asked for."""
        if self._last is None or self._last[0] != source:
            x = self.framing.load(picture or source.path, self.plan.settings.limits.max_pixels).to(self.device)
            self._last = (source, x, prepared(self.task, x))
        return self._last[1], self._last[2]

    @torch.no_grad()
    def _judge(self, name: str, x_hat: Tensor, x: Tensor, reference: Any) -> tuple[float, dict[str, Any]]:
        """The task's loss of a picture, and the evaluator's record as a file gives it back."""
        loss = float(checked_loss(self.task, x_hat, reference))
        record = self.evaluator.observe(name, x_hat, x)
        return loss, json.loads(json.dumps(dict(record)))

    def _make_way(self, method: Method, settings: Settings | None, quality: float | None) -> Way:
        if quality is None:
            return OriginalWay()
        if settings is None:
            return AnchorWay(self._anchor(method).at(quality))
        codec = codec_at(settings.codec, quality)
        settings = settings.model_copy(update={"codec": codec, "quality": quality})
        if why := self._without_adapter(method, settings, quality):
            raise UsageError(f"method {method.name!r}: {why}")
        compressor = Compressor(settings, self.registry, self.task, self._codec(codec, quality))
        return LearnedWay(compressor, self._decompressor(settings))

    def _without_adapter(self, method: Method, settings: Settings | None, quality: float | None) -> str:
        """What `missing_adapter` says of a method that needs one, at its first quality if none is given."""
        if method.kind != "pretrained" or settings is None:
            return ""
        quality = self.qualities(method, settings)[0] if quality is None else quality
        assert quality is not None
        codec = self._codec(codec_at(settings.codec, quality), quality)
        why = missing_adapter(self.registry, settings, codec, self.task.name)
        return why and f"{why} or as pretrained@FILE.safetensors"

    def _load_task(self, chosen: TaskSettings) -> Task:
        return on_device(self.registry.task_from(chosen.name, **chosen.options), self.device)

    def _anchor(self, method: Method) -> AnchorEntry:
        entry = AnchorEntry(method.name, self.registry)
        if not entry.fidelity:
            raise UsageError(f"{method.name}: for timing only, its pictures and rates mean nothing; leave it out")
        return entry

    def _codec(self, chosen: CodecSettings, quality: float) -> Codec:
        """The codec, loaded once for all the qualities it has."""
        for known, codec in self._codecs:
            if known == chosen and has_quality(codec, quality):
                return codec
        codec = load_codec(self.registry, chosen, quality).to(self.device)
        self._codecs.append((chosen, codec))
        return codec

    def _decompressor(self, settings: Settings) -> Decompressor:
        """The other side, which knows codec and adapter by the settings and nothing else."""
        key = json.dumps(
            [settings.codec.model_dump(mode="json"), settings.adapter.model_dump(mode="json")], default=str
        )
        if key not in self._decompressors:
            self._decompressors[key] = Decompressor(settings, self.registry)
        return self._decompressors[key]
