"""Learned image compression for machine tasks, with test-time fine-tuning and real bitstreams.

>>> import taskodec
>>> stream = taskodec.compress("photo.png", task="cls", quality=2)
>>> image = taskodec.decompress(stream)

Importing this package is cheap: PyTorch and the networks load when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskodec.api.compressor import Compressor, Result, compress, decompress
    from taskodec.api.decompressor import Decompressor
    from taskodec.contracts import Adapter, Codec, CodecOutput, Entropy, Latents, Task, Tiling
    from taskodec.errors import (
        DamagedStreamError,
        ImageError,
        MismatchError,
        PluginError,
        SettingsError,
        StreamError,
        TargetError,
        TaskError,
        TaskodecError,
        UnsupportedStreamError,
        UsageError,
        WeightsError,
    )
    from taskodec.hooks.registry import register_adapter, register_codec, register_task
    from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec, WeightsFile, hookimpl
    from taskodec.settings import Settings, load_settings

    __version__: str

__all__ = [
    "Adapter",
    "AdapterSpec",
    "AnchorSpec",
    "Codec",
    "CodecOutput",
    "CodecSpec",
    "Compressor",
    "DamagedStreamError",
    "Decompressor",
    "Entropy",
    "ImageError",
    "Latents",
    "MismatchError",
    "PluginError",
    "Result",
    "Settings",
    "SettingsError",
    "StreamError",
    "TargetError",
    "Task",
    "TaskError",
    "TaskSpec",
    "TaskodecError",
    "Tiling",
    "UnsupportedStreamError",
    "UsageError",
    "WeightsError",
    "WeightsFile",
    "__version__",
    "compress",
    "decompress",
    "hookimpl",
    "load_settings",
    "register_adapter",
    "register_codec",
    "register_task",
]

_HOMES = {
    "taskodec.api.compressor": ("Compressor", "Result", "compress", "decompress"),
    "taskodec.api.decompressor": ("Decompressor",),
    "taskodec.contracts": ("Adapter", "Codec", "CodecOutput", "Entropy", "Latents", "Task", "Tiling"),
    "taskodec.hooks.specs": ("AdapterSpec", "AnchorSpec", "CodecSpec", "TaskSpec", "WeightsFile", "hookimpl"),
    "taskodec.hooks.registry": ("register_adapter", "register_codec", "register_task"),
    "taskodec.settings": ("Settings", "load_settings"),
}
"""Where each public name lives; the errors are what is left."""


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module 'taskodec' has no attribute {name!r}")
    home = next((module for module, names in _HOMES.items() if name in names), "taskodec.errors")
    try:
        value = globals()[name] = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{home}.".startswith(f"{error.name}."):
            raise
        raise AttributeError(f"'taskodec.{name}' is not part of taskodec-runtime: install taskodec") from error
    return value


def _version() -> str:
    """The version of whichever distribution this is installed from."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("taskodec")
    except PackageNotFoundError:
        return version("taskodec-runtime")


def __dir__() -> list[str]:
    return sorted(__all__)
