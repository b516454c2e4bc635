"""Compress and decompress: the calls that everything else - command line, evaluation - is made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from taskodec.api.adapter_choice import adapters_of_parts, choose_adapter
from taskodec.api.decompressor import Decompressor
from taskodec.api.loading import DEFAULT_ADAPTER, adapter_for_tuning, adapter_metadata, choose_device, load_codec
from taskodec.api.notes import facts_of, notes_on_adapter, notes_on_quality, notes_on_tasks
from taskodec.api.result import Result
from taskodec.api.targets import check_metric, goal_of
from taskodec.api.tasks import is_named, settings_for, task_layer_of
from taskodec.coding.streams import quantize_quality
from taskodec.coding.tiles import Tiles
from taskodec.console.progress import Progress
from taskodec.contracts import Adapter, Codec, Task
from taskodec.errors import (
    PluginError,
    SettingsError,
    StreamError,
    TaskodecError,
    UsageError,
)
from taskodec.files.inputs import most_bytes, read_input
from taskodec.hooks.registry import Registry, default_registry
from taskodec.hooks.sending import sent
from taskodec.images.tensors import ImageInput, LoadedImage, load_image
from taskodec.isolation.ambient import in_clean_state, trainable
from taskodec.isolation.faults import named
from taskodec.isolation.guests import as_guest
from taskodec.report.cards import Shown
from taskodec.settings.model import AdapterSettings, PhaseSettings, Settings, load_settings
from taskodec.stream.bitstream import MAX_PIXELS
from taskodec.tuning.aim import aimed
from taskodec.tuning.gains import why_untuned
from taskodec.tuning.memory import WHOLE_WAY, Way, way_of
from taskodec.tuning.phases import steps_of
from taskodec.tuning.run import Share, Tuned
from taskodec.tuning.task_calls import on_device
from taskodec.tuning.ttft import Tuner

__all__ = ["Compressor", "Result", "compress", "decompress"]

Outcome = Tuned | Exception
"""What becomes of one image."""


class Compressor(Shown):
    """Compresses images with one codec, adapter and task, each loaded once. Any number of threads may share it.

    `task` overrides the settings' task with an instance or a function `loss(x_hat, x)`; `codec` is that of the
    settings, if it is loaded already, and has their quality. For another process it is made anew from these, there.
    """

    @in_clean_state
    def __init__(
        self, settings: Settings, registry: Registry | None = None, task: Any = None, codec: Codec | None = None
    ) -> None:
        registry = registry or default_registry()
        self._made_of = (settings, registry, task, codec)
        self.device = choose_device(settings.device)
        self.quality = quantize_quality(settings.quality)
        self.codec = trainable(codec or load_codec(registry, settings.codec, self.quality)).to(self.device)
        self.codec.check_quality(self.quality)
        settings, given = settings_for(settings, task)
        made = task if isinstance(task, Task) else registry.task_from(given, **settings.task.options)
        self.task: Task = on_device(made, self.device)
        check_metric(settings.target, self.task, self.device)
        adapter, passed_over = choose_adapter(
            registry, settings.adapter, self.codec, self.task.name, settings.task.options
        )
        of_parts = adapters_of_parts(registry, self.codec, self.task.name)
        on_tasks = notes_on_tasks(self.task.name, settings.adapter, adapter, of_parts)
        settings = settings.model_copy(update={"adapter": adapter})
        self.notes = [*notes_on_quality(settings, self.quality), *passed_over, *on_tasks]
        self.notes_on_adapter = notes_on_adapter(adapter)
        self.phases = steps_of(settings.ttft.phases, settings.ttft.steps)
        self.adapter = self._adapter(registry, settings)
        used = settings.task
        if task is not None and not isinstance(given, dict):
            used = used.model_copy(update={"name": given if isinstance(given, str) else self.task.name})
        self.settings = settings.model_copy(update={"quality": self.quality, "task": used})
        self.metadata = adapter_metadata(registry, settings.adapter)
        self.lmbda = settings.task.weight(settings.quality)
        self.tuner = self._tuner(WHOLE_WAY)

    def __reduce__(self) -> tuple[Any, ...]:
        return sent(type(self), self._made_of)

    def facts(self) -> dict[str, str]:
        return facts_of(self.codec, self.task, self.settings, self.phases, self.adapter)

    def compress(self, image: ImageInput, progress: Progress | None = None) -> Result:
        """Compress one image: a path, bytes, a PIL image, an array or a tensor.

        What `progress` raises ends it, and comes back as it is.
        """
        (outcome,) = self.compress_batch([image], progress)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @in_clean_state
    def compress_batch(
        self, images: Sequence[ImageInput], progress: Progress | None = None
    ) -> list[Result | Exception]:
        """Compress several images; those of one size are tuned together, as many as `limits.max_tuning_pixels` allows.

        Those that only tuning in patches admits are tuned one by one.

        For each its result, what `compress` would give but for rounding, or the error that ended it.
        """
        limit, progress = self.settings.limits.max_tuning_pixels, as_guest(progress)
        outcomes: dict[int, Result | Exception] = {}
        by_size: dict[tuple[int, ...], list[tuple[int, LoadedImage]]] = {}
        for number, image in enumerate(images):
            try:
                loaded = load_image(image, max_pixels=self.settings.limits.max_pixels)
                self._way(loaded.x)
                by_size.setdefault(tuple(loaded.x.shape), []).append((number, loaded))
            except TaskodecError as error:
                outcomes[number] = error
        for shape, same in by_size.items():
            most = max(1, limit // (shape[2] * shape[3]))
            for first in range(0, len(same), most):
                numbers, pictures = zip(*same[first : first + most], strict=True)
                outcomes |= zip(numbers, self._tune(pictures, progress), strict=True)
        return [outcomes[number] for number in range(len(images))]

    def _way(self, x: Tensor) -> Way:
        """How an image (1, 3, H, W) is tuned; ImageError for one that is too large for every way."""
        size, limit = (x.shape[2], x.shape[3]), self.settings.limits.max_tuning_pixels
        return way_of(size, self.phases, self.settings.ttft, limit, self.task, self.codec)

    def _tune(self, images: Sequence[LoadedImage], progress: Progress | None) -> list[Result | Exception]:
        """Tune images of one size together."""
        xs = [image.x.to(self.device) for image in images]
        way = self._way(xs[0])
        tuner = self.tuner if way == WHOLE_WAY else self._tuner(way)
        budget = self.settings.ttft.time_budget
        found: list[Result | Exception] = []
        phases = steps_of(self.phases, way.steps)
        with named(f"codec {self.codec.name!r}, or its adapter, raised", PluginError, Exception):
            if self.settings.target.kind is None:
                tuned = tuner.tune_many(xs, phases, time_budget=budget, progress=progress)
            else:
                tuned = [self._aimed(tuner, x, phases, progress) for x in xs]  # each at a quality of its own
        for one, x, image in zip(tuned, xs, images, strict=True):
            if isinstance(one, Exception):
                found.append(one)
                continue
            needed = self.notes_on_adapter if one.best.coded.adapter_fingerprint else ()
            why = why_untuned(one, sum(phase.steps for phase in phases))
            said = [way.note, *one.notes, *needed, "" if one.notes else why]
            notes = (*self.notes, *image.notes, *(note for note in said if note))
            settings = self.settings.model_copy(update={"quality": one.best.quality})
            found.append(Result(one.best.coded.stream, x, self.task, one, settings, self.codec, notes))
        return found

    def _aimed(self, tuner: Tuner, x: Tensor, phases: Sequence[PhaseSettings], told: Progress | None) -> Outcome:
        """The file of one image that keeps to the target of the settings."""
        share = Share(self.settings.ttft.time_budget, told, sum(phase.steps for phase in phases), 1)
        try:
            goal = goal_of(self.settings.target, self.task, x)
            return aimed(tuner, x, phases, goal, self.settings.task.weight, share)
        except TaskodecError as error:
            return error

    def _tuner(self, way: Way) -> Tuner:
        """What tunes images in this way."""
        settings = self.settings
        return Tuner(
            self.codec,
            self.adapter,
            self.task,
            self.quality,
            lmbda=self.lmbda,
            lmbda_scale=settings.task.lmbda_scale,
            seed=settings.ttft.seed,
            metadata=self.metadata,
            tiles=Tiles(settings.limits.tile),
            step_tiles=Tiles(way.tile),
            switches=way.switches(settings.ttft),
            starts=way.starts,
        )

    def _adapter(self, registry: Registry, settings: Settings) -> Adapter | None:
        """The adapter, if a phase needs it; where the codec cannot have the default one, latents alone are tuned."""
        try:
            return adapter_for_tuning(registry, settings.adapter, self.codec, self.phases)
        except UsageError as error:
            latents = [
                phase.model_copy(update={"train": ("latents",)}) for phase in self.phases if "latents" in phase.train
            ]
            if settings.adapter != AdapterSettings(name=DEFAULT_ADAPTER) or not latents:
                raise
            self.phases = steps_of(latents, settings.ttft.steps)
            self.notes.append(f"only latents are tuned, codec {self.codec.name!r} cannot have an adapter: {error}")
            return None


def compress(
    image: ImageInput,
    *,
    task: Any = None,
    quality: float | None = None,
    codec: str | None = None,
    steps: int | None = None,
    target_bytes: int | str | None = None,
    target_bpp: float | None = None,
    target_loss: float | None = None,
    target_metric: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Compress one image for a task; returns the bytes of a `.tkd` file.

    `image` is a path, encoded bytes, a PIL image, an array or a tensor; `task` a registered name,
    `FILE.py:OBJ`, a `Task`, any differentiable function `loss(x_hat, x)`, or several of them in a list, or in a
    dictionary with their shares. One of the targets has the quality found: at most so many bytes (`"20kB"`) or bits
    per pixel, or the smallest file with a loss or a metric (`"psnr>=34"`); TargetError says what the least is that can
    be. What is not given comes from `settings`, or from the defaults. For the figures as well, use `Compressor`.
    """
    targets = {"bytes": target_bytes, "bpp": target_bpp, "loss": target_loss, "metric": target_metric}
    flags = {"quality": quality, "codec.name": codec, "ttft.steps": steps}
    flags |= {f"target.{name}": value for name, value in targets.items()}
    given = {key: value for key, value in flags.items() if value is not None}
    if settings is None:
        named = {"task": task_layer_of(task)} if is_named(task) else {}
        settings = load_settings(flags={**given, **named})
    elif given:
        raise SettingsError(f"give {', '.join(given)} in the settings, or no settings at all, not both")
    return Compressor(settings, task=task).compress(image, progress).stream


def decompress(stream: bytes | str | os.PathLike[str], *, settings: Settings | None = None) -> Image.Image:
    """The picture of a `.tkd` file, given as bytes or as a path. The task is not needed."""
    if not isinstance(stream, bytes):
        path = Path(stream)
        limit = MAX_PIXELS if settings is None else settings.limits.max_pixels
        try:
            stream = read_input(path.absolute(), most_bytes(limit))  # of this name, also where that is -
        except OSError as error:
            raise StreamError(f"{path} cannot be read: {error.strerror or error}") from error
    return Decompressor(settings).decompress(stream)
