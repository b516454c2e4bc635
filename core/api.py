"""Compress and decompress: the calls that everything else - command line, evaluation - is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from taskodec.bitstream import Stream
from taskodec.coding import quantize_quality, read_latents
from taskodec.contracts import Adapter, Codec, Task
from taskodec.errors import MismatchError, SettingsError, StreamError
from taskodec.handover import build
from taskodec.hookspecs import resolve
from taskodec.images import ImageInput, crop_to, load_image, to_pil
from taskodec.metrics import psnr
from taskodec.phases import steps_of
from taskodec.registry import Registry, default_registry
from taskodec.settings import Settings, load_settings
from taskodec.ttft import Progress, Tuned, Tuner

__all__ = ["Compressor", "Decompressor", "Result", "compress", "decompress"]


@dataclass(frozen=True)
class Result:
    """A compressed image: the file's bytes, and what is known about them."""

    stream: bytes
    x: Tensor
    task: Task
    tuned: Tuned
    notes: tuple[str, ...] = ()

    @property
    def image(self) -> Image.Image:
        """The picture that decoding the stream gives."""
        return to_pil(self.tuned.best.x_hat)

    def report(self) -> dict[str, Any]:
        """All figures by name. Rates are `8 * bytes / pixels` of the file; costs are `lmbda * loss + bpp`."""
        best, untuned = self.tuned.best, self.tuned.untuned
        pixels = self.x.shape[2] * self.x.shape[3]
        return {
            "width": self.x.shape[3],
            "height": self.x.shape[2],
            "bytes": len(self.stream),
            "bpp": best.bpp,
            "bpp_latent": 8 * best.coded.latent_bytes / pixels,
            "bpp_adapter": 8 * best.coded.adapter_bytes / pixels,
            "bpp_header": 8 * best.coded.header_bytes / pixels,
            "bpp_before": untuned.bpp,
            "task_loss_before": untuned.loss,
            "task_loss_after": best.loss,
            "cost_before": untuned.cost,
            "cost_after": best.cost,
            "lmbda": self.tuned.lmbda,
            "metrics_before": self.task.metrics(untuned.x_hat, self.x),
            "metrics_after": self.task.metrics(best.x_hat, self.x),
            "psnr_before": psnr(untuned.x_hat, self.x),
            "psnr": psnr(best.x_hat, self.x),
            "steps": self.tuned.steps,
            "seconds": round(self.tuned.seconds, 3),
            "chosen": best.name,
            **({"notes": list(self.notes)} if self.notes else {}),
        }


class Compressor:
    """Compresses images with one codec, adapter and task, each loaded once.

    `task` overrides the settings' task with an instance or a function `loss(x_hat, x)`.
    """

    def __init__(self, settings: Settings, registry: Registry | None = None, task: Any = None) -> None:
        registry = registry or default_registry()
        self.settings, self.device = settings, _device(settings.device)
        self.quality = quantize_quality(settings.quality)
        self.codec = _load_codec(registry, settings.codec.name, self.quality, settings).to(self.device)
        self.codec.check_quality(self.quality)
        self.task: Task = registry.task_from(task or settings.task.name, **settings.task.options).to(self.device)
        self.phases = steps_of(settings.ttft.phases, settings.ttft.steps)
        self.adapter: Adapter | None = None
        if self.phases:
            self.adapter = _build_adapter(registry, settings.adapter.name, self.codec, settings.adapter.options)
        note = {"adapter": settings.adapter.name, **settings.adapter.options}
        self.tuner = Tuner(
            self.codec,
            self.adapter,
            self.task,
            self.quality,
            lmbda=settings.task.lmbda,
            seed=settings.ttft.seed,
            metadata=note if note != {"adapter": DEFAULT_ADAPTER} else None,
        )

    def compress(self, image: ImageInput, progress: Progress | None = None) -> Result:
        """Compress one image: a path, bytes, a PIL image, an array or a tensor."""
        loaded = load_image(image, max_pixels=self.settings.limits.max_pixels)
        x = loaded.x.to(self.device)
        tuned = self.tuner.tune(x, self.phases, time_budget=self.settings.ttft.time_budget, progress=progress)
        return Result(tuned.best.coded.stream, x, self.task, tuned, tuple(loaded.notes))


class Decompressor:
    """Decompresses streams; codecs and adapters are loaded when a stream first needs them, and kept."""

    def __init__(self, settings: Settings | None = None, registry: Registry | None = None) -> None:
        self.settings = settings or load_settings()
        self.registry = registry or default_registry()
        self.device = _device(self.settings.device)
        self._codecs: dict[tuple[str, float], Codec] = {}

    @torch.no_grad()
    def decompress(self, data: bytes) -> Image.Image:
        """The picture of a stream; StreamError and its subclasses say why there is none."""
        stream = Stream.from_bytes(data, max_pixels=self.settings.limits.max_pixels)
        header = stream.header
        codec = self._codec(header.codec, header.quality)
        adapter = self._adapter(codec, stream) if header.adapter_fingerprint else None
        if adapter is not None:
            adapter.attach(codec)
        try:
            y_hat, delta = read_latents(stream, codec, adapter)
            if adapter is not None:
                adapter.set_delta(delta.tensor(y_hat) if delta else None)
            return to_pil(crop_to(codec.synthesis(y_hat, header.quality), header.height, header.width))
        finally:
            if adapter is not None:
                adapter.detach()

    def _codec(self, name: str, quality: float) -> Codec:
        """The codec, kept for all qualities if it has them all."""
        for (kept, _), codec in self._codecs.items():
            if kept == name and (codec.continuous or quality in codec.qualities):
                return codec
        codec = _load_codec(self.registry, name, quality, self.settings).to(self.device).requires_grad_(False)
        self._codecs[name, quality] = codec
        return codec

    def _adapter(self, codec: Codec, stream: Stream) -> Adapter:
        """The adapter with the stream's fingerprint: as the metadata describe it, or any registered for the codec."""
        metadata: Mapping[str, Any] = stream.header.metadata
        if "adapter" in metadata:
            described = {key: value for key, value in metadata.items() if key != "adapter"}
            candidates = [(str(metadata["adapter"]), described)]
        else:
            names = [name for name, spec in self.registry.adapters.items() if spec.codec in (None, codec.name)]
            candidates = [(name, {}) for name in sorted(names, key=lambda name: name != DEFAULT_ADAPTER)]
        tried = []
        for name, options in candidates:
            try:
                adapter = _build_adapter(self.registry, name, codec, options)
            except Exception as error:  # options of a stream, or any plugin's code: neither may end in a traceback
                tried.append(f"{name} cannot be made: {error}")
                continue
            if adapter.fingerprint() == stream.header.adapter_fingerprint:
                return adapter.requires_grad_(False)
            tried.append(f"{name} is {adapter.fingerprint().hex()}")
        wanted = (stream.header.adapter_fingerprint or b"").hex()
        raise MismatchError(
            f"the stream needs adapter {wanted} of codec {codec.name!r}, and none here is it ({'; '.join(tried)}); "
            "install or load (--plugin) the plugin that provides it"
        )


DEFAULT_ADAPTER = "svd-lora"
"""What a stream means that needs an adapter and names none; part of the format."""


def compress(
    image: ImageInput,
    *,
    task: Any = None,
    quality: float | None = None,
    codec: str | None = None,
    steps: int | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Compress one image for a task; returns the bytes of a `.tkd` file.

    `image` is a path, encoded bytes, a PIL image, an array or a tensor; `task` a registered name,
    `FILE.py:OBJ`, a `Task`, or any differentiable function `loss(x_hat, x)`. What is not given comes from
    `settings`, or from the defaults. For the figures as well, use `Compressor`.
    """
    if settings is None:
        flags = {"quality": quality, "codec.name": codec, "ttft.steps": steps}
        flags |= {"task.name": task} if isinstance(task, str) else {}
        settings = load_settings(flags={key: value for key, value in flags.items() if value is not None})
    elif (quality, codec, steps) != (None, None, None):
        raise SettingsError("give quality, codec and steps in the settings, or no settings at all, not both")
    return Compressor(settings, task=task).compress(image, progress).stream


def decompress(stream: bytes | str | os.PathLike[str], *, settings: Settings | None = None) -> Image.Image:
    """The picture of a `.tkd` file, given as bytes or as a path. The task is not needed."""
    if not isinstance(stream, bytes):
        path = Path(stream)
        try:
            stream = path.read_bytes()
        except OSError as error:
            raise StreamError(f"{path} cannot be read: {error.strerror or error}") from error
    return Decompressor(settings).decompress(stream)


def _load_codec(registry: Registry, name: str, quality: float, settings: Settings) -> Codec:
    options: dict[str, Any] = dict(settings.codec.options) if name == settings.codec.name else {}
    if settings.codec.checkpoint is not None and name == settings.codec.name:
        options["checkpoint"] = settings.codec.checkpoint
    codec: Codec = build(f"codec {name!r}", resolve(registry.codecs[name].load), {"quality": quality, **options})
    return codec.eval()


def _build_adapter(registry: Registry, name: str, codec: Codec, options: Mapping[str, Any]) -> Adapter:
    adapter: Adapter = build(f"adapter {name!r}", resolve(registry.adapters[name].build), dict(options), codec)
    return adapter


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
