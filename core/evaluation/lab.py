"""Evaluation of a task: what is measured, and where: codec, task and judges, loaded once, give rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from taskodec.api.adapter_choice import missing_adapter
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.api.loading import choose_device, codec_at, has_quality, load_codec
from taskodec.bench.coders import AnchorEntry
from taskodec.bench.fidelity import Source
from taskodec.coding.streams import codec_fingerprint, quantize_quality
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Codec, JointTask, Task
from taskodec.errors import TaskError, TaskodecError, UsageError
from taskodec.evaluation.matrix import Judged
from taskodec.evaluation.methods import Method, Qualities
from taskodec.evaluation.panel import Judge, Panel
from taskodec.evaluation.rows import Job, Row
from taskodec.evaluation.versions import digests_of, task_version
from taskodec.evaluation.ways import AnchorWay, LearnedWay, OriginalWay, Way
from taskodec.hooks.registry import Registry
from taskodec.images.framing import WHOLE, Framing
from taskodec.isolation.ambient import in_clean_state
from taskodec.isolation.faults import named
from taskodec.settings.model import CodecSettings, Settings, TaskSettings
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import evaluator_of, judge_of, on_device, prepared
from taskodec.tuning.units import prepared_in_units

__all__ = ["EvaluationPlan", "Lab"]


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated; plain enough to be handed to other processes.

    `methods` are with their settings, of which anchors need none; `plugins` are files for the registry. `judge` is the
    task whose evaluator looks at the pictures, where that is not the one that they are sent for; those of `panel` judge
    them besides. `labels` of a joint task are by its parts.
    """

    settings: Settings
    methods: tuple[tuple[Method, Settings | None], ...]
    qualities: Qualities
    labels: Path | Mapping[str, Path] | None = None
    plugins: tuple[Path, ...] = ()
    judge: TaskSettings | None = None
    panel: tuple[Judge, ...] = ()


class Lab:
    """Measures rows; codecs and the task are loaded once and kept.

    Everything that a call can get wrong - names, qualities, adapters, labels - is an error before the first row.
    """

    @in_clean_state
    def __init__(self, plan: EvaluationPlan, registry: Registry) -> None:
        self.plan, self.registry = plan, registry
        self._codecs: list[tuple[CodecSettings, Codec]] = []
        self._tasks: list[tuple[TaskSettings, Task]] = []
        settings = plan.settings
        self.device = choose_device(settings.device)
        self.task = self._load_task(settings.task)
        self.judge = self.task if plan.judge is None else judge_of(self._load_task(plan.judge))
        self.evaluator = evaluator_of(self.judge, plan.labels)
        self.framing = Framing(**settings.data.model_dump())
        labels = self.evaluator.labels_version or digests_of(plan.labels)
        self._judged: dict[str, Any] = {"task": task_version(settings.task, registry), "labels": labels}
        if isinstance(self.task, JointTask):
            self._judged["units"] = [codec_fingerprint(self._units()).hex(), self._unit_quality]
        if self.framing != WHOLE:
            self._judged["data"] = settings.data.model_dump()
        if plan.judge is not None:
            self._judged["judge"] = task_version(plan.judge, registry)
        self.panel = Panel(plan.panel, registry, self._load_task)
        if plan.panel:
            self._judged["judges"] = self.panel.versions()
        self._decompressors: dict[str, Decompressor] = {}
        self._ways: dict[tuple[str, float | None], Way] = {}
        self._last: tuple[Source, Tensor, Any, Mapping[str, Any]] | None = None

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
        task = self._task_of(method)
        if task is not None and _other(task, self.plan.settings.task):
            version["made_for"] = task_version(task, self.registry)
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

    def judged(self) -> list[Judged]:
        """All who judge, if there are judges, or a method is made for something else."""
        sent_for = {name: task for name in self.made_for() if (task := self._task_of(name)) is not None}
        if not self.plan.panel and not any(_other(task, self.plan.settings.task) for task in sent_for.values()):
            return []
        tasks = {name: self._load_task(task) for name, task in sent_for.items()}
        return self.panel.judged(self.judge, self.evaluator, tasks)

    def made_for(self) -> dict[str, str]:
        """What the files of each method that has a task are for."""
        methods = [method for method, _ in self.plan.methods if method.kind in ("ttft", "pretrained")]
        return {method.name: method.task or self.task.name for method in methods}

    def _task_of(self, name: str) -> TaskSettings | None:
        settings = next(settings for method, settings in self.plan.methods if method.name == name)
        return None if settings is None else settings.task

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
        x, reference, others = self._original(job.source, picture)
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
            judges=self.panel.views(job.source.path.name, sent.x_hat, x, others),
            **sent.figures,
        )

    @torch.no_grad()
    def _original(self, source: Source, picture: IO[bytes] | None) -> tuple[Tensor, Any, Mapping[str, Any]]:
        """An image, what the task's loss and those of judges need to know of it; kept until another is asked for."""
        if self._last is None or self._last[0] != source:
            x = self.framing.load(picture or source.path, self.plan.settings.limits.max_pixels).to(self.device)
            self._last = (source, x, self._prepared(x), self.panel.references(x))
        return self._last[1:]

    def _prepared(self, x: Tensor) -> Any:
        """What the task's loss needs; of a joint task in the same units for all methods, the codec's at its quality."""
        if not isinstance(self.task, JointTask):
            return prepared(self.task, x)
        return prepared_in_units(self.task, self._units(), x, self._unit_quality, Tiles(self.plan.settings.limits.tile))

    @property
    def _unit_quality(self) -> float:
        return quantize_quality(self.plan.settings.quality)

    def _units(self) -> Codec:
        """The codec whose untuned rates are the units of a joint task's parts."""
        return self._codec(codec_at(self.plan.settings.codec, self._unit_quality), self._unit_quality)

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
        task = self._load_task(settings.task)
        compressor = Compressor(settings, self.registry, task, self._codec(codec, quality))
        return LearnedWay(compressor, self._decompressor(settings))

    def _without_adapter(self, method: Method, settings: Settings | None, quality: float | None) -> str:
        """What `missing_adapter` says of a method that needs one, at its first quality if none is given."""
        if method.kind != "pretrained" or settings is None:
            return ""
        quality = self.qualities(method, settings)[0] if quality is None else quality
        assert quality is not None
        codec = self._codec(codec_at(settings.codec, quality), quality)
        why = missing_adapter(self.registry, settings, codec, self._load_task(settings.task).name)
        return why and f"{why} or as pretrained@FILE.safetensors"

    def _load_task(self, chosen: TaskSettings) -> Task:
        """The task, loaded once for all that have it."""
        for known, task in self._tasks:
            if not _other(known, chosen):
                return task
        made = on_device(self.registry.task_from(chosen.spec, **chosen.options), self.device)
        self._tasks.append((chosen, made))
        return made

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


def _other(one: TaskSettings, another: TaskSettings) -> bool:
    """Whether these are two tasks, and not one with two weights."""
    return (one.name, one.options, one.spec) != (another.name, another.options, another.spec)
