"""`taskodec bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common
from taskodec.cli.bench_call import BenchCall
from taskodec.cli.bench_determinism import DeterminismFlag, bench_determinism
from taskodec.cli.bench_speed import Rounds, SpeedFlag, Threads, bench_speed
from taskodec.cli.bench_suite import SuiteFlag, WeightFiles, bench_suite
from taskodec.cli.bench_ttft import (
    Images,
    Jobs,
    Labels,
    Only,
    ReportOnly,
    Tasks,
    TTFTCall,
    TTFTFlag,
    VariantFile,
    bench_ttft,
)
from taskodec.cli.progress import progress_bar
from taskodec.errors import UsageError
from taskodec.extras import require

if TYPE_CHECKING:
    from taskodec.bench.coders import Entry
    from taskodec.bench.fidelity import Source
    from taskodec.bench.published import PublishedCurve
    from taskodec.bench.rd import Summary
    from taskodec.settings.model import Settings

__all__ = ["bench"]

ANCHORS = "jpeg,webp,avif,jpeg2000"
POINTS = "points.jsonl"


Data = Annotated[list[Path], typer.Option("--data", metavar="DIR|FILE", help="Images to measure on; repeatable.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUTDIR", help="Folder of points and summary.")]
Codecs = Annotated[
    list[str] | None, typer.Option("--codec", metavar="NAME[=CHECKPOINT]", help="Codec to measure; repeatable.")
]
Qualities = Annotated[
    str | None, typer.Option(metavar="1,2,3", help="Of the codecs; without it all, with --speed and --ttft one.")
]
Anchors = Annotated[
    str | None,
    typer.Option(metavar="NAMES|none", help=f"Anchors to compare with; {ANCHORS} without it, or those of --speed."),
]
Published = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE.json|DIR", help="Results of CompressAI to draw as not measured here; repeatable."),
]


def bench(
    *,
    data: Data,
    output: Output,
    codec: Codecs = None,
    qualities: Qualities = None,
    quality: common.QualityChoice = None,
    anchors: Anchors = None,
    published: Published = None,
    determinism: DeterminismFlag = False,
    speed: SpeedFlag = False,
    rounds: Rounds = None,
    threads: Threads = None,
    ttft: TTFTFlag = False,
    suite: SuiteFlag = False,
    weights: WeightFiles = None,
    task: Tasks = None,
    labels: Labels = None,
    images: Images = None,
    jobs: Jobs = None,
    variants: VariantFile = None,
    only: Only = None,
    report_only: ReportOnly = False,
    steps: common.StepsChoice = None,
    seed: common.SeedChoice = None,
    time_budget: common.TimeBudget = None,
    adapter: common.AdapterChoice = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    quiet: common.Quiet = False,
) -> None:
    """Measure codecs on images, untuned and by real files, and compare them with anchors.

    Every point goes to OUTDIR/points.jsonl as it is measured; a repeated call measures only what is missing.
    OUTDIR gets summary.md and plots as well; with --speed or --determinism, a report and figures of that name only.
    With --ttft, codecs are tuned in several ways, which are compared with each other: rows.jsonl and ablation.md;
    --steps, --seed, --time-budget and --adapter are then for all ways that do not set them themselves.
    With --suite as well, many losses, the default against a grid of settings: suite.md.
    """
    kind = _kind(speed=speed, determinism=determinism, ttft=ttft)
    if kind in ("", "ttft"):
        require("eval", "`taskodec bench`")
    if kind == "determinism":
        require("export", "`taskodec bench --determinism`")
    alone = codec[0].partition("=")[0] if codec and len(codec) == 1 else None
    tuning = {"steps": steps, "seed": seed, "time_budget": time_budget, "adapter": adapter}
    resolve = _resolver(config, overrides, common.tuning_flags(codec=alone, quality=quality, **tuning))
    levels = _levels(qualities, quality)
    paths = [file for path in data for file in common.expand(path, common.IMAGE_SUFFIXES)]
    registry = common.load_registry(plugin)
    call = BenchCall(paths, codec or [], anchors, output, resolve("", ()), registry, as_json, quiet)
    own = TTFTCall(
        task or (), labels or (), images, jobs, variants, only, report_only, plugin or (), resolve, weights or ()
    )
    _refuse("only with --speed", {} if speed else {"--rounds": rounds, "--threads": threads})
    flags = {f"--{name.replace('_', '-')}": value for name, value in tuning.items()}
    _refuse("only with --ttft", {} if ttft else {**own.given(), **flags, "--suite": suite})
    _refuse("only with --suite", {} if suite else {"--weights": weights})
    _refuse(
        "not with --speed, --determinism or --ttft, which draw no curves", {"--published": published} if kind else {}
    )
    benches = {
        "determinism": lambda: bench_determinism(call, levels),
        "speed": lambda: bench_speed(call, levels, rounds, threads),
        "ttft": lambda: (bench_suite if suite else bench_ttft)(call, own, levels),
    }
    benches.get(kind, lambda: _bench_rates(call, levels, published or ()))()


def _resolver(
    config: Sequence[Path] | None, overrides: Sequence[str] | None, flags: Mapping[str, Any]
) -> Callable[[str, Sequence[str]], Settings]:
    """Settings for a task, "" for that of the settings, with further texts for `--set`."""

    def resolve(task: str, more: Sequence[str]) -> Settings:
        given = {**flags, "task.name": task or None}
        return common.without_target(common.resolve_settings(config, [*(overrides or ()), *more], given))

    return resolve


def _kind(**chosen: bool) -> str:
    """The benchmark that was asked for, "" for that of rates; UsageError for several."""
    found = [name for name, value in chosen.items() if value]
    if len(found) > 1:
        raise UsageError("--speed, --determinism and --ttft are benchmarks of their own; give one of them")
    return found[0] if found else ""


def _refuse(why: str, options: Mapping[str, object]) -> None:
    """UsageError if any of these options of another kind of benchmark was given."""
    if given := [name for name, value in options.items() if not (value is None or value is False or value == ())]:
        raise UsageError(f"{', '.join(given)}: {why}; leave it out")


def _bench_rates(call: BenchCall, levels: Sequence[float] | None, published: Sequence[Path]) -> None:
    """Measure rates and fidelity, and compare them."""
    from taskodec.bench.published import read_published

    drawn = read_published(published)
    images, entries = call.images(), call.entries(call.settings, levels, ANCHORS)
    with common.resumable(call.output / POINTS):
        summary = _measure(images, entries, call.output, call.settings, call.quiet)
    _write(summary, drawn, call.output)
    _show(summary, call.as_json, call.quiet)


def _measure(
    images: Sequence[Source], entries: Sequence[Entry], output: Path, settings: Settings, quiet: bool
) -> Summary:
    """Measure what OUTDIR/points.jsonl does not hold yet."""
    from taskodec.bench.fidelity import PointFile, run_bench
    from taskodec.bench.rd import summarise
    from taskodec.images.metrics import load_lpips

    file, limit = PointFile(output / POINTS), settings.limits.max_pixels
    with progress_bar("bench", quiet) as progress:
        return summarise(run_bench(images, entries, file, lpips=load_lpips(), max_pixels=limit, progress=progress))


def _write(summary: Summary, published: Sequence[PublishedCurve], output: Path) -> None:
    """Write the plots, and summary.md with them."""
    from taskodec.bench.rd_report import markdown, plot
    from taskodec.files.atomic import write_atomic

    plots = plot(summary.curves, output, published)
    write_atomic(output / "summary.md", markdown(summary, plots, published).encode())


def _show(summary: Summary, as_json: bool, quiet: bool) -> None:
    """Print the summary, if it is wanted."""
    from taskodec.bench import rd_report

    if as_json:
        common.print_json(rd_report.as_json(summary))
    elif not quiet:
        rd_report.print_tables(summary)


def _levels(qualities: str | None, quality: float | None) -> list[float] | None:
    """The qualities to measure; None for those that go with the kind of benchmark. UsageError if both are given."""
    if quality is not None and qualities is not None:
        raise UsageError("--quality is --qualities with one of them: give either")
    return _numbers(qualities) if qualities is not None else None if quality is None else [quality]


def _numbers(text: str) -> list[float]:
    """Qualities out of `1,2,3`, ascending, each once."""
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"--qualities {text}: expected numbers with commas between, such as 1,2.5,4") from None
