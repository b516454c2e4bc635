"""Pages about runs of `eval` and `bench`: curves, tables, and what was run where."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskodec.report.charts import Chart, drawn
from taskodec.report.page import rendered

__all__ = ["RunPart", "TableLike", "framed", "run_page"]


@dataclass(frozen=True)
class TableLike:
    """A title, the heads of the columns, and rows of as many cells; `folded` for one that is long."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False


@dataclass(frozen=True)
class RunPart:
    """What one kind of measurement amounts to; `lead` says what it was in a sentence."""

    title: str
    lead: str
    charts: Sequence[Chart]
    tables: Sequence[TableLike]
    notes: Sequence[str] = ()


def run_page(parts: Sequence[RunPart], runs: Sequence[Mapping[str, Any]] = (), files: Sequence[str] = ()) -> str:
    """The page of a run's parts. `runs` are its calls, as they were noted; `files` lie beside it, such as figures."""
    shown = [
        {"part": part, "charts": [one for one in map(drawn, part.charts) if one is not None], "id": f"r{number}"}
        for number, part in enumerate(parts, 1)
    ]
    calls = [_call(run) for run in runs]
    return rendered("run.html", title=" · ".join(part.title for part in parts), parts=shown, calls=calls, files=files)


def framed(parts: Sequence[RunPart]) -> str:
    """The page in a frame, as a notebook shows it: its styles and scripts stay its own."""
    page = html.escape(run_page(parts))
    title = html.escape(parts[0].title)
    return f'<iframe srcdoc="{page}" title="{title}" style="width: 100%; height: 42rem; border: 0"></iframe>'


def _call(run: Mapping[str, Any]) -> dict[str, Any]:
    """A noted call, whoever wrote the file: what is not as expected is left out."""
    command = run.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    found = run.get("environment")
    environment = {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}
    settings = json.dumps(run.get("settings"), indent=1) if isinstance(run.get("settings"), Mapping) else ""
    return {
        "command": shlex.join(words),
        "when": str(run.get("when", "")),
        "environment": environment,
        "settings": settings,
    }
