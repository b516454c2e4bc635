"""The option `networks` of tasks with a network: several that one file is for, each with its share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskodec.contracts import JointTask, Part, Task
from taskodec.errors import UsageError
from taskodec.hooks.names import nearest

__all__ = ["takes_networks"]

OF_ONE = ("weights", "layers", "onnx", "feature_scale")
"""Options that only make sense for one network."""

Load = Callable[..., Task]


def takes_networks(name: str) -> Callable[[Load], Load]:
    """Gives a loader of the task of this name, which takes `network`, the option `networks` too.

    That is a list of names, or of entries with `network`, `share` (1), and options of the loader for this network
    alone; options beside the list hold for all. With it the loader gives a `JointTask`. UsageError for a list that is
    none, options of one network beside it, and a network that is there twice in the same way.
    """

    def decorated(load: Load) -> Load:
        own = inspect.signature(load)

        @functools.wraps(load)
        def loader(*positional: Any, networks: Any = None, **options: Any) -> Task:
            if networks is None:
                return load(*positional, **options)
            return _joint(load, name, networks, {**own.bind(*positional, **options).arguments}, tuple(own.parameters))

        added = inspect.Parameter("networks", inspect.Parameter.KEYWORD_ONLY, default=None)
        loader.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
        return loader

    return decorated


def _joint(load: Load, name: str, networks: Any, common: Mapping[str, Any], valid: Sequence[str]) -> Task:
    for option in ("network", *OF_ONE):
        if option in common:
            raise UsageError(
                f"task.options.{option} is of one network, beside task.options.networks; put it into the entry of the "
                "network that it belongs to"
            )
    entries = _entries(networks, valid)
    labels = _labels(entries)
    parts = [
        Part(label, load(**{**common, **{key: value for key, value in entry.items() if key != "share"}}), _share(entry))
        for label, entry in zip(labels, entries, strict=True)
    ]
    return parts[0].task if len(parts) == 1 else JointTask(name, parts)


def _entries(networks: Any, valid: Sequence[str]) -> list[Mapping[str, Any]]:
    """The list with every entry as keys and values; UsageError says what is wrong with one."""
    keys = ("share", *valid)
    if not isinstance(networks, list | tuple) or not networks:
        raise UsageError(
            f"task.options.networks = {networks!r}: expected a list of names, or of entries with {', '.join(keys)}"
        )
    found: list[Mapping[str, Any]] = []
    for item in networks:
        entry = {"network": item} if isinstance(item, str) else item
        if not isinstance(entry, Mapping) or not isinstance(entry.get("network"), str):
            raise UsageError(f"task.options.networks has {item!r}: expected a name, or an entry with `network`")
        for key in entry:
            if key not in keys:
                near = nearest(str(key), keys)
                raise UsageError(
                    f"task.options.networks: {item['network']!r} has {key!r}{near}; valid: {', '.join(keys)}"
                )
        found.append(entry)
    return found


def _share(entry: Mapping[str, Any]) -> float:
    share = entry.get("share", 1.0)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise UsageError(f"task.options.networks: the share of {entry['network']!r} is {share!r}, expected a number")
    return share


def _labels(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The networks' names, numbered where two differ in other options only."""
    seen: list[Mapping[str, Any]] = []
    labels = []
    for entry in entries:
        what = {key: value for key, value in entry.items() if key != "share"}
        if what in seen:
            raise UsageError(
                f"task.options.networks has {entry['network']!r} twice; name it once, its share says how much it counts"
            )
        seen.append(what)
        number = sum(one["network"] == entry["network"] for one in seen)
        labels.append(entry["network"] if number == 1 else f"{entry['network']} ({number})")
    return labels
