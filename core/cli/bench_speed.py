"""`taskodec bench --speed`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.cli.bench_call import BenchCall
from taskodec.cli.progress import progress_bar

if TYPE_CHECKING:
    from taskodec.bench.speed import SpeedSummary

__all__ = ["SPEED_ANCHORS", "Rounds", "SpeedFlag", "Threads", "bench_speed"]

SPEED_ANCHORS = "compressai-bmshj2018-hyperprior,compressai-mbt2018-mean"
ROUNDS = 5

SpeedFlag = Annotated[
    bool, typer.Option("--speed", help="Measure seconds only, by stages, against CompressAI's own models.")
]
Rounds = Annotated[
    int | None, typer.Option(min=1, help=f"With --speed: rounds in which codecs take turns; {ROUNDS} without it.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="With --speed: number of threads; that of PyTorch without it.")
]


def bench_speed(call: BenchCall, qualities: Sequence[float] | None, rounds: int | None, threads: int | None) -> None:
    """Time codecs and anchors; speed.md and speed.json go to the output folder.

    Codecs are timed at the quality of the settings, unless there are `qualities`.
    """
    from taskodec.bench.speed import on_cpu, run_speed

    settings = on_cpu(call.settings)
    images = call.images()
    entries = call.entries(settings, [settings.quality] if qualities is None else qualities, SPEED_ANCHORS)
    limit = settings.limits.max_pixels
    with progress_bar("bench", call.quiet) as progress:
        summary = run_speed(
            images, entries, rounds=rounds or ROUNDS, threads=threads, max_pixels=limit, progress=progress
        )
    _report(summary, call)


def _report(summary: SpeedSummary, call: BenchCall) -> None:
    """Write the files, and print what is wanted."""
    from taskodec.bench import speed_report
    from taskodec.cli.run_pages import write_run_page
    from taskodec.files.atomic import write_atomic
    from taskodec.files.plans import writable_folder

    values = speed_report.as_json(summary)
    table, figures = call.output / "speed.md", call.output / "speed.json"
    writable_folder(table.parent)
    write_atomic(table, speed_report.markdown(summary).encode())
    write_atomic(figures, (json.dumps(values, indent=1) + "\n").encode())
    write_run_page(call.output, call.settings)
    if call.as_json:
        common.print_json(values)
    elif not call.quiet:
        speed_report.print_tables(summary)
