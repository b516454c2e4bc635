"""The task of the settings: one, or several that a file is for, with the share of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from taskodec.console.terminal import shown
from taskodec.hooks.names import members, nearest
from taskodec.settings.base import Model, Options, Positive

__all__ = ["Named", "TaskSettings", "task_layer"]

ENTRY = ("name", "share", "options")


def task_layer(value: Any) -> Any:
    """What a layer of settings says of the task, as keys and values; ValueError for a list that is none of tasks.

    A list has names, or entries with `name`, `share` and `options`.
    """
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, list | tuple):
        return value
    entries = [_entry(item) for item in value]
    if not entries:
        raise ValueError("an empty list; name one task at least")
    names = [entry["name"] for entry in entries]
    _check_names(names)
    if len(entries) == 1:
        return {"name": names[0], "options": entries[0].get("options", {})}
    return {
        "name": ",".join(names),
        "options": {entry["name"]: entry["options"] for entry in entries if "options" in entry},
        "shares": {entry["name"]: entry["share"] for entry in entries if "share" in entry},
    }


def _entry(item: Any) -> Mapping[str, Any]:
    """One of a list; ValueError says what an entry may have."""
    if isinstance(item, str):
        return {"name": item}
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ValueError(f"an entry is {shown(item)}, expected the name of a task, or name, share and options")
    for key in item:
        if key not in ENTRY:
            near = nearest(str(key), ENTRY)
            raise ValueError(f"unknown key {shown(key)} of {item['name']!r}{near}; valid keys: {', '.join(ENTRY)}")
    return item


def _check_names(names: Sequence[str]) -> None:
    if "" in names:
        raise ValueError(f"a name is missing in {shown(','.join(names))}; write names with commas between")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{', '.join(twice)} is there twice; name each task once (its share says how much, and its options may "
            "have several networks)"
        )


class Named(Model):
    """Something registered, by name; a plain string is its name."""

    name: str
    options: Options = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class TaskSettings(Named):
    """Which task, or tasks with commas between; `lmbda` None leaves the weight of the loss to `lmbdas`, then to others.

    Those are given by quality; without one there, the task or the engine finds the weight. `lmbda_scale` multiplies it,
    wherever it comes from. Of several tasks, `options` has those of each by its name, and `shares` how much it counts,
    1 unless set; the weight is then that of all together, 1.
    """

    name: str = "human"
    shares: dict[str, Positive] = Field(default_factory=dict)
    lmbda: Positive | None = None
    lmbdas: dict[float, Positive] = Field(default_factory=dict)
    lmbda_scale: Positive = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return task_layer(value)

    @model_validator(mode="after")
    def _check(self) -> TaskSettings:
        names = self.members
        if len(names) == 1:
            if self.shares:
                raise ValueError(f"shares are for several tasks, found one, {self.name!r}; leave them out")
            return self
        _check_names(names)
        for key, given in (("shares", self.shares), ("options", self.options)):
            for name in given:
                if name not in names:
                    near = nearest(name, names)
                    raise ValueError(f"{key} of {name!r}, which is none of the tasks{near}; valid: {', '.join(names)}")
        for name, options in self.options.items():
            if not isinstance(options, dict):
                raise ValueError(f"options of {name!r} are {shown(options)}, expected keys and values")
        return self

    @property
    def members(self) -> list[str]:
        """The name of each task."""
        return members(self.name)

    @property
    def spec(self) -> str | dict[str, float]:
        """What `Registry.task_from` takes, beside `options`: the name, or of several each with its share."""
        names = self.members
        return names[0] if len(names) == 1 else {name: self.shares.get(name, 1.0) for name in names}

    def weight(self, quality: float) -> float | None:
        """The weight that is set for this quality."""
        return self.lmbda if self.lmbda is not None else self.lmbdas.get(quality)
