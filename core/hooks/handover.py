"""From what a user hands over - a function, a class, an instance, `FILE.py:OBJ` - to a task."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from taskodec.errors import PluginError, TaskError, TaskodecError, UsageError
from taskodec.hooks.names import nearest
from taskodec.hooks.specs import resolve
from taskodec.isolation.faults import described, named

if TYPE_CHECKING:
    from taskodec.contracts import Task

__all__ = ["build", "check_task", "joint_task", "load_module", "make_task", "object_from"]


_importing = RLock()


def load_module(path: Path) -> ModuleType:
    """Run a Python file as a module, once as long as it does not change; PluginError when it cannot be run."""
    if not path.is_file():
        raise UsageError(f"no such plugin file: {path}")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the plugin file {path}: {error.strerror or error}") from error
    digest = hashlib.sha256(str(path.resolve()).encode() + source).hexdigest()[:16]
    name = f"taskodec_file_{digest}"
    with _importing:  # or another thread would find half a module
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{path} is not a Python file: its name must end in .py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            with named(f"{path} cannot be imported:", PluginError), _switches_kept():
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _switches_kept() -> AbstractContextManager[None]:
    """Around what may change PyTorch's switches, which nobody has set as long as it is not here."""
    if "torch" not in sys.modules:
        return nullcontext()
    from taskodec.isolation.ambient import kept

    return kept()


def object_from(spec: str) -> Any:
    """The object that `FILE.py:OBJ` names."""
    path, _, name = spec.rpartition(":")
    module = load_module(Path(path))
    if not hasattr(module, name):
        public = sorted(n for n, v in vars(module).items() if callable(v) and v.__module__ == module.__name__)
        raise UsageError(f"{path} has no {name!r}{nearest(name, public)}; it defines: {', '.join(public) or 'nothing'}")
    return getattr(module, name)


def check_task(name: str, what: object) -> None:
    """A TaskError unless `what` is a function, a Task, or a subclass of Task."""
    from taskodec.contracts import Task

    if not isinstance(what, Task) and not callable(what):
        raise TaskError(
            f"task {name!r}: found a {type(what).__name__}, expected a function loss(x_hat, x), "
            "a Task or a subclass of Task"
        )
    if isinstance(what, type) and not issubclass(what, Task):
        raise TaskError(f"task {name!r}: the class {what.__name__} is not a subclass of taskodec.Task")


def make_task(
    name: str,
    what: Any,
    options: Mapping[str, Any],
    lmbda: float | None = None,
    views: Collection[str] | None = None,
) -> Task:
    """A `Task` from a function `loss(x_hat, x)`, an instance, or a class that takes `options`.

    `lmbda` and `views` are for functions only.
    """
    from taskodec.contracts import Task
    from taskodec.contracts.function_task import FunctionTask

    check_task(name, what)
    if isinstance(what, type):
        try:
            task: Task = build(f"task {name!r}", what, options)
        except TaskodecError:
            raise
        except Exception as error:
            raise TaskError(f"task {name!r} cannot be made: {described(error)}") from error
        return task
    if options:
        raise UsageError(f"task {name!r} takes no options, found: {', '.join(options)}")
    return what if isinstance(what, Task) else FunctionTask(name, what, lmbda, views)


def joint_task(
    make: Callable[..., Task], specs: Sequence[Any], shares: Sequence[float], options: Mapping[str, Any]
) -> Task:
    """The task of several, each made with its own of the options, which are by name; the only one as it is.

    UsageError for options of none of them.
    """
    from taskodec.contracts import JointTask, Part

    names = [spec for spec in specs if isinstance(spec, str)]
    for name, own in options.items():
        if name not in names or not isinstance(own, Mapping):
            raise UsageError(
                f"options of several tasks are by name, found {name} = {own!r}{nearest(name, names)}; valid: "
                f"{', '.join(f'{known}={{…}}' for known in names) or 'none'}"
            )
    tasks = [make(spec, **options.get(spec, {})) if isinstance(spec, str) else make(spec) for spec in specs]
    labels = [task.name for task in tasks]
    if len(set(labels)) < len(labels):  # functions of one name, in several files
        labels = [spec if isinstance(spec, str) else label for spec, label in zip(specs, labels, strict=True)]
    if len(tasks) == 1:
        return tasks[0]
    parts = [Part(label, task, share) for label, task, share in zip(labels, tasks, shares, strict=True)]
    return JointTask(",".join(labels), parts)


def build(what: str, load: Callable[..., Any] | str, options: Mapping[str, Any], *positional: Any) -> Any:
    """Call a loader, or what `package.module:name` points to, with the user's options.

    UsageError names those that it does not take. What it raises comes through, but what would end the program is a
    PluginError.
    """
    with named(f"{what}: its import raised", PluginError, Exception):
        target = resolve(load)
    try:
        signature = inspect.signature(target)
    except ValueError:  # of some functions in C there is none: they say themselves what they do not take
        return _made(what, target, options, *positional)
    try:
        signature.bind(*positional, **options)
    except TypeError as error:
        raise UsageError(f"{what}: {error}; options: {_options_of(signature)}") from error
    return _made(what, target, options, *positional)


def _made(what: str, target: Callable[..., Any], options: Mapping[str, Any], *positional: Any) -> Any:
    from taskodec.isolation.ambient import clean
    from taskodec.isolation.randomness import drawn_alone

    with named(f"{what}: its loader raised", PluginError, Exception), clean(), drawn_alone():
        return target(*positional, **options)


def _options_of(signature: inspect.Signature) -> str:
    parameters = signature.parameters.values()
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return ", ".join(named) or "none"
