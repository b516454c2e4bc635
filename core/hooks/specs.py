"""The hooks of taskodec: what a plugin may provide.

A plugin is a module or object with one or more of these functions, marked with `taskodec.hookimpl`. Hooks
return *specs*, which are cheap to make; networks and weights load when a spec is used. `unavailable` of a spec says why
it cannot be used here and what to do about it, such as a package to install (`taskodec.extras.missing`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pluggy

from taskodec.errors import PluginError
from taskodec.files.weights import WeightsFile

if TYPE_CHECKING:
    from PIL import Image

    from taskodec.contracts import Adapter, Codec, Task

__all__ = [
    "AdapterSpec",
    "Anchor",
    "AnchorSpec",
    "CodecSpec",
    "TaskSpec",
    "WeightsFile",
    "hookimpl",
    "hookspec",
    "resolve",
]

hookspec = pluggy.HookspecMarker("taskodec")
hookimpl = pluggy.HookimplMarker("taskodec")


@dataclass(frozen=True)
class CodecSpec:
    """A codec by name. `load(quality=…, **options)` builds it in evaluation mode with its weights.

    `create(quality=…, **options)` builds it untrained, for `taskodec train`; None if it is not trained here.
    `stream_id` is a number from 1 to 255 that stands for the name in streams; only built-in codecs have
    one, others are named in full.
    """

    name: str
    load: Callable[..., Codec] | str
    description: str = ""
    stream_id: int = 0
    create: Callable[..., Codec] | str | None = None
    unavailable: str = ""


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter by name. `build(codec, **options)` makes it, not yet attached.

    A method (such as `svd-lora`) has neither `codec` nor `task`; a pre-trained adapter names both, and in
    `task_options` those options of the task without which it does not suit; one without a task is only taken by its
    name, and for streams that were made with it. One for several tasks names them with commas, as in `cls,det`, its
    options are by their names, and it suits some of them as well. `taskodec.adapters.shipped` makes `build` for a
    file in a package.
    """

    name: str
    build: Callable[..., Adapter] | str
    description: str = ""
    codec: str | None = None
    task: str | None = None
    task_options: Mapping[str, Any] = field(default_factory=dict)
    unavailable: str = ""


@dataclass(frozen=True)
class TaskSpec:
    """A task by name. `load(**options)` builds it with its network, if it has one."""

    name: str
    load: Callable[..., Task] | str
    description: str = ""
    unavailable: str = ""


@runtime_checkable
class Anchor(Protocol):
    """What `taskodec bench` compares codecs with: any program that makes files of 8-bit RGB pictures."""

    @property
    def qualities(self) -> Sequence[float]:
        """Levels of its own scale that span the useful rates, at least four for a BD-rate."""

    @property
    def version(self) -> str:
        """All that its files depend on beside picture and quality, such as the program's version and options."""

    def encode(self, image: Image.Image, quality: float) -> bytes:
        """Every byte of a file with this RGB image, at one of the qualities."""

    def decode(self, data: bytes) -> Image.Image:
        """The image in a file that `encode` made."""


@dataclass(frozen=True)
class AnchorSpec:
    """An anchor of benchmarks by name. `load()` returns an `Anchor`.

    `fidelity` is False for one whose pictures and rates mean nothing, such as a network with random weights: it is
    for timing only (`taskodec bench --speed`).
    """

    name: str
    load: Callable[[], Anchor] | str
    description: str = ""
    fidelity: bool = True
    unavailable: str = ""


@hookspec
def register_codecs() -> Sequence[CodecSpec]:  # type: ignore[empty-body]
    """Provide codecs: return one CodecSpec for each."""


@hookspec
def register_adapters() -> Sequence[AdapterSpec]:  # type: ignore[empty-body]
    """Provide adapter methods and pre-trained adapters: return one AdapterSpec for each."""


@hookspec
def register_tasks() -> Sequence[TaskSpec]:  # type: ignore[empty-body]
    """Provide tasks: return one TaskSpec for each."""


@hookspec
def register_anchors() -> Sequence[AnchorSpec]:  # type: ignore[empty-body]
    """Provide codecs that benchmarks compare with: return one AnchorSpec for each."""


@hookspec
def register_weights() -> Sequence[WeightsFile]:  # type: ignore[empty-body]
    """Say which published files of weights codecs, adapters and tasks can use: return one WeightsFile for each."""


def resolve(target: Callable[..., Any] | str) -> Callable[..., Any]:
    """The callable itself, or the one that a `package.module:name` string points to, imported now.

    PluginError if that cannot be imported.
    """
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"{target} cannot be imported ({type(error).__name__}: {error}): repair the plugin, or what it needs"
        ) from error
    return found
