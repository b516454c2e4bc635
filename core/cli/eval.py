"""`taskodec eval`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common
from taskodec.cli.progress import progress_bar
from taskodec.errors import UsageError
from taskodec.extras import require
from taskodec.images.sets import list_images

if TYPE_CHECKING:
    from taskodec.bench.fidelity import Source
    from taskodec.evaluation.rows import EvaluationPlan, Lab
    from taskodec.evaluation.summary import EvaluationSummary
    from taskodec.hooks.registry import Registry
    from taskodec.settings.model import Settings, TaskSettings

__all__ = ["evaluate"]

PRETRAINED = "pretrained"
METHODS = f"original,plain,{PRETRAINED},ttft"


def evaluate(
    *,
    data: Annotated[list[Path], typer.Option("--data", metavar="DIR|FILE", help="Images, or COCO's JSON; repeatable.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RESULTS", help="Folder of rows and summary.")],
    task: common.TaskChoice = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="What is in the images, as the task wants it.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="original, plain, pretrained[@ADAPTER], ttft[:PRESET][@ADAPTER], jpeg…"),
    ] = None,
    qualities: Annotated[
        list[str] | None, typer.Option(metavar="[METHOD=]1,2,3", help="Qualities, of one method or all; repeatable.")
    ] = None,
    codec: common.CodecChoice = None,
    quality: common.QualityChoice = None,
    steps: common.StepsChoice = None,
    preset: common.PresetChoice = None,
    seed: common.SeedChoice = None,
    time_budget: common.TimeBudget = None,
    adapter: common.AdapterChoice = None,
    judge: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.py:OBJ", help="Task that judges, instead of the one sent for.")
    ] = None,
    judge_set: Annotated[
        list[str] | None, typer.Option("--judge-set", metavar="KEY=VALUE", help="Option of what judges; repeatable.")
    ] = None,
    only: common.OnlyThese = None,
    images: Annotated[int | None, typer.Option(min=1, help="Only so many images, the first by name.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes, one thread each; one a core without it.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Draws of the bootstrap; 0 for no intervals.")] = 1000,
    report_only: Annotated[bool, typer.Option("--report-only", help="Measure nothing, sum up what is there.")] = False,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    quiet: common.Quiet = False,
) -> None:
    """Measure what a task makes of decoded images, by the rate of real files, and compare ways to send them.

    Every row goes to RESULTS/rows.jsonl as it is measured; a repeated call measures only what is missing. RESULTS gets
    summary.json, report.md and plots as well. Without --methods, original, plain, ttft, and pretrained where there is
    an adapter that was trained.
    """
    require("eval", "`taskodec eval`")
    flags = common.tuning_flags(
        task=task,
        codec=codec,
        quality=quality,
        steps=steps,
        preset=preset,
        seed=seed,
        time_budget=time_budget,
        adapter=adapter,
    )
    if quality is not None:
        if qualities:
            raise UsageError("--quality is one quality for all methods of the codec: give it or --qualities")
        qualities = [repr(quality)]
    paths = sorted(list_images(data, only), key=lambda path: path.name)
    judged = (labels, judge, judge_set or ())
    plan, registry = _plan(methods or METHODS, qualities or (), judged, plugin, config, overrides, flags)
    from taskodec.bench.fidelity import sources
    from taskodec.evaluation.rows import Lab

    found = sources(paths[:images])
    with common.resumable(output / "rows.jsonl"):
        lab = Lab(plan, registry)
        for note in lab.check_adapters(() if methods else (PRETRAINED,)):
            print(f"note: {note}", file=sys.stderr)
        summary = _run(lab, found, output, jobs, resamples, report_only, quiet)
    _write(summary, output)
    _show(summary, as_json, quiet)


def _plan(
    methods: str,
    qualities: Sequence[str],
    judged: tuple[Path | None, str | None, Sequence[str]],
    plugin: Sequence[Path] | None,
    config: Sequence[Path] | None,
    overrides: Sequence[str] | None,
    flags: Mapping[str, Any],
) -> tuple[EvaluationPlan, Registry]:
    """What the options ask for, and the registry with the user's plugins."""

    def resolve(more: Sequence[str]) -> Settings:
        return common.without_target(common.resolve_settings(config, [*(overrides or ()), *more], flags))

    settings = resolve(())
    registry = common.load_registry(plugin)
    from taskodec.evaluation.methods import method_settings, parse_methods, parse_qualities
    from taskodec.evaluation.rows import EvaluationPlan

    chosen = parse_methods(methods, registry)
    labels, judge, judge_set = judged
    plan = EvaluationPlan(
        settings,
        tuple((method, method_settings(method, resolve) if method.learned else None) for method in chosen),
        parse_qualities(qualities, chosen),
        labels,
        tuple(plugin or ()),
        _judge(settings.task.name, judge, judge_set),
    )
    return plan, registry


def _judge(task: str, name: str | None, options: Sequence[str]) -> TaskSettings | None:
    """What judges, if it is something else: another task, or the same with other options."""
    from taskodec.settings.layers import Layers, parse_override
    from taskodec.settings.model import TaskSettings

    if name is None and not options:
        return None
    layers = Layers()
    for text in options:
        layers.add(parse_override(text), f"--judge-set {text}")
    return TaskSettings(name=name or task, options=layers.values)


def _run(
    lab: Lab,
    found: Sequence[Source],
    output: Path,
    jobs: int | None,
    resamples: int,
    report_only: bool,
    quiet: bool,
) -> EvaluationSummary:
    """Measure what the rows do not have yet, and sum up."""
    from taskodec.evaluation.pool import default_processes, measure_rows
    from taskodec.evaluation.rows import row_file
    from taskodec.evaluation.summary import complete_rows, summarise

    wanted = lab.jobs(found)
    file = row_file(output)
    left_out = 0
    if report_only:
        there = [row for job in wanted if (row := file.find(job.key)) is not None]
        rows = complete_rows(there, len(wanted) // len(found))
        if not rows:
            raise UsageError(f"{file.path} has no image with all of these methods and qualities: measure first")
        left_out = len(found) - len({row.image for row in rows})
    else:
        with progress_bar("eval", quiet) as progress:
            rows = measure_rows(lab, wanted, file, jobs or default_processes(lab), progress)
    with progress_bar("bootstrap", quiet) as progress:
        return summarise(
            rows,
            [method for method, _ in lab.plan.methods],
            lab.evaluator,
            task=lab.task.name,
            about=lab.about(),
            left_out=left_out,
            resamples=resamples,
            progress=progress,
        )


def _write(summary: EvaluationSummary, output: Path) -> None:
    """Write the summary, the plots, and the report with them."""
    import json

    from taskodec.evaluation.report import as_json, markdown, plot
    from taskodec.files.atomic import write_atomic

    write_atomic(output / "summary.json", (json.dumps(common.finite(as_json(summary)), indent=1) + "\n").encode())
    plots = plot(summary, output)
    write_atomic(output / "report.md", markdown(summary, plots).encode())


def _show(summary: EvaluationSummary, as_json: bool, quiet: bool) -> None:
    """Print the summary, if it is wanted."""
    from taskodec.evaluation import report as evaluation_report

    if as_json:
        common.print_json(evaluation_report.as_json(summary))
    elif not quiet:
        evaluation_report.print_tables(summary)
