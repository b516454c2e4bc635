"""From the names in settings and streams to devices, codecs and adapters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from taskodec.adapters.files import at_quality
from taskodec.contracts import Adapter, Codec
from taskodec.errors import MismatchError, PluginError, SettingsError, TaskodecError, UsageError, WeightsError
from taskodec.files.inputs import expand_home
from taskodec.hooks.objects import check_adapter, check_codec, try_codec
from taskodec.hooks.registry import BUILTINS, Registry
from taskodec.isolation.faults import named
from taskodec.settings.model import AdapterSettings, CodecSettings, PhaseSettings, Settings
from taskodec.stream.bitstream import Header

__all__ = [
    "AUTO_ADAPTER",
    "DEFAULT_ADAPTER",
    "FILE_ADAPTER",
    "SENT_OPTIONS",
    "adapter_for_stream",
    "adapter_for_tuning",
    "adapter_metadata",
    "build_adapter",
    "check_files",
    "choose_device",
    "codec_at",
    "codec_for_stream",
    "has_quality",
    "is_trained",
    "load_codec",
    "make_adapter",
    "unsent_options",
]

log = logging.getLogger(__name__)

DEFAULT_ADAPTER = "svd-lora"
"""What a stream means that needs an adapter and names none; part of the format."""

AUTO_ADAPTER, FILE_ADAPTER = "auto", "file"
"""Not adapters of their own: whichever fits best, and one in a file."""

SENT_OPTIONS = ("rank", "alpha", "seed", "decoder_layers")
"""The options of an adapter that a stream may set, so that no stream reaches anything else; part of the format."""


def choose_device(name: str) -> torch.device:
    """The device of this name, the GPU if there is one for `auto`; SettingsError for what is not here."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    here = ["cpu", *(["cuda"] if cuda else []), *(f"cuda:{i}" for i in range(cuda))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    if name not in here:
        raise SettingsError(
            f"device = {name!r}: this machine, or this build of PyTorch, has no such device; valid: auto, "
            f"{', '.join(here)}"
        )
    return torch.device(name)


def check_files(settings: Settings) -> None:
    """WeightsError for a file of the codec or the adapter that is not there; one for each quality is not looked for."""
    for key, file in (
        ("codec.checkpoint", settings.codec.checkpoint),
        ("adapter.options.path", settings.adapter.options.get("path")),
    ):
        if isinstance(file, str | Path) and "{quality}" not in str(file) and not expand_home(file).is_file():
            raise WeightsError(f"{key}: there is no file {file}")


def codec_at(chosen: CodecSettings, quality: float) -> CodecSettings:
    """The settings with the quality in place of a `{quality}` in the checkpoint's path, for codecs with many files."""
    if chosen.checkpoint is None:
        return chosen
    return chosen.model_copy(update={"checkpoint": at_quality(chosen.checkpoint, quality)})


def load_codec(registry: Registry, chosen: CodecSettings, quality: float) -> Codec:
    """The codec of the settings with its weights, in evaluation mode; UsageError for a quality it does not have.

    PluginError, which names who provides it, for one that is none; those of others code a small picture first.
    """
    options: dict[str, Any] = {"quality": quality, **chosen.options}
    if chosen.checkpoint is not None:
        options["checkpoint"] = chosen.checkpoint
    owner = registry.codecs.owner(chosen.name)
    codec = check_codec(registry.codecs.make(chosen.name, options), chosen.name, owner).eval()
    codec.check_quality(quality)
    if owner not in BUILTINS:
        try_codec(codec, quality, owner)
    log.info("codec %s of %s, quality %g, weights: %s", chosen.name, owner, quality, chosen.checkpoint or "its own")
    return codec


def has_quality(codec: Codec, quality: float) -> bool:
    """Whether the codec, as it is loaded, can code at this quality."""
    try:
        codec.check_quality(quality)
    except UsageError:
        return False
    return True


def codec_for_stream(registry: Registry, header: Header, chosen: CodecSettings) -> Codec:
    """The codec that a stream names, at its quality; MismatchError says why there is none.

    The user's checkpoint and options are for that codec, unless the settings name another one than the default.
    """
    name, quality = header.codec, header.quality
    if name not in registry.codecs:
        raise MismatchError(
            f"the stream needs codec {name!r}, which is not here; valid: {', '.join(registry.codecs)}; "
            "install or load (--plugin) the plugin that provides it"
        )
    own = chosen.name in (name, CodecSettings().name)
    codec = chosen.model_copy(update={"name": name}) if own else CodecSettings(name=name)
    try:
        with _plugin():  # at a quality that any stream may name
            return load_codec(registry, codec, quality)
    except TaskodecError as error:
        raise MismatchError(f"codec {name!r} of the stream cannot be had at quality {quality:g}: {error}") from error


def adapter_for_tuning(
    registry: Registry, chosen: AdapterSettings, codec: Codec, phases: Sequence[PhaseSettings]
) -> Adapter | None:
    """The adapter of the settings; None when no phase would train it and it was not trained beforehand either."""
    trained = {part for phase in phases if phase.steps for part in phase.train}
    if not is_trained(registry, chosen.name) and not trained & {"encoder", "decoder"}:
        return None
    return build_adapter(registry, chosen, codec)


def build_adapter(registry: Registry, chosen: AdapterSettings, codec: Codec) -> Adapter:
    """The adapter of the settings, not attached."""
    log.info("adapter %s, options: %s", chosen.name, dict(chosen.options) or "none")
    return make_adapter(registry, chosen.name, codec, chosen.options)


def adapter_metadata(registry: Registry, chosen: AdapterSettings) -> dict[str, Any]:
    """What a stream must say of its adapter.

    Nothing for the default one, and for those trained beforehand: they are found by their fingerprint.
    """
    sent = {name: chosen.options[name] for name in SENT_OPTIONS if name in chosen.options}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in sent.items()}
    known = chosen.name == DEFAULT_ADAPTER or is_trained(registry, chosen.name)
    return {"adapter": chosen.name, **plain} if plain or not known else {}


def unsent_options(chosen: AdapterSettings) -> list[str]:
    """The options that a decoder may need and no stream can carry; a file's path is none, any copy of it serves."""
    known = {*SENT_OPTIONS, "encoder_layers", "modulation"} | ({"path"} if chosen.name == FILE_ADAPTER else set())
    return sorted(chosen.options.keys() - known)


def adapter_for_stream(registry: Registry, header: Header, codec: Codec, chosen: AdapterSettings) -> Adapter:
    """The adapter with the stream's fingerprint: as the metadata describe it, or any registered for the codec.

    Options that a stream cannot carry come from the settings. MismatchError says what was tried.
    """
    tried = []
    for name, options in _candidates(registry, header.metadata, codec, chosen):
        try:
            with _plugin():  # or options of a stream: neither may end in a traceback
                adapter = make_adapter(registry, name, codec, options)
                found = adapter.fingerprint()
        except TaskodecError as error:
            tried.append(f"{name!r} cannot be made: {error}")
            continue
        log.debug("adapter %s has the fingerprint %s", name, found.hex())
        if found == header.adapter_fingerprint:
            return adapter.requires_grad_(False)
        tried.append(f"{name!r} is {found.hex()}")
    wanted = (header.adapter_fingerprint or b"").hex()
    earlier = codec.earlier.get(header.codec_fingerprint.hex())
    file = earlier.adapters.get(wanted) if earlier is not None else None
    raise MismatchError(
        f"the stream needs adapter {wanted} of codec {codec.name!r}, and none here is it ({'; '.join(tried)}); "
        f"install or load (--plugin) the plugin that provides it, or give its file{f', {file},' if file else ''} with "
        "--adapter"
    )


def _candidates(
    registry: Registry, metadata: Mapping[str, Any], codec: Codec, chosen: AdapterSettings
) -> list[tuple[str, dict[str, Any]]]:
    """Names and options of the adapters that a stream may mean, the likeliest first."""
    if "adapter" in metadata:
        found = [(str(metadata["adapter"]), {name: metadata[name] for name in SENT_OPTIONS if name in metadata})]
    else:
        names = [n for n, spec in registry.adapters.items() if spec.codec in (None, codec.name) and n != FILE_ADAPTER]
        found = [(name, {}) for name in sorted(names, key=lambda name: name != DEFAULT_ADAPTER)]
    mine = DEFAULT_ADAPTER if chosen.name == AUTO_ADAPTER else chosen.name
    own = [(name, {**chosen.options, **options}) for name, options in found if name == mine and chosen.options]
    return found + own + ([(FILE_ADAPTER, dict(chosen.options))] if mine == FILE_ADAPTER else [])


def is_trained(registry: Registry, name: str) -> bool:
    """Whether an adapter was trained beforehand."""
    return name == FILE_ADAPTER or registry.adapters[name].codec is not None


def make_adapter(registry: Registry, name: str, codec: Codec, options: Mapping[str, Any]) -> Adapter:
    """The adapter of this name, checked; what its plugin raises comes as it is."""
    made = registry.adapters.make(name, dict(options), codec, part="build")
    return check_adapter(made, name, registry.adapters.owner(name))


def _plugin() -> AbstractContextManager[None]:
    """Around code of any plugin."""
    return named("", PluginError, TaskodecError)
