"""What rows of an evaluation say that they depend on, of tasks and of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import taskodec
from taskodec.errors import UsageError
from taskodec.files.inputs import MOST_LABELS, read_input
from taskodec.hooks.registry import Registry
from taskodec.settings.model import TaskSettings

__all__ = ["digest_of", "digests_of", "task_version"]


def task_version(task: TaskSettings, registry: Registry) -> dict[str, Any]:
    """The task, its options, and the file it is written in, if that is one of the user's; of several those of each."""
    if len(task.members) > 1:
        parts = [TaskSettings(name=name, options=task.options.get(name, {})) for name in task.members]
        return {"parts": [task_version(part, registry) for part in parts], "shares": task.spec}
    name = task.name
    file = name.rpartition(":")[0] if ".py:" in name else registry.tasks.owner(name)
    source = digest_of(Path(file)) if file.endswith(".py") else None
    label = name.rpartition(":")[2] if source and ".py:" in name else name
    return {"taskodec": taskodec.__version__, "name": label, "options": task.options, "file": source}


def digest_of(path: Path | None) -> str | None:
    """Of the bytes of a file, or of all files below a folder with their names; None if there is none."""
    if path is None:
        return None
    digest = hashlib.sha256()
    try:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(read_input(file.absolute(), MOST_LABELS))
    except OSError as error:
        raise UsageError(f"cannot open {error.filename or path}: {error.strerror or error}") from error
    return digest.hexdigest()[:16]


def digests_of(paths: Path | Mapping[str, Path] | None) -> str | dict[str, str | None] | None:
    """`digest_of` a path, or of each by name."""
    return {name: digest_of(path) for name, path in paths.items()} if isinstance(paths, Mapping) else digest_of(paths)
