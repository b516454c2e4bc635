"""`taskodec bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taskodec import cli_common as common
from taskodec.cli_progress import progress_bar
from taskodec.errors import UsageError

__all__ = ["bench"]

NONE = "none"

KODAK = 24
"""Images that published means are over."""


def bench(
    *,
    data: Annotated[list[Path], typer.Option("--data", metavar="DIR|FILE", help="Images to measure on; repeatable.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUTDIR", help="Folder of points and summary.")],
    codec: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=CHECKPOINT]", help="Codec to measure; repeatable.")
    ] = None,
    qualities: Annotated[
        str | None, typer.Option(metavar="1,2,3", help="Qualities of the codecs; all they have without it.")
    ] = None,
    anchors: Annotated[
        str, typer.Option(metavar="NAMES|none", help="Classical codecs to compare with.")
    ] = "jpeg,webp,avif,jpeg2000",
    published: Annotated[
        bool | None,
        typer.Option("--published/--no-published", help="Draw published Kodak curves; done for a folder kodak of 24."),
    ] = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    quiet: common.Quiet = False,
) -> None:
    """Measure codecs on images, untuned and by real files, and compare them with classical codecs.

    Every point goes to OUTDIR/points.jsonl as it is measured; a repeated call measures only what is missing.
    OUTDIR gets summary.md and plots as well.
    """
    names = codec or []
    only = names[0].partition("=")[0] if len(names) == 1 else None
    settings = common.resolve_settings(config, overrides, {"codec.name": only})
    levels = None if qualities is None else _numbers(qualities)
    paths = [file for path in data for file in common.expand(path, common.IMAGE_SUFFIXES)]
    registry = common.load_registry(plugin)
    from taskodec.bench import PointFile, load_lpips, run_bench, sources
    from taskodec.bench_coders import AnchorEntry, Entry, learned_entries
    from taskodec.files import write_atomic
    from taskodec.rd import published_curves, summarise
    from taskodec.rd_report import as_json as to_json
    from taskodec.rd_report import markdown, plot, print_tables

    classical = [] if anchors == NONE else [AnchorEntry(name.strip()) for name in anchors.split(",")]
    images = sources(paths)
    entries: list[Entry] = [*learned_entries(names, settings, registry, levels), *classical]
    file = PointFile(output / "points.jsonl")
    with progress_bar("bench", quiet) as progress:
        points = run_bench(
            images,
            entries,
            file,
            lpips=load_lpips(),
            max_pixels=settings.limits.max_pixels,
            progress=progress,
        )
    summary = summarise(points)
    if published is None:
        published = len(images) == KODAK and any(path.resolve().name.lower() == "kodak" for path in data)
    source, drawn = published_curves() if published else ("", [])
    plots = plot([*summary.curves, *drawn], output)
    write_atomic(output / "summary.md", markdown(summary, plots, source).encode())
    if as_json:
        common.print_json(to_json(summary))
    elif not quiet:
        print_tables(summary)


def _numbers(text: str) -> list[float]:
    """Qualities out of `1,2,3`, ascending, each once."""
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"--qualities {text}: expected numbers with commas between, such as 1,2.5,4") from None
