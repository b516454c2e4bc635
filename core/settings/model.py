"""All settings, validated, and where they come from.

Layers, later wins: packaged `configs/default.yaml`; presets by name (`codec/`, `train/` by codec, `pretrain/`
and `task/` by task, `ttft/`); the user's files in order; arguments and command-line flags; `--set key=value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, model_validator

from taskodec.console.terminal import shown
from taskodec.errors import SettingsError
from taskodec.files.downloads import LONGEST, DownloadOptions
from taskodec.hooks.names import members, nearest
from taskodec.settings.base import Model, Number, Size
from taskodec.settings.layers import Layers, defaults, nest, parse_override, preset, read_yaml
from taskodec.settings.options import argument_of
from taskodec.settings.ray import RaySettings
from taskodec.settings.serve import ServeSettings
from taskodec.settings.target import TargetSettings
from taskodec.settings.tasks import Named, TaskSettings
from taskodec.settings.training import PretrainSettings, StageSettings, TrainSettings
from taskodec.settings.ttft import PhaseSettings, TTFTSettings
from taskodec.settings.yaml_text import dump_yaml
from taskodec.stream.bitstream import MAX_PIXELS

__all__ = [
    "AdapterSettings",
    "CodecSettings",
    "DataSettings",
    "DownloadSettings",
    "LimitSettings",
    "PhaseSettings",
    "PretrainSettings",
    "RaySettings",
    "ServeSettings",
    "Settings",
    "StageSettings",
    "TTFTSettings",
    "TargetSettings",
    "TaskSettings",
    "TrainSettings",
    "load_settings",
    "preset_options",
]

_MESSAGES = {"model_type": "expected keys and values", "string_pattern_mismatch": "valid: auto, cpu, mps, cuda, cuda:N"}
"""Where pydantic's own words are of no use; `device` is the only key with a pattern."""


class CodecSettings(Named):
    """Which codec, with which weights; `checkpoint` None means the weights that come with it."""

    name: str = "lite"
    checkpoint: Path | None = None


class AdapterSettings(Named):
    """Which adapter, and what it is built with.

    `auto` is the one trained beforehand for the codec and the task, else untrained SVD-LoRA. A name that ends in
    `.safetensors` is the file of an adapter.
    """

    name: str = "auto"

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, value: Any) -> Any:
        name = value.get("name") if isinstance(value, dict) else value
        if not isinstance(name, str) or not name.endswith(".safetensors"):
            return value
        return {**(value if isinstance(value, dict) else {}), "name": "file", "options": {"path": name}}


class LimitSettings(Model):
    """What keeps memory bounded, in pixels.

    Images beyond `max_pixels` are refused. A step of tuning sees at most `max_tuning_pixels` at once: larger images are
    tuned in patches or tiles, or refused where there is no such way. Tuning keeps activations of codec and task
    network: about 2 kB a pixel for `cls` with `lite`, 6 with `tic`, 0.4 for `human`. Transforms without a gradient
    work on at most `tile` pixels at once, where the codec can be tiled.
    """

    max_tuning_pixels: Size = 2**22

    max_pixels: Size = MAX_PIXELS

    tile: Size = 2**22


class DataSettings(Model):
    """What is used of every picture of a data set, in `eval` and `pretrain`, see `taskodec.images.framing`.

    `eval_size` counts in `eval` alone.
    """

    resize: Size | None = None
    center_crop: Size | None = None
    eval_size: tuple[Size, Size] | None = None

    @model_validator(mode="after")
    def _check(self) -> DataSettings:
        if self.eval_size and self.eval_size[0] > self.eval_size[1]:
            raise ValueError(f"eval_size has a short side first, then the most of a long one, found {self.eval_size}")
        return self


class DownloadSettings(Model):
    """Downloads of weights, see `taskodec.files.downloads`; what is as usual leaves it to the environment."""

    mirrors: tuple[str, ...] = ()
    offline: bool = False
    timeout: Annotated[float, Field(gt=0, le=LONGEST)] = DownloadOptions.timeout
    attempts: Size = DownloadOptions.attempts


class Settings(Model):
    """Everything that can be set. Frozen; `load_settings` puts it together."""

    codec: CodecSettings = CodecSettings()
    adapter: AdapterSettings = AdapterSettings()
    task: TaskSettings = TaskSettings()
    quality: Number = 3
    target: TargetSettings = TargetSettings()
    ttft: TTFTSettings = TTFTSettings()
    limits: LimitSettings = LimitSettings()
    downloads: DownloadSettings = DownloadSettings()
    data: DataSettings = DataSettings()
    ray: RaySettings = RaySettings()
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    train: TrainSettings = TrainSettings()
    pretrain: PretrainSettings = PretrainSettings()
    serve: ServeSettings = ServeSettings()

    def to_yaml(self) -> str:
        """The resolved configuration as YAML that `load_settings` reads back."""
        return dump_yaml(self.model_dump(mode="json"))


def load_settings(
    files: Sequence[str | Path] = (),
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from the packaged defaults and presets, then `files`, `flags` and `overrides`.

    `flags` maps dotted keys to values, `overrides` are texts like `ttft.steps=80`. SettingsError names each
    wrong key or value, where it came from, and what is valid.
    """
    user = Layers()
    for file in files:
        user.add(read_yaml(Path(file)), str(file))
    for layer, key in nest(flags or {}):
        user.add(layer, f"argument {argument_of(key)}")
    for text in overrides:
        user.add(parse_override(text), f"--set {text if len(text) <= 200 else shown(text)}")
    layers = _with_presets(user)
    layers.add_layers(user)
    try:
        return Settings.model_validate(layers.values)
    except ValidationError as error:
        details = error.errors()
        places = [detail["loc"] for detail in details]
        # an error inside a list also makes the list itself wrong: say only what is inside
        inner = [d for d in details if not any(p[: len(d["loc"])] == d["loc"] != p for p in places)]
        raise SettingsError("\n".join(_explain(detail, layers) for detail in inner)) from error


def _with_presets(user: Layers) -> Layers:
    """The packaged defaults, and the presets of what the user names."""
    layers = Layers()
    layers.add(defaults(), "default.yaml")
    for section in ("codec", "task"):
        layers.add({section: user.name(section, layers.name(section))}, "default.yaml")
    codec, task = layers.name("codec"), layers.name("task")
    for kind, name in (("codec", codec), ("train", codec), ("pretrain", "default"), ("pretrain", task), ("task", task)):
        layers.add(preset(kind, name), f"{kind}/{name}.yaml")
    if len(names := members(task)) > 1:
        for name in names:
            layers.add({"task": {"options": {name: preset_options(name)}}}, f"task/{name}.yaml")
    chosen = user.values.get("ttft")
    ttft = (chosen if isinstance(chosen, dict) else {}).get("preset", layers.values["ttft"]["preset"])
    layers.add({"ttft": preset("ttft", str(ttft), needed=True)}, f"ttft/{ttft}.yaml")
    return layers


def preset_options(task: str) -> dict[str, Any]:
    """The options that a task has where the user sets none."""
    found: dict[str, Any] = preset("task", task).get("task", {}).get("options", {})
    return found


def _explain(detail: Any, layers: Layers) -> str:
    """One validation error: key, value, origin, what is valid."""
    path: tuple[str | int, ...] = detail["loc"]
    key = ".".join(map(str, path))
    origin = layers.origin(path)
    if detail["type"] == "extra_forbidden":
        valid = _keys_at(Settings, path[:-1])
        near = nearest(str(path[-1]), valid)
        return f"unknown key {key} = {shown(detail['input'])} (from {origin}){near}; valid keys: {', '.join(valid)}"
    if detail["type"] == "missing":
        return f"{key} is missing (from {origin})"
    message = _MESSAGES.get(detail["type"], detail["msg"]).removeprefix("Value error, ")
    if isinstance(detail["input"], bool):
        message += "; YAML reads yes, no, on and off as true and false: put text in quotes"
    return f"{key} = {shown(detail['input'])} (from {origin}): {message[0].lower()}{message[1:]}"


def _keys_at(model: Any, path: Sequence[str | int]) -> list[str]:
    """The keys that the section at this path may have."""
    for part in path:
        if isinstance(part, int):  # an item of a tuple of models
            continue
        annotation = model.model_fields[part].annotation
        model = next((a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation)
    return list(model.model_fields)
