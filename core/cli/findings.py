"""What `taskodec doctor` looks at, each with what to do where something is missing. No torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from taskodec.cli import probes

if TYPE_CHECKING:
    from taskodec.hooks.registry import Registry

__all__ = ["Finding", "findings"]

State = Literal["fine", "missing", "broken"]
"""As it should be; not here, and only some things need it; without it nothing works."""

MODULES = {"pillow": "PIL", "pyyaml": "yaml"}
"""How distributions are imported, where it is not by their name."""

WEIGHTS = {
    "package": "in installed packages",
    "verified": "fetched",
    "here": "here, not yet verified",
    "missing": "fetched when first used",
}
"""What `taskodec.files.weights.WeightsState` means."""

OLDEST = (3, 11)

TORCH = ("torch", "torchvision")
"""These must be of one build; whatever imports them says the same where they are not."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do about it."""

    name: str
    state: State
    found: str
    advice: str = ""


def findings() -> Iterator[Finding]:
    """Everything, in the order in which things need each other."""
    yield _python()
    packages = list(_packages())
    yield from packages
    usable = all(finding.state != "broken" for finding in packages)
    if usable:
        yield from _devices()
        yield _coding()
    yield from _extras()
    yield from _cache()
    yield from _registered(usable)


def _python() -> Finding:
    import taskodec

    found = f"{platform.python_version()} on {platform.platform()}; taskodec {taskodec.__version__}"
    if sys.version_info < OLDEST:
        return Finding("Python", "broken", found, "taskodec needs Python 3.11 or later: make a new environment with it")
    return Finding("Python", "fine", f"{found}, {Path(taskodec.__file__).parent}")


def _packages() -> Iterator[Finding]:
    """Those that taskodec always needs, tried by importing them."""
    try:
        needed = [text for text in metadata.requires("taskodec") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "broken", "taskodec itself is not installed", "install it: `pip install .`")
        return
    names = [re.split(r"[^\w.-]", text)[0] for text in needed]
    modules = {name: MODULES.get(name.lower(), name.replace("-", "_")) for name in names}
    problems = probes.imported(list(modules.values()))
    fine = []
    for name, text in zip(names, needed, strict=True):
        version = _version(name)
        if problem := problems.get(modules[name]) or ("" if version else "not installed"):
            cause = next((other for other in TORCH if problems.get(other) == problem), name)
            advice = _install(name, text) if cause == name else f"mend {cause} first, on which it depends"
            yield Finding(name, "broken", f"{version or 'none'}: {problem}", advice)
        elif _older(version, text):
            yield Finding(name, "broken", f"{version}, and {text} is needed", _install(name, text))
        else:
            fine.append(f"{name} {version}")
    yield Finding("packages", "fine", ", ".join(fine))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _older(version: str, requirement: str) -> bool:
    """Whether a version is below the lower bound of a requirement."""
    bound = re.search(r">=\s*([\d.]+)", requirement)
    return bound is not None and _numbers(version) < _numbers(bound[1])


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _install(name: str, requirement: str) -> str:
    if name in TORCH:
        return (
            "install both again, from one index: `pip install --force-reinstall torch torchvision`, for a machine "
            "without GPU with `--index-url https://download.pytorch.org/whl/cpu`"
        )
    return f"`pip install --force-reinstall '{requirement.partition(';')[0].strip()}'`"


def _devices() -> Iterator[Finding]:
    probed = probes.devices()
    if probed.failure or not probed.said:
        yield Finding("devices", "missing", probed.failure or "PyTorch says nothing", "set `--set device=cpu`")
        return
    ((about,),) = probed.said
    build = f"built for CUDA or ROCm {about['build']}" if about["build"] else "built for the CPU"
    found = ", ".join([*about["gpus"], *(["Apple's GPU"] if about["mps"] else [])]) or "the CPU"
    nvidia = shutil.which("nvidia-smi") is not None and not about["gpus"]
    advice = ""
    if nvidia and not about["build"]:
        advice = "there is an NVIDIA driver, but this PyTorch is for the CPU: `pip install --force-reinstall torch`"
    elif nvidia:
        advice = "there is an NVIDIA driver, but PyTorch sees no GPU: look at `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    yield Finding("devices", "missing" if advice else "fine", f"{found}; PyTorch {about['torch']}, {build}", advice)
    threads = f"{about['threads']} of PyTorch, {about['cores']} cores"
    few = about["threads"] == 1 < about["cores"] and "OMP_NUM_THREADS" in os.environ
    yield Finding("threads", "fine", threads + ("; OMP_NUM_THREADS is set" if few else ""))


def _coding() -> Finding:
    if problem := probes.coded():
        return Finding("coding", "broken", problem, "run `taskodec -vv compress PHOTO --steps 1` to see where")
    return Finding("coding", "fine", "a small picture was tuned by a step, compressed and decompressed")


def _extras() -> Iterator[Finding]:
    from taskodec.extras import EXTRAS, missing

    for extra in sorted(EXTRAS):
        found, _, advice = missing(extra).partition(": ")
        yield Finding(f"extra {extra}", "missing" if found else "fine", found or ", ".join(EXTRAS[extra]), advice)


def _cache() -> Iterator[Finding]:
    from taskodec.errors import TaskodecError
    from taskodec.files.downloads import DownloadOptions
    from taskodec.files.weights import cache_folder

    try:
        folder, options = cache_folder(), DownloadOptions.from_environment()
    except TaskodecError as error:
        yield Finding("cache", "missing", str(error), "set HOME or TORCH_HOME to a folder")
        return
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = f"{shutil.disk_usage(there).free / 2**30:.1f} GiB free"
        yield Finding("cache", "fine", f"{folder}, {free}" + ("" if there == folder else ", made when needed"))
    except OSError as error:
        why = f"{folder}: nothing can be written to {there}: {error.strerror or error}"
        yield Finding("cache", "missing", why, "set TORCH_HOME to a folder that you may write to")
    if options.offline:
        yield Finding("downloads", "missing", "switched off by TASKODEC_OFFLINE", "unset it to download weights")
    else:
        yield Finding("downloads", "fine", f"allowed; mirrors: {', '.join(options.mirrors) or 'none'}")


def _registered(usable: bool) -> Iterator[Finding]:
    """Plugins, tasks, and the weights that networks need."""
    try:
        from taskodec.hooks.registry import default_registry

        registry = default_registry()
    except ImportError as error:  # said above: a package is broken
        yield Finding("plugins", "broken", f"cannot be listed: {error}", "mend what is named above first")
        return
    for name, reason in registry.failures.items():
        yield Finding(f"plugin {name}", "missing", reason, "mend or uninstall it; all else works without it")
    yield from _tasks(registry, probes.tasks() if usable else {})
    states = [file.state() for file in registry.weights.values()]
    counted = ", ".join(f"{states.count(state)} {said}" for state, said in WEIGHTS.items() if state in states)
    yield Finding("weights", "fine", f"{counted or 'none'}; `taskodec models list` names them")


def _tasks(registry: Registry, problems: dict[str, str]) -> Iterator[Finding]:
    ready = [name for name, problem in problems.items() if not problem]
    if ready:
        yield Finding("tasks", "fine", f"{', '.join(ready)} can be used without a download")
    for name, spec in registry.tasks.items():
        problem = spec.unavailable or problems.get(name, "")
        if problem:
            advice = _advice(problem, list(registry.weights))
            said = problem.partition(" and could not be downloaded")[0] if advice else problem
            yield Finding(f"task {name}", "missing", said, advice)


def _advice(problem: str, weights: Sequence[str]) -> str:
    """What to do where a task's weights are not here."""
    named = [name for name in weights if f"weights of {name} " in problem]
    return f"`taskodec models fetch {named[0]}`" if named else ""
