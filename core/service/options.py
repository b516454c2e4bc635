"""What a request may set, by name: nothing that names a file or code, and within what the server allows. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskodec.console.terminal import shown
from taskodec.errors import SettingsError, UsageError
from taskodec.hooks.names import nearest
from taskodec.hooks.shelf import Shelf
from taskodec.service.errors import NotAllowedError
from taskodec.settings.layers import parse_override
from taskodec.settings.model import Settings, load_settings
from taskodec.settings.options import by_key
from taskodec.settings.yaml_text import dump_yaml

__all__ = [
    "Allowed",
    "CompressOptions",
    "DecompressOptions",
    "RequestSettings",
    "checked",
    "explained",
    "settings_files",
]

Name = Annotated[str, Field(max_length=64)]
Form = Literal["png", "webp", "jpeg", "tiff", "bmp", "ppm"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


OptionsT = TypeVar("OptionsT", bound=_Options)


class CompressOptions(_Options):
    """Options of `POST /v1/compress`; what is not given is as the server has it set."""

    codec: Name | None = Field(None, description="A codec that the server allows, see /v1/plugins.")
    task: Name | None = Field(None, description="What the picture is for: a task that the server allows.")
    quality: float | None = Field(None, ge=0, le=256, description="Low is a small file.")
    steps: int | None = Field(None, ge=0, lt=2**31, description="Tuning steps in all; 0 sends the picture untuned.")
    preset: Name | None = Field(None, description="Tuning preset, such as quick.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Seed of the tuning.")
    time_budget: float | None = Field(None, gt=0, description="Seconds of tuning.")
    target_bytes: Name | None = Field(None, description="Best file of at most so many: 20000, 20kB, 20KiB.")
    target_bpp: float | None = Field(None, gt=0, description="Best file of at most so many bits per pixel.")
    target_loss: float | None = Field(None, description="Smallest file with at most this loss of the task.")
    target: Name | None = Field(None, description="Smallest file with this figure, such as psnr>=34; <= too.")


class DecompressOptions(_Options):
    """Options of `POST /v1/decompress`."""

    format: Form = Field("png", description="Of the picture; all but jpeg keep every pixel.")


def checked(kind: type[OptionsT], given: Mapping[str, str]) -> OptionsT:
    """Options from texts, as of the fields of a form; UsageError says what is wrong, and what is valid."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise UsageError(explained(error.errors(), kind)) from error


def explained(details: Sequence[Any], kind: type[BaseModel] | None) -> str:
    """What pydantic says of options, in a line; with the names of all, if one is unknown."""
    found = []
    for detail in details:
        name = str(detail["loc"][-1]) if detail["loc"] else ""
        if detail["type"] == "extra_forbidden" and kind is not None:
            valid = list(kind.model_fields)
            found.append(f"unknown option {shown(name)}{nearest(name, valid)}; valid: {', '.join(valid)}")
        else:
            found.append(f"{name} = {shown(detail.get('input'))}: {detail['msg'][0].lower()}{detail['msg'][1:]}")
    return "; ".join(found)


class Allowed:
    """The names of one kind that requests may use: those `chosen`, or all that can be used here, and those of `own`.

    The latter stand for what settings name otherwise, such as a file that is not registered. UsageError for a name that
    is not registered.
    """

    def __init__(
        self, kind: str, chosen: Sequence[str] | None, shelf: Shelf[Any], own: Mapping[str, str] | None = None
    ) -> None:
        self.kind, self.own = kind, dict(own or {})
        here = tuple(name for name, spec in shelf.items() if not spec.unavailable)
        registered = here if chosen is None else tuple(chosen)
        for name in registered:
            shelf.usable(name)
        self.names = (*self.own, *(name for name in registered if name not in self.own))

    def meant(self, name: str) -> str:
        """What settings call it; NotAllowedError for another name."""
        if name not in self.names:
            near, valid = nearest(name, self.names), ", ".join(self.names)
            raise NotAllowedError(f"{self.kind} {shown(name)} is not allowed here{near}; valid: {valid}")
        return self.own.get(name, name)


class RequestSettings:
    """Settings of requests: those of the server, from these files, and their options on top."""

    def __init__(self, files: Sequence[Path], codecs: Allowed, tasks: Allowed) -> None:
        self.files, self.codecs, self.tasks = files, codecs, tasks
        self.of = lru_cache(256)(self._of)

    def _of(self, options: CompressOptions) -> Settings:
        """UsageError for values that are not valid, NotAllowedError for names that are not allowed."""
        given = options.model_dump(exclude_none=True, include=set(CompressOptions.model_fields))
        if options.codec is not None:
            given["codec"] = self.codecs.meant(options.codec)
        if options.task is not None:  # a request may name several
            given["task"] = ",".join(self.tasks.meant(name.strip()) for name in options.task.split(","))
        try:
            settings = load_settings(self.files, (), by_key(given))
        except SettingsError as error:
            raise UsageError(str(error)) from error
        most = settings.serve.max_steps
        steps = settings.ttft.steps
        planned = sum(phase.steps for phase in settings.ttft.phases) if steps is None else steps
        if planned > most:
            raise UsageError(f"{planned} steps: this server allows {most} at most; ask for fewer with `steps`")
        return settings


def settings_files(files: Sequence[Path], overrides: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """The settings as files of their own, which stay as they are; requests set theirs on top."""
    kept = []
    for number, file in enumerate(files):
        if str(file).startswith("taskodec:"):
            kept.append(file)
            continue
        kept.append(folder / f"config-{number}.yaml")
        try:
            kept[-1].write_bytes(file.read_bytes())
        except OSError as error:
            raise SettingsError(f"cannot read configuration {file}: {error.strerror or error}") from error
    for number, text in enumerate(overrides):
        kept.append(folder / f"set-{number}.yaml")
        kept[-1].write_text(dump_yaml(parse_override(text)), encoding="utf-8")
    return tuple(kept)
