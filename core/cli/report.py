"""`taskodec report`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common
from taskodec.cli.judges import read_beside
from taskodec.cli.progress import progress_bar
from taskodec.console.interrupt import exit_code
from taskodec.console.terminal import about, escaped
from taskodec.errors import TaskodecError, UsageError
from taskodec.extras import require
from taskodec.files.inputs import STANDARD, argument, most_bytes
from taskodec.files.outputs import results_to
from taskodec.files.plans import Job, make_folder
from taskodec.files.runs import is_run
from taskodec.sources.entries import Entry

if TYPE_CHECKING:
    from taskodec.api.compressor import Compressor
    from taskodec.contracts import Task
    from taskodec.hooks.registry import Registry
    from taskodec.report.study import Study
    from taskodec.settings.model import TaskSettings

__all__ = ["report"]

PAGE = "report.html"


def report(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", parser=argument, help="Images, folders of images; or one folder of a run."),
    ],
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PAGE", help=f"File of the page, {PAGE} without it; or -.")
    ] = None,
    codec: common.CodecChoice = None,
    quality: common.QualityChoice = None,
    task: common.TaskChoice = None,
    steps: common.StepsChoice = None,
    preset: common.PresetChoice = None,
    seed: common.SeedChoice = None,
    time_budget: common.TimeBudget = None,
    adapter: common.AdapterChoice = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]TASK", help="Another task that is asked what it sees; repeatable."),
    ] = None,
    judge_set: Annotated[
        list[str] | None,
        typer.Option("--judge-set", metavar="[NAME.]KEY=VALUE", help="Option of what judges; repeatable."),
    ] = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
) -> None:
    """Make a page that shows what became of pictures, or what a run of eval or bench has measured.

    Pictures are compressed as by `compress`, and again without adapter and tuning into as many bytes; the page, one
    file of HTML that needs no network, has both beside the original, what the task and every --judge see in each,
    where the bits went, what changed, and how tuning went. Several pictures share a page. A folder of `taskodec eval`
    or `taskodec bench` becomes a page of curves and tables; nothing is measured anew.
    """
    require("report", "`taskodec report`")
    target = Job(inputs[0], argument(output or PAGE))
    if len(inputs) == 1 and is_run(inputs[0]):
        _of_run(inputs[0], target, quiet=quiet, force=force, as_json=as_json)
        return
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
    settings = common.resolve_settings(config, overrides, flags)
    sources = [source for path in inputs for source in common.expand(path, common.IMAGE_SUFFIXES)]
    _check(sources, target, force=force)
    wanted = read_beside(settings.task, judge or (), judge_set or ())
    registry = common.load_registry(plugin)
    from taskodec.api.compressor import Compressor

    with warnings.catch_warnings(record=True) as heard:
        compressor = Compressor(settings, registry)
        judges = _judges(wanted, registry, compressor)
    for one in heard:  # such as that of random weights, without which a page would mislead
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    with results_to([target.target]) as write:
        make_folder(target)
        studies, failed = _studies(sources, compressor, judges, quiet)
        if studies:
            from taskodec.report.picture_page import pictures_page

            left_out = [f"{source}: {error}" for source, error in failed]
            page = pictures_page(studies, left_out=left_out, said=[str(one.message) for one in heard]).encode()
            write(target.target, page)
            _say(target.target, len(page), len(studies), quiet=quiet, as_json=as_json)
    if failed:
        raise typer.Exit(1)


def _check(sources: Sequence[Path], target: Job, *, force: bool) -> None:
    """UsageError for what cannot become a page, before anything is done."""
    from taskodec.report.picture_page import MOST_PICTURES

    if len(sources) > MOST_PICTURES:
        raise UsageError(f"{len(sources)} pictures, a page takes {MOST_PICTURES}: give fewer, or make several pages")
    if target.target.resolve() in {source.resolve() for source in sources}:
        raise UsageError(f"{target.target} is an input and would be overwritten: choose another output")
    if target.target.suffix.lower() in common.IMAGE_SUFFIXES:
        raise UsageError(f"cannot write {target.target}: pages are no pictures, the usual suffix is .html")
    _refuse_existing(target, force=force)


def _refuse_existing(target: Job, *, force: bool) -> None:
    if target.target.is_dir():
        raise UsageError(f"output {target.target} is a folder: give a file, such as {target.target / PAGE}")
    if target.target != STANDARD and target.target.exists() and not force:
        raise UsageError(f"{target.target} already there: overwrite with --force, or choose with -o")


def _judges(wanted: Mapping[str, TaskSettings], registry: Registry, compressor: Compressor) -> dict[str, Task]:
    """The tasks that are asked besides, by name."""
    from taskodec.tuning.task_calls import on_device

    made = {name: registry.task_from(one.spec, **one.options) for name, one in wanted.items()}
    return {name: on_device(task, compressor.device) for name, task in made.items()}


def _studies(
    sources: Sequence[Path], compressor: Compressor, judges: Mapping[str, Task], quiet: bool
) -> tuple[list[Study], list[tuple[Path, str]]]:
    """What there is to say of each picture, and the errors of those that could not be compressed."""
    from taskodec.engines.work import picture_of

    limit = most_bytes(compressor.settings.limits.max_pixels)
    studies: list[Study] = []
    failed: list[tuple[Path, str]] = []
    for number, source in enumerate(sources):
        try:
            with progress_bar(source.name, quiet) as progress:
                result = compressor.compress(picture_of(Entry(str(source), source.name, source), limit), progress)
            studies.append(result.study("standard input" if source == STANDARD else source.name, judges))
        except TaskodecError as error:
            print(f"error: {about(str(source), str(error))}", file=sys.stderr)
            failed.append((source, str(error)))
        except KeyboardInterrupt as stop:
            print(f"stopped; {number} of {len(sources)} pictures done, no page is written", file=sys.stderr)
            raise typer.Exit(exit_code(stop)) from None
    return studies, failed


def _of_run(folder: Path, target: Job, *, quiet: bool, force: bool, as_json: bool) -> None:
    """The page of a folder that `eval` or `bench` has written."""
    from taskodec.cli.run_pages import page_of_run

    _refuse_existing(target, force=force)
    with results_to([target.target]) as write:
        make_folder(target)
        page = page_of_run(folder).encode()
        write(target.target, page)
        _say(target.target, len(page), 0, quiet=quiet, as_json=as_json)


def _say(path: Path, size: int, pictures: int, *, quiet: bool, as_json: bool) -> None:
    about: dict[str, Any] = {"output": str(path), "bytes": size, "pictures": pictures}
    if as_json:
        common.print_json(about)
    elif not quiet:
        print(f"{escaped(str(path))}: a page of {size:,} bytes", flush=True)
