"""The ways a picture can take to the task: untouched, through a learned codec's stream, or through an anchor's file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

import taskodec
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.bench.coders import Coder
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts import Adapter
from taskodec.errors import TaskodecError
from taskodec.images.tensors import load_image, to_pil
from taskodec.settings.model import TTFTSettings

__all__ = ["AnchorWay", "LearnedWay", "OriginalWay", "Sent", "Way"]


@dataclass(frozen=True)
class Sent:
    """A decoded picture x_hat (1, 3, H, W), and what the row says of its file; nothing where there is no file."""

    x_hat: Tensor
    figures: Mapping[str, Any]


class Way(Protocol):
    """A method at one quality."""

    version: Mapping[str, Any]
    """All that its pictures and rates depend on, beside the original, as plain values."""
    about: Mapping[str, Any]
    """What a report says of it."""

    def send(self, x: Tensor) -> Sent:
        """Code and decode an original (1, 3, H, W) in [0, 1]."""


class OriginalWay:
    """The picture as it is: the ceiling."""

    version: Mapping[str, Any] = {}
    about: Mapping[str, Any] = {}

    def send(self, x: Tensor) -> Sent:
        return Sent(x, {})


class AnchorWay:
    """An anchor at one of its own qualities."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.version: Mapping[str, Any] = {"anchor": coder.version}
        self.about: Mapping[str, Any] = self.version

    def send(self, x: Tensor) -> Sent:
        started = time.monotonic()
        data = self.coder.encode(to_pil(x))
        seconds = time.monotonic() - started
        x_hat = _like(x, self.coder.decode(data))
        return Sent(x_hat, {**_rates(len(data), x), "seconds": round(seconds, 3)})


class LearnedWay:
    """A codec with the adapter and tuning of its settings; what it sends is decoded again from the stream's bytes."""

    def __init__(self, compressor: Compressor, decompressor: Decompressor) -> None:
        self.compressor, self.decompressor = compressor, decompressor
        settings = compressor.settings
        adapter = compressor.adapter
        phases = [phase.model_dump() for phase in compressor.phases if phase.steps]
        self.about: Mapping[str, Any] = {
            "codec": settings.codec.name,
            "codec_fingerprint": codec_fingerprint(compressor.codec).hex(),
            "adapter": None if adapter is None else settings.adapter.options.get("path", settings.adapter.name),
            "adapter_fingerprint": None if adapter is None else adapter.fingerprint().hex(),
            "steps": sum(phase["steps"] for phase in phases),
            "phases": ["+".join(phase["train"]) for phase in phases],
            "notes": list(compressor.notes),
        }
        self.version: Mapping[str, Any] = {
            "taskodec": taskodec.__version__,
            "codec": [settings.codec.name, self.about["codec_fingerprint"]],
            "adapter": None if adapter is None else [self.about["adapter_fingerprint"], _state_digest(adapter)],
            "header": compressor.tuner.metadata,
            "lmbda": [settings.task.weight(settings.quality), settings.task.lmbda_scale],
            "phases": phases,
            "seed": settings.ttft.seed,
            "time_budget": settings.ttft.time_budget if phases else None,
            "tile": settings.limits.tile,
            "device": str(compressor.device),
            **_switches(settings.ttft, tuned=bool(phases)),
        }

    def send(self, x: Tensor) -> Sent:
        on_cpu = x.device.type == "cpu"
        steps = _StepClock(time.process_time if on_cpu else time.monotonic)
        started = time.process_time()
        result = self.compressor.compress(x, steps)
        cpu_seconds = round(time.process_time() - started, 3) if on_cpu else None
        x_hat = _like(x, self.decompressor.decompress(result.stream))
        coded, tuned = result.tuned.best.coded, result.tuned
        pixels = x.shape[2] * x.shape[3]
        figures = {
            **_rates(len(result.stream), x),
            "bpp_latent": 8 * coded.latent_bytes / pixels,
            "bpp_adapter": 8 * coded.adapter_bytes / pixels,
            "bpp_header": 8 * coded.header_bytes / pixels,
            "codec": self.about["codec"],
            "cost": tuned.best.cost,
            "cost_untuned": tuned.untuned.cost,
            "lmbda": tuned.lmbda,
            "chosen": tuned.best.name,
            "steps": tuned.steps,
            "seconds": round(tuned.seconds, 3),
            "cpu_seconds": cpu_seconds,
            "step_seconds": steps.mean() if tuned.steps else None,
        }
        return Sent(x_hat, figures)


def _switches(ttft: TTFTSettings, *, tuned: bool) -> dict[str, Any]:
    """Settings of tuning that are not as they are by default, beside those that `version` has anyway."""
    known = {"preset", "phases", "steps", "seed", "time_budget"}
    changed = ttft.model_dump(mode="json", exclude_defaults=True, exclude=known) if tuned else {}
    return {"ttft": changed} if changed else {}


class _StepClock:
    """A `Progress` that notes by a clock when it was told."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.times: list[float] = []

    def __call__(self, step: int, total: int, info: dict[str, float]) -> None:
        self.times.append(self.clock())

    def mean(self) -> float | None:
        """Seconds from one time to the next; None if there are not two."""
        steps = len(self.times) - 1
        return round((self.times[-1] - self.times[0]) / steps, 5) if steps > 0 else None


def _rates(size: int, x: Tensor) -> dict[str, float]:
    return {"bytes": size, "bpp": 8 * size / (x.shape[2] * x.shape[3])}


def _like(x: Tensor, decoded: Image.Image) -> Tensor:
    """The picture as a tensor beside the original; a TaskodecError if it is not as large."""
    width, height = decoded.size
    if (height, width) != x.shape[2:]:
        raise TaskodecError(f"decoded to {width}x{height} pixels, the image has {x.shape[3]}x{x.shape[2]}")
    return load_image(decoded, max_pixels=width * height).x.to(x.device)


@torch.no_grad()
def _state_digest(adapter: Adapter) -> str:
    """Both sides of an adapter; its fingerprint stands for the decoder's only."""
    digest = hashlib.sha256()
    for name, value in sorted(adapter.state().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
