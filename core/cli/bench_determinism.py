"""`taskodec bench --determinism`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.cli.bench_call import BenchCall
from taskodec.cli.progress import progress_bar
from taskodec.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from taskodec.bench.determinism import Agreement
    from taskodec.bench.fidelity import Source

__all__ = ["DeterminismFlag", "bench_determinism"]

DeterminismFlag = Annotated[
    bool, typer.Option("--determinism", help="Count what decodes otherwise under other threads, precisions, runtimes.")
]


def bench_determinism(call: BenchCall, qualities: Sequence[float] | None) -> None:
    """Decode streams of every codec under every runtime; determinism.md and .json go to the output folder."""
    from taskodec.bench.coders import learned_entries
    from taskodec.bench.determinism import RUNTIMES, check_agreement

    if call.anchors is not None:
        raise UsageError("--anchors: not with --determinism, which is about networks; leave it out")
    settings = call.settings.model_copy(update={"device": "cpu"})
    images = [_loader(source, settings.limits.max_pixels) for source in call.images()]
    results: dict[str, list[Agreement]] = {}
    for entry in learned_entries(call.codecs, settings, call.registry, qualities):
        with progress_bar(f"determinism of {entry.name}", call.quiet) as progress:
            codec = entry.compressor.codec
            results[entry.name] = check_agreement(codec, images, entry.qualities, RUNTIMES, progress)
    _report(results, call)


def _loader(source: Source, limit: int) -> Callable[[], Tensor]:
    def load() -> Tensor:
        from taskodec.images.tensors import load_image

        return load_image(source.path, max_pixels=limit).x

    return load


def _report(results: dict[str, list[Agreement]], call: BenchCall) -> None:
    """Write the files, and print what is wanted."""
    from taskodec.bench.determinism import as_json, tables
    from taskodec.bench.tables import markdown_tables, print_report
    from taskodec.cli.run_pages import write_run_page
    from taskodec.files.atomic import write_atomic
    from taskodec.files.plans import writable_folder

    values, shown = as_json(results), tables(results)
    table, figures = call.output / "determinism.md", call.output / "determinism.json"
    writable_folder(table.parent)
    write_atomic(table, "\n\n".join(["# Determinism", *markdown_tables(shown), ""]).encode())
    write_atomic(figures, (json.dumps(values, indent=1) + "\n").encode())
    write_run_page(call.output, call.settings)
    if call.as_json:
        common.print_json(values)
    elif not call.quiet:
        print_report(shown, [])
