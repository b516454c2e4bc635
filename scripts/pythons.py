"""The other Pythons of this machine that taskodec is for: a line with version and program for each, oldest first.

    python scripts/pythons.py

Looked for on PATH (`python3.12`, …) and among pyenv's versions. One of each version is enough; what does not start,
cannot make virtual environments, or has the version of the Python that runs this, is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

NAME = re.compile(r"python3\.\d+(\.exe)?")
ASK = "import sys, venv, ensurepip; print(*sys.version_info[:2])"


def candidates() -> Iterator[Path]:
    """All programs called `python3.N`, those that a shell would find first."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    if pyenv := shutil.which("pyenv"):
        found = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        folders += sorted(Path(found.stdout.strip()).glob("versions/*/bin"), reverse=True)
    for folder in folders:
        try:
            yield from (path for path in folder.iterdir() if NAME.fullmatch(path.name))
        except OSError:  # PATH may name what is no folder
            continue


def version_of(program: Path) -> tuple[int, int] | None:
    """Its version, or None if it does not start or lacks a part."""
    try:
        done = subprocess.run([program, "-c", ASK], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor = map(int, done.stdout.split())
    return major, minor


def others(programs: Iterable[Path], lowest: tuple[int, int]) -> dict[tuple[int, int], Path]:
    """The first program of each version from `lowest` on, but for that of this process, in order."""
    found: dict[tuple[int, int], Path] = {}
    for program in programs:
        version = version_of(program)
        if version is not None and version >= lowest and version != sys.version_info[:2]:
            found.setdefault(version, program)
    return dict(sorted(found.items()))


def lowest_supported() -> tuple[int, int]:
    """Of `requires-python` in pyproject.toml."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    major, minor = tomllib.loads(text)["project"]["requires-python"].removeprefix(">=").split(".")[:2]
    return int(major), int(minor)


if __name__ == "__main__":
    for (major, minor), path in others(candidates(), lowest_supported()).items():
        print(f"{major}.{minor} {path}")
