"""`taskodec bench --ttft --suite`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.cli.bench_call import BenchCall
from taskodec.cli.progress import progress_bar
from taskodec.errors import UsageError
from taskodec.hooks.names import nearest

if TYPE_CHECKING:
    from taskodec.cli.bench_ttft import TTFTCall
    from taskodec.evaluation.ablation import Case
    from taskodec.evaluation.rows import Row
    from taskodec.evaluation.suite import Suite, SuiteLoss, SuiteSummary

__all__ = ["SuiteFlag", "WeightFiles", "bench_suite"]

SuiteFlag = Annotated[
    bool, typer.Option("--suite", help="With --ttft: the default on a suite of losses, against a grid of settings.")
]
WeightFiles = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="TASK=FILE", help="With --suite: weights of a task's network; repeatable."),
]


def bench_suite(call: BenchCall, own: TTFTCall, qualities: Sequence[float] | None) -> None:
    """Measure the suite for every codec; rows, suite.md and suite.json go to the output folder.

    Tasks of the call are measured besides, `variants` is the file of a suite, `only` names losses.
    """
    from taskodec.evaluation.ablation import AblationPlan
    from taskodec.evaluation.suite import read_suite, suite_cases, summarise_suite

    if call.anchors is not None or own.labels:
        raise UsageError("--anchors, --labels: not with --suite, whose losses need neither; leave them out")
    suite = _only(read_suite(own.variants).with_tasks(own.tasks, _weights(own.weights)), own.only)
    levels = None if qualities is None else tuple(qualities)
    plan = AblationPlan(suite.variants, tuple(call.codecs), (), levels, None, tuple(own.plugins))
    first = sorted(call.paths, key=lambda path: path.name)[: own.images]
    cases, missing = suite_cases(suite, plan, own.resolve, call.registry, replace(call, paths=first).images())
    if not cases:
        raise UsageError("no loss of the suite can be measured here: " + "; ".join(missing))
    with common.resumable(call.output / "rows.jsonl"):
        _report(summarise_suite(suite, _measured(cases, call, own), missing), suite, call)


def _measured(
    cases: Sequence[tuple[SuiteLoss, Case]], call: BenchCall, own: TTFTCall
) -> Sequence[tuple[SuiteLoss, Case, Sequence[Row]]]:
    """All rows of all cases; those that are there are taken from the file."""
    from taskodec.evaluation.rows import row_file

    file = row_file(call.output)
    measured: list[tuple[SuiteLoss, Case, Sequence[Row]]] = []
    for loss, case in cases:
        if own.report_only:
            rows = case.measured(file)
            if not rows:
                raise UsageError(f"{file.path} has no image with all settings of {loss.name}: measure first")
        else:
            with progress_bar(f"suite, {case.codec}, {loss.name}", call.quiet) as progress:
                rows = case.measure(file, own.jobs, progress)
        measured.append((loss, case, rows))
    return measured


def _report(summary: SuiteSummary, suite: Suite, call: BenchCall) -> None:
    """Write the files, and print what is wanted."""
    from taskodec.cli.run_pages import write_run_page
    from taskodec.evaluation import suite_report
    from taskodec.files.atomic import write_atomic

    values = common.finite(suite_report.as_json(summary))
    write_atomic(call.output / "suite.json", (json.dumps(values, indent=1) + "\n").encode())
    write_atomic(call.output / "suite.md", suite_report.markdown(summary, suite).encode())
    write_run_page(call.output, call.settings)
    if call.as_json:
        common.print_json(values)
    elif not call.quiet:
        suite_report.print_tables(summary, suite)


def _only(suite: Suite, only: str | None) -> Suite:
    """The losses of these names; UsageError for an unknown one."""
    if only is None:
        return suite
    names, valid = [name.strip() for name in only.split(",")], [loss.name for loss in suite.losses]
    for name in names:
        if name not in valid:
            raise UsageError(f"--only: unknown loss {name!r}{nearest(name, valid)}; valid: {', '.join(valid)}")
    return replace(suite, losses=tuple(loss for loss in suite.losses if loss.name in names))


def _weights(texts: Sequence[str]) -> dict[str, Path]:
    """Files by task; UsageError for what is no file."""
    found = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not Path(path).is_file():
            raise UsageError(f"--weights {text}: expected TASK=FILE with a file that is there, as in det=yolox.onnx")
        found[name] = Path(path)
    return found
