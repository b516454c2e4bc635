"""`taskodec bench --ttft`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskodec.cli import common
from taskodec.cli.bench_call import BenchCall
from taskodec.cli.progress import progress_bar
from taskodec.errors import UsageError

if TYPE_CHECKING:
    from taskodec.evaluation.ablation import Case
    from taskodec.evaluation.ablation_summary import CaseSummary
    from taskodec.evaluation.panel import Judge
    from taskodec.evaluation.rows import Row
    from taskodec.evaluation.variants import Variants
    from taskodec.settings.model import Settings

__all__ = [
    "Images",
    "Jobs",
    "JudgeOptions",
    "JudgedBy",
    "Labels",
    "Only",
    "ReportOnly",
    "TTFTCall",
    "TTFTFlag",
    "Tasks",
    "VariantFile",
    "bench_ttft",
]

TTFTFlag = Annotated[bool, typer.Option("--ttft", help="Compare variants of tuning: what each ingredient is worth.")]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", metavar="NAME|FILE.py:OBJ[,…]", help="With --ttft: task; repeatable.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--labels", metavar="[TASK=]FILE|DIR", help="With --ttft: what is in the images; repeatable."),
]
Images = Annotated[
    int | None, typer.Option("--images", min=1, help="With --ttft: only so many images, the first by name.")
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="With --ttft: processes, one thread each; one a core without it."),
]
VariantFile = Annotated[
    Path | None, typer.Option("--variants", metavar="FILE.yaml", help="With --ttft: rows of your own.")
]
JudgedBy = Annotated[
    list[str] | None,
    typer.Option("--judge", metavar="NAME=TASK", help="With --ttft: who judges the files besides; repeatable."),
]
JudgeOptions = Annotated[
    list[str] | None,
    typer.Option("--judge-set", metavar="[NAME.]KEY=VALUE", help="With --ttft: option of a judge; repeatable."),
]
Only = Annotated[str | None, typer.Option("--only", metavar="NAMES", help="With --ttft: these rows, with commas.")]
ReportOnly = Annotated[bool, typer.Option("--report-only", help="With --ttft: measure nothing, sum up what is there.")]


@dataclass(frozen=True)
class TTFTCall:
    """What only this kind of benchmark has. `resolve` makes settings, as `make_cases` wants it."""

    tasks: Sequence[str]
    labels: Sequence[str]
    images: int | None
    jobs: int | None
    variants: Path | None
    only: str | None
    report_only: bool
    plugins: Sequence[Path]
    resolve: Callable[[str, Sequence[str]], Settings]
    weights: Sequence[str] = ()
    judges: Sequence[str] = ()
    judge_options: Sequence[str] = ()

    def given(self) -> dict[str, object]:
        """The options, for an error where they do not apply."""
        return {
            "--task": self.tasks,
            "--labels": self.labels,
            "--images": self.images,
            "--jobs": self.jobs,
            "--variants": self.variants,
            "--only": self.only,
            "--report-only": self.report_only,
            "--weights": self.weights,
            "--judge": self.judges,
            "--judge-set": self.judge_options,
        }

    def read_variants(self) -> Variants:
        """The rows that are wanted."""
        from taskodec.evaluation.variants import read_variants

        variants = read_variants(self.variants)
        return variants if self.only is None else variants.only([name.strip() for name in self.only.split(",")])

    def labels_by_task(self) -> dict[str, Path | dict[str, Path]]:
        """Files by task, and by part of one that is several; one without a name is for the only task."""
        from taskodec.hooks.names import members

        tasks = self.tasks or ("",)
        found: dict[str, Path | dict[str, Path]] = {}
        for text in self.labels:
            name, equals, path = text.partition("=")
            joint = next(
                (task for task in tasks if name in members(task)[1:] or name == members(task)[0] != task), None
            )
            if equals and joint is not None:
                parts = found.setdefault(joint, {})
                if isinstance(parts, Path) or name in parts:
                    raise UsageError(f"--labels {text}: there are others for the same part; give one")
                parts[name] = Path(path)
                continue
            if not equals or name not in tasks:
                name, path = tasks[0], text
                if len(tasks) > 1:
                    raise UsageError(f"--labels {text}: say of which task, as in {tasks[0]}={text}")
            if name in found:
                raise UsageError(f"--labels {text}: there are others for the same task; give one")
            found[name] = Path(path)
        return found

    def read_judges(self) -> tuple[Judge, ...]:
        """Who judges besides, each by a name."""
        from taskodec.cli.judges import read_judges

        settings = self.resolve((self.tasks or ("",))[0], ())
        found = read_judges(settings.task, self.judges, self.judge_options, ())
        if found.instead is not None:
            raise UsageError("--judge, --judge-set: with --ttft a judge has a name, as in --judge other=cls")
        return found.beside


def bench_ttft(call: BenchCall, own: TTFTCall, qualities: Sequence[float] | None) -> None:
    """Measure the variants for every codec and task; rows, ablation.md, .json and plots go to the output folder."""
    from taskodec.evaluation.ablation import AblationPlan, make_cases

    if call.anchors is not None:
        raise UsageError("--anchors: not with --ttft, which compares variants of tuning; leave it out")
    plan = AblationPlan(
        own.read_variants(),
        tuple(call.codecs),
        tuple(own.tasks),
        None if qualities is None else tuple(qualities),
        own.labels_by_task(),
        tuple(own.plugins),
        own.read_judges(),
    )
    first = sorted(call.paths, key=lambda path: path.name)[: own.images]
    cases = make_cases(plan, own.resolve, call.registry, replace(call, paths=first).images())
    with common.resumable(call.output / "rows.jsonl"):
        _report(_summaries(cases, plan.variants, call, own), call)


def _summaries(cases: Sequence[Case], variants: Variants, call: BenchCall, own: TTFTCall) -> list[CaseSummary]:
    """Measure all cases, unless that is not wanted, and sum them up."""
    from taskodec.evaluation.ablation_summary import summarise_case
    from taskodec.evaluation.rows import row_file

    file = row_file(call.output)
    measured: list[tuple[Case, list[Row]]] = []
    for case in cases:
        if own.report_only:
            rows = case.measured(file)
            if not rows:
                raise UsageError(f"{file.path} has no image with all variants of {case.name}: measure first")
        else:
            with progress_bar(f"bench {case.name}", call.quiet) as progress:
                rows = case.measure(file, own.jobs, progress)
        measured.append((case, rows))
    with progress_bar("bootstrap", call.quiet) as progress:
        return [summarise_case(case, rows, variants, progress=progress) for case, rows in measured]


def _report(summaries: Sequence[CaseSummary], call: BenchCall) -> None:
    """Write the files, and print what is wanted."""
    from taskodec.cli.run_pages import write_run_page
    from taskodec.evaluation import ablation_report
    from taskodec.files.atomic import write_atomic

    values = common.finite(ablation_report.as_json(summaries))
    write_atomic(call.output / "ablation.json", (json.dumps(values, indent=1) + "\n").encode())
    plots = ablation_report.plot(summaries, call.output)
    write_atomic(call.output / "ablation.md", ablation_report.markdown(summaries, plots).encode())
    write_run_page(call.output, call.settings)
    if call.as_json:
        common.print_json(values)
    elif not call.quiet:
        ablation_report.print_tables(summaries)
