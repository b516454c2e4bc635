"""The plugin manager: which codecs, adapters, tasks, anchors and weights exist, from whom, and what failed to load.

Built-ins, installed packages (entry-point group `taskodec`), files (`--plugin my_task.py`) and run-time calls
all go through the hooks of `taskodec.hooks.specs`. A broken installed plugin is recorded in `failures` and
skipped; a file or a call that is wrong raises.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from itertools import count
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from taskodec.errors import PluginError, UsageError
from taskodec.hooks import specs as hookspecs
from taskodec.hooks.handover import check_task, joint_task, load_module, make_task, object_from
from taskodec.hooks.names import members
from taskodec.hooks.sending import Call, Given, as_sent, registry_of
from taskodec.hooks.shelf import BUILTINS, Shelf
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec, WeightsFile
from taskodec.isolation.faults import named

if TYPE_CHECKING:
    from torch import Tensor

    from taskodec.contracts import Adapter, Codec, Task

__all__ = ["BUILTINS", "Registry", "Shelf", "default_registry", "register_adapter", "register_codec", "register_task"]

log = logging.getLogger(__name__)

GROUP = "taskodec"

OneTask: TypeAlias = "str | Task | Callable[..., Tensor]"
TaskSpecs: TypeAlias = "OneTask | Sequence[OneTask] | Mapping[str, float]"

_calls = count(1)


class Registry:
    """Everything that plugins have registered, by kind and name.

    `failures` maps the name of each plugin that was skipped to the reason.
    """

    def __init__(self) -> None:
        self.codecs = Shelf("codec", CodecSpec)
        self.adapters = Shelf("adapter", AdapterSpec)
        self.tasks = Shelf("task", TaskSpec)
        self.anchors = Shelf("anchor", AnchorSpec)
        self.weights = Shelf("weights file", WeightsFile)
        self.failures: dict[str, str] = {}
        self.given: list[Given] = []
        self._manager = pluggy.PluginManager("taskodec")
        self._manager.add_hookspecs(hookspecs)
        self._registering = RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return registry_of, (self is _default(), as_sent(self.given))

    def register(self, plugin: object, name: str) -> None:
        """Take a plugin's hooks, all or none; PluginError says what is wrong with it."""
        self._register(plugin, name)
        self.given.append(("register", (plugin, name)))

    def _register(self, plugin: object, name: str) -> None:
        with self._registering:
            try:
                with named(f"{name}:", PluginError, PluginError):
                    self._manager.register(plugin, name)
                    self._manager.check_pending()
                    found = self._call_hooks(plugin, name)
            except BaseException:
                if self._manager.has_plugin(name) and self._manager.get_plugin(name) is plugin:
                    self._manager.unregister(plugin)
                raise
            for shelf, spec in found:
                shelf.add(spec, name)
            log.debug("plugin %s: %s", name, ", ".join(spec.name for shelf, spec in found if shelf is not self.weights))

    def has(self, hook: str, name: str) -> bool:
        """Whether this name is registered, by whatever plugin, through this hook."""
        return name in self._shelves[hook]

    def load_builtins(self, modules: Sequence[str] = BUILTINS) -> None:
        """Register the modules that ship with taskodec."""
        for module in modules:
            self._try(module, lambda module=module: importlib.import_module(module))  # type: ignore[misc]
        self.given.append(("load_builtins", (tuple(modules),)))

    def load_entry_points(self, group: str = GROUP) -> None:
        """Register what installed packages offer, in the order of their names."""
        self.given.append(("load_entry_points", (group,)))
        for point in sorted(entry_points(group=group), key=_owner):
            self._try(_owner(point), point.load)

    def load_plugin_file(self, path: str | Path) -> None:
        """Register the hooks in a Python file; loading the same file again changes nothing."""
        module = load_module(Path(path))
        with self._registering:
            if not self._manager.is_registered(module):
                self._register(module, str(path))
                self.given.append(("load_plugin_file", (str(Path(path).resolve()),)))

    def task_from(self, spec: TaskSpecs, **options: Any) -> Task:
        """The task that a name, a `FILE.py:OBJ`, a function `loss(x_hat, x)` or an instance stands for.

        A list of them, or names with commas between, is a `JointTask`, in which each counts the same; a mapping has the
        share of each. `options` go to the task's loader, those of several by name. UsageError for what does not exist
        or options that it does not take.
        """
        if isinstance(spec, Mapping):
            return joint_task(self.task_from, list(spec), list(spec.values()), options)
        if isinstance(spec, list | tuple):
            return joint_task(self.task_from, spec, [1.0] * len(spec), options)
        if not isinstance(spec, str):
            return make_task(getattr(spec, "__name__", "loss"), spec, options)
        if len(names := members(spec)) > 1:
            return self.task_from(names, **options)
        if ".py:" in spec:
            return make_task(spec.rpartition(":")[2], object_from(spec), options)
        if spec.endswith(".py"):
            raise UsageError(f"task {spec!r} names no object: write {spec}:NAME_OF_THE_LOSS")
        from taskodec.hooks.objects import check_task_object

        return check_task_object(self.tasks.make(spec, options), f"{self.tasks.owner(spec)}: task {spec!r}")

    def _try(self, name: str, load: Callable[[], object]) -> None:
        """Register what `load` returns; a failure is recorded by name."""
        try:
            with named(f"{name}:", PluginError, PluginError):  # whatever a stranger's module does
                plugin = load()
            self._register(plugin, name)
        except PluginError as error:
            self.failures[name] = str(error).removeprefix(f"{name}: ")
            log.info("plugin %s is left out: %s", name, self.failures[name])

    @property
    def _shelves(self) -> Mapping[str, Shelf[Any]]:
        """By the hooks that fill them."""
        return {
            "register_codecs": self.codecs,
            "register_adapters": self.adapters,
            "register_tasks": self.tasks,
            "register_anchors": self.anchors,
            "register_weights": self.weights,
        }

    def _call_hooks(self, plugin: object, name: str) -> list[tuple[Shelf[Any], Any]]:
        """All specs of one plugin, checked."""
        others = [p for p in self._manager.get_plugins() if p is not plugin]
        callers = [c.name for c in self._manager.get_hookcallers(plugin) or []]
        if not callers:
            raise PluginError(f"{name}: no hooks found; mark its functions with @taskodec.hookimpl")
        found: list[tuple[Shelf[Any], Any]] = []
        for hook in callers:
            shelf = self._shelves[hook]
            results = self._manager.subset_hook_caller(hook, others)()
            for specs in results or [None]:
                if not isinstance(specs, list | tuple):
                    raise PluginError(f"{name}: {hook} returned a {type(specs).__name__}, expected a list of specs")
                for spec in specs:
                    shelf.check(spec, name)
                    found.append((shelf, spec))
        keys = [(shelf.kind, spec.name) for shelf, spec in found]
        for kind, twice in sorted({key for key in keys if keys.count(key) > 1}):
            raise PluginError(f"{kind} {twice!r} is registered twice by {name}: rename one")
        return found


_making = RLock()


def default_registry() -> Registry:
    """The process-wide registry: built-ins and entry points, loaded at the first call."""
    with _making:  # two threads that make it at once would each have one
        return _default()


@cache
def _default() -> Registry:
    registry = Registry()
    registry.load_builtins()
    registry.load_entry_points()
    return registry


def register_task(
    name: str,
    loss: Callable[[Tensor, Tensor], Tensor] | Task | type[Task],
    lmbda: float | None = None,
    *,
    views: Collection[str] | None = None,
) -> None:
    """Add a task for the rest of this process.

    `loss` is any differentiable function `loss(x_hat, x)` of two (1, 3, H, W) images in [0, 1] that returns a
    scalar, or a `Task` or a subclass of it. `lmbda` weighs a function's loss against bits per pixel; without
    it the tuning engine finds one. `views` are the random views of pictures that a function's loss means the same of,
    as in `Task.views`; without them the function's own attribute `views`, or none. PluginError when the name is taken,
    TaskError when `loss` cannot be called.
    """
    check_task(name, loss)
    load = partial(_load_task, name, loss, lmbda, views)
    _at_run_time("register_tasks", TaskSpec(name, load, "registered at run time"), loss)


def register_codec(name: str, load: Callable[..., Codec], description: str = "") -> None:
    """Add a codec for the rest of this process; `load(quality=…, **options)` builds it.

    PluginError when the name is taken.
    """
    _at_run_time("register_codecs", CodecSpec(name, load, description), load)


def register_adapter(
    name: str,
    build: Callable[..., Adapter],
    *,
    codec: str | None = None,
    task: str | None = None,
    task_options: Mapping[str, Any] | None = None,
    description: str = "",
) -> None:
    """Add an adapter for the rest of this process; `build(codec, **options)` makes it, not yet attached.

    A pre-trained adapter names its codec and its task, and in `task_options` those options of the task without which
    it does not suit. PluginError when the name is taken.
    """
    _at_run_time("register_adapters", AdapterSpec(name, build, description, codec, task, task_options or {}), build)


def _owner(point: EntryPoint) -> str:
    """`name (package version)`, as owners are shown."""
    return f"{point.name} ({point.dist.name} {point.dist.version})" if point.dist else point.name


def _at_run_time(hook: str, spec: CodecSpec | AdapterSpec | TaskSpec, what: object) -> None:
    """Register one spec through its hook; its owner is where the given object was written."""
    where = f"{getattr(what, '__module__', '?')}.{getattr(what, '__qualname__', type(what).__qualname__)}"
    default_registry().register(Call(hook, spec), f"{where} (run time, {next(_calls)})")


def _load_task(name: str, what: object, lmbda: float | None, views: Collection[str] | None, **options: Any) -> Task:
    return make_task(name, what, options, lmbda, views)
