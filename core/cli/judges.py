"""`taskodec eval` and `report`: who judges, by which labels, and what methods are made for, from the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskodec.errors import UsageError
from taskodec.hooks.names import nearest

if TYPE_CHECKING:
    from taskodec.evaluation.panel import Judge
    from taskodec.settings.model import TaskSettings

__all__ = ["Judges", "read_beside", "read_judges", "task_of_method"]

NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)")


@dataclass(frozen=True)
class Judges:
    """Who judges: `instead` of the task, or `beside` it; `labels` are those of the task, or of its parts by label."""

    instead: TaskSettings | None = None
    beside: tuple[Judge, ...] = ()
    labels: Path | Mapping[str, Path] | None = None


@dataclass
class _Given:
    task: str
    options: dict[str, Any] = field(default_factory=dict)


def read_judges(task: TaskSettings, judges: Sequence[str], options: Sequence[str], labels: Sequence[str]) -> Judges:
    """From `--judge [NAME=]TASK`, `--judge-set [NAME.]KEY=VALUE` and `--labels [NAME=]FILE`.

    A single judge without a name, or options without a judge, take the task's place. UsageError for names that are
    there twice, and for options and labels of nobody.
    """
    from taskodec.evaluation.panel import Judge

    if len(judges) <= 1 and not any(NAMED.fullmatch(text) for text in judges):
        instead = _instead(task, judges, options)
        return Judges(instead, (), _labels(labels, [task.name] if instead is None else [instead.name], {}))
    given = _given((task.name, *task.members), judges, options)
    by_judge: dict[str, Path] = {}
    own = _labels(labels, [task.name], by_judge, list(given))
    tasks = {name: _task(f"--judge {name}", one.task, _with_usual(one)) for name, one in given.items()}
    return Judges(None, tuple(Judge(name, tasks[name], by_judge.get(name)) for name in given), own)


def read_beside(task: TaskSettings, judges: Sequence[str], options: Sequence[str]) -> dict[str, TaskSettings]:
    """By name, those who are asked besides the task: as `read_judges`, but nobody takes its place.

    Options without a judge are of the task itself, asked once more. UsageError as there.
    """
    if not judges and not options:
        return {}
    given = _given((), judges or [task.name], options)
    return {name: _task(f"--judge {name}", one.task, _with_usual(one)) for name, one in given.items()}


def _given(taken: Sequence[str], judges: Sequence[str], options: Sequence[str]) -> dict[str, _Given]:
    """By name, the judges with their options; UsageError for names that are there twice, or in `taken`."""
    given: dict[str, _Given] = {}
    for text in judges:
        match = NAMED.fullmatch(text)
        name, what = match.groups() if match else (text, text)
        if name in given or name in taken:
            owner = "the task that files are made for" if name not in given else "another judge"
            raise UsageError(f"--judge {text}: {name!r} is {owner}; name it otherwise, as in --judge other={what}")
        given[name] = _Given(what)
    for text in options:
        name, key = _whose(text, given)
        _set(given[name].options, key, f"--judge-set {text}")
    return given


def task_of_method(name: str, task: TaskSettings, judges: Sequence[Judge]) -> TaskSettings:
    """What a method's files are for: a judge by its name, a part of the task, or any task, several with + between."""
    from taskodec.settings.model import preset_options

    what = f"a method for {name}"
    for judge in judges:
        if judge.name == name:
            return judge.task
    if name in task.members:
        options = task.options.get(name, {}) if len(task.members) > 1 else task.options
        return _task(what, name, options)
    parts = [task_of_method(part, task, judges) for part in name.split("+")] if "+" in name else []
    if parts and len({part.name for part in parts}) == len(parts):
        return _task(what, ",".join(part.name for part in parts), {part.name: part.options for part in parts})
    return _task(what, name, preset_options(name))


def _task(what: str, name: str, options: Mapping[str, Any]) -> TaskSettings:
    """The task with options; a UsageError, which begins with `what`, for names and options that are none."""
    from pydantic import ValidationError

    from taskodec.settings.model import TaskSettings

    try:
        return TaskSettings(name=name, options=dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{what}: {first['msg'].removeprefix('Value error, ')}") from error


def _instead(task: TaskSettings, judges: Sequence[str], options: Sequence[str]) -> TaskSettings | None:
    if not judges and not options:
        return None
    found: dict[str, Any] = {}
    for text in options:
        _set(found, text, f"--judge-set {text}")
    return _task("--judge-set", judges[0] if judges else task.name, found)


def _with_usual(one: _Given) -> dict[str, Any]:
    """The options of a judge, on top of those that its task has where nobody sets any."""
    from taskodec.hooks.names import members
    from taskodec.settings.model import preset_options

    names = members(one.task)
    if len(names) == 1:
        return {**preset_options(one.task), **one.options}
    found = {name: preset_options(name) for name in names}
    for name, own in one.options.items():
        found[name] = {**found.get(name, {}), **own} if isinstance(own, Mapping) else own
    return found


def _whose(text: str, given: Mapping[str, _Given]) -> tuple[str, str]:
    """The judge that an option is of, and the rest of the text."""
    for name in sorted(given, key=len, reverse=True):
        if text.startswith(f"{name}."):
            return name, text.removeprefix(f"{name}.")
    if len(given) == 1:
        return next(iter(given)), text
    first = text.partition(".")[0]
    raise UsageError(
        f"--judge-set {text}: say of which judge, as in {next(iter(given))}.{text}{nearest(first, given)}; judges: "
        f"{', '.join(given)}"
    )


def _set(options: dict[str, Any], text: str, origin: str) -> None:
    from taskodec.settings.layers import Layers, parse_override

    layers = Layers()
    layers.add(options, origin)
    layers.add(parse_override(text), origin)
    options.update(layers.values)


def _labels(
    texts: Sequence[str], own: Sequence[str], by_judge: dict[str, Path], judges: Sequence[str] = ()
) -> Path | dict[str, Path] | None:
    """Labels of the task, or by the labels of its parts; those of judges go into `by_judge`."""
    plain: list[Path] = []
    parts: dict[str, Path] = {}
    for text in texts:
        match = None if Path(text).exists() else NAMED.fullmatch(text)
        name, path = match.groups() if match else ("", text)
        into: dict[str, Path] = by_judge if name in judges else parts
        if (name in into) or (plain and (not name or name in own)):
            raise UsageError(f"--labels {text}: there are others for the same; give one")
        if not name or name in own:
            plain.append(Path(path))
        else:
            into[name] = Path(path)
    if plain and parts:
        raise UsageError(f"--labels {plain[0]}: say whose labels these are, beside those of {', '.join(parts)}")
    return plain[0] if plain else parts or None
