"""The page of a folder of `eval` or `bench`, made when it is written or later."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from taskodec.extras import missing
from taskodec.files.runs import note_call, read_json, runs_of

if TYPE_CHECKING:
    from taskodec.report.run_page import RunPart
    from taskodec.settings.model import Settings

__all__ = ["PAGE", "page_of_run", "write_run_page"]

PAGE = "report.html"


def write_run_page(folder: Path, settings: Settings) -> None:
    """Note the call in the folder, and make its page; a note says why there is none: what was measured is kept."""
    from taskodec.errors import TaskodecError
    from taskodec.files.atomic import write_atomic

    note_call(folder, settings.model_dump(mode="json", exclude={"train", "pretrain"}))
    if problem := missing("report"):
        print(f"note: no {PAGE}: {problem}", file=sys.stderr)
        return
    try:
        page = page_of_run(folder)
    except TaskodecError as error:  # of another file in the folder, perhaps
        print(f"note: no {PAGE}: {error}", file=sys.stderr)
        return
    write_atomic(folder / PAGE, page.encode())


def page_of_run(folder: Path) -> str:
    """All that the folder's files say; UsageError if they cannot be read, or say nothing yet."""
    from taskodec.errors import UsageError
    from taskodec.report.run_page import run_page

    parts = _parts(folder)
    if not parts:
        raise UsageError(
            f"{folder} has rows but no summary yet: repeat the call of `taskodec eval` or `taskodec bench`, with "
            "--report-only if nothing more is to be measured"
        )
    figures = sorted(path.name for path in folder.iterdir() if path.suffix in (".png", ".svg"))
    return run_page(parts, runs_of(folder), figures)


def _parts(folder: Path) -> list[RunPart]:
    """A part for each file that sums something up, in a fixed order."""
    makers = {
        "summary.json": _evaluation,
        "ablation.json": _ablation,
        "suite.json": _suite,
        "rates.json": _rates,
        "points.jsonl": _points,
        "speed.json": _speed,
        "determinism.json": _determinism,
    }
    there = [name for name in makers if (folder / name).is_file()]
    if "rates.json" in there and "points.jsonl" in there:
        there.remove("points.jsonl")  # which it sums up
    return [makers[name](folder / name) for name in there]


def _evaluation(path: Path) -> RunPart:
    from taskodec.evaluation.pages import evaluation_part, read_evaluation
    from taskodec.evaluation.rows import row_file

    summary = read_evaluation(read_json(path), path)
    rows = row_file(path.parent).rows() if (path.parent / "rows.jsonl").is_file() else []
    return evaluation_part(summary, rows)


def _ablation(path: Path) -> RunPart:
    from taskodec.evaluation.pages import ablation_part, read_ablation

    return ablation_part(read_ablation(read_json(path), path))


def _suite(path: Path) -> RunPart:
    from taskodec.evaluation.pages import read_suite_summary, suite_part

    return suite_part(read_suite_summary(read_json(path), path))


def _rates(path: Path) -> RunPart:
    from taskodec.bench.pages import rates_part, read_rates

    return rates_part(read_rates(read_json(path), path))


def _points(path: Path) -> RunPart:
    """Of a folder that was written before there was a rates.json."""
    from taskodec.bench.fidelity import PointFile
    from taskodec.bench.pages import rates_of_points, rates_part
    from taskodec.errors import UsageError

    summary = rates_of_points(PointFile(path).rows())
    if not summary.curves:
        raise UsageError(f"{path} has no picture with all codecs and qualities: repeat the call of `taskodec bench`")
    return rates_part(summary)


def _speed(path: Path) -> RunPart:
    from taskodec.bench.pages import speed_part

    return speed_part(read_json(path), path)


def _determinism(path: Path) -> RunPart:
    from taskodec.bench.pages import determinism_part

    return determinism_part(read_json(path), path)
