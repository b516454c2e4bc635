"""What an installation can do, asked in processes of their own: a package that crashes ends only that.

No torch here: what looks at it runs as a script in the other process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Probed", "coded", "devices", "imported", "tasks"]

LONGEST = 300
"""Seconds for one process."""

MARK = "taskodec-doctor:"
"""Before what a script says: packages may print when they are imported."""

SAY = f"import json, sys\ndef say(*what): print({MARK!r} + json.dumps(what), flush=True)\n"

IMPORTS = """
import importlib
for name in sys.argv[1:]:
    say(name, "")
    try:
        importlib.import_module(name)
    except BaseException as error:
        say(name, f"{type(error).__name__}: {error}")
say("", "")
"""

DEVICES = """
import os, torch
cuda = torch.cuda.is_available()
count = torch.cuda.device_count() if cuda else 0
gpus = [torch.cuda.get_device_properties(i) for i in range(count)]
say(dict(
    torch=torch.__version__, build=torch.version.cuda or getattr(torch.version, "hip", None) or "",
    gpus=[f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus],
    mps=torch.backends.mps.is_available(), threads=torch.get_num_threads(), cores=os.cpu_count(),
))
"""

TASKS = """
from taskodec.errors import TaskodecError
from taskodec.hooks.registry import default_registry
from taskodec.settings.model import load_settings
registry = default_registry()
for name, spec in registry.tasks.items():
    if spec.unavailable:
        continue
    say(name, None)
    try:
        registry.task_from(name, **load_settings(flags={"task.name": name}).task.options)
        say(name, "")
    except TaskodecError as error:
        say(name, str(error))
    except BaseException as error:
        say(name, f"{type(error).__name__}: {error}")
"""

PICTURE = b"P6 32 24 255\n" + bytes(32 * 24 * 3)
"""A PPM, which needs nothing to be made."""


@dataclass(frozen=True)
class Probed:
    """What a process said, and how it failed; empty if it did not."""

    said: Sequence[Any]
    failure: str = ""


def imported(modules: Sequence[str]) -> dict[str, str]:
    """Why each module cannot be imported, empty for those that can; also after one that ends the process."""
    found: dict[str, str] = {}
    rest = list(modules)
    while rest:
        probed = _run(IMPORTS, rest)
        begun = dict.fromkeys(rest, None)
        for name, problem in probed.said:
            if name:
                found[name] = problem
                begun.pop(name, None)
        if not probed.failure:
            break
        last = next((name for name, _ in reversed(probed.said) if name), rest[0])
        found[last] = found.get(last) or probed.failure
        rest = [name for name in begun if name != last]
    return found


def devices() -> Probed:
    """What PyTorch computes on; one mapping."""
    return _run(DEVICES, ())


def tasks() -> dict[str, str]:
    """Why each task cannot be used without a download, empty for those that can."""
    probed = _run(TASKS, (), {"TASKODEC_OFFLINE": "1"})
    found = {name: problem for name, problem in probed.said if problem is not None}
    begun = [name for name, problem in probed.said if problem is None]
    if probed.failure:
        found[begun[-1] if begun else "tasks"] = probed.failure
    return found


def coded() -> str:
    """Why a small picture cannot be tuned by a step, compressed and decompressed by the command; empty if it can."""
    call = [sys.executable, "-m", "taskodec"]
    tuned = ["--task", "human", "--steps", "1", "--preset", "latents", "--quiet"]
    try:
        stream = _piped([*call, "compress", "-", "-o", "-", *tuned], PICTURE)
        picture = _piped([*call, "decompress", "-", "-o", "-", "--quiet"], stream)
    except _FailedError as error:
        return str(error)
    return "" if picture.startswith(b"\x89PNG") else "what was decompressed is no picture"


class _FailedError(Exception):
    """A process did not do what it should."""


def _piped(call: Sequence[str], given: bytes) -> bytes:
    try:
        done = subprocess.run(call, input=given, capture_output=True, timeout=LONGEST, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _FailedError(str(error)) from error
    if done.returncode:
        raise _FailedError(_last(done.stderr.decode(errors="replace"), done.returncode))
    return done.stdout


def _run(script: str, arguments: Sequence[str], more: Mapping[str, str] | None = None) -> Probed:
    call = [sys.executable, "-c", SAY + script, *arguments]
    try:
        done = subprocess.run(
            call, capture_output=True, timeout=LONGEST, check=False, env={**os.environ, **(more or {})}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Probed((), str(error))
    lines = done.stdout.decode(errors="replace").splitlines()
    said = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    return Probed(said, _last(done.stderr.decode(errors="replace"), done.returncode) if done.returncode else "")


def _last(errors: str, code: int) -> str:
    """The last line of what a process complained of, or the signal that ended it."""
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"the process ended with exit code {code}"
