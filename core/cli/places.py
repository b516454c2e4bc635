"""Where a command's inputs come from and its outputs go to, by its options; and who does the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from taskodec.cli.runs import Batch, Pace, Show, report_file
from taskodec.console.layout import say
from taskodec.console.terminal import escaped
from taskodec.errors import UsageError
from taskodec.extras import require
from taskodec.files.inputs import STANDARD, argument
from taskodec.files.outputs import results_to
from taskodec.files.plans import check_choice, check_standard, how_to_go_on
from taskodec.sources.archive_sinks import ArchiveSink
from taskodec.sources.archives import is_archive
from taskodec.sources.remote import is_url
from taskodec.sources.sinks import FileSink, Sink, real
from taskodec.sources.walking import LIST, Inputs

if TYPE_CHECKING:
    from taskodec.engines.steps import Engine, Outcome, Step, Subject, Work
    from taskodec.settings.ray import RaySettings

__all__ = [
    "Address",
    "EngineChoice",
    "FromFile",
    "Here",
    "Pictures",
    "Places",
    "Recursive",
    "Report",
    "Shards",
    "Streams",
    "check_engine",
    "engine_of",
    "named_inputs",
    "note",
]

MANY = "or - for standard input, @LIST for the names in a file, a URL, an archive .tar."
Pictures = Annotated[
    list[str] | None, typer.Argument(metavar="IN...", help=f"Images, or folders of images; {MANY}", show_default=False)
]
Streams = Annotated[
    list[str] | None,
    typer.Argument(metavar="IN.tkd...", help=f"Streams, or folders of streams; {MANY}", show_default=False),
]
FromFile = Annotated[
    list[str] | None,
    typer.Option("--from-file", metavar="LIST|-", help="File with the name of an input in each line; repeatable."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders at any depth; the tree is kept below -o.")]
Shards = Annotated[
    bool, typer.Option("--shards", help="For each archive, an archive of the same name in the folder -o.")
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.jsonl", help="File for what failed, one JSON object a line.")
]
EngineChoice = Annotated[str, typer.Option("--engine", metavar="local|ray", help="Who does the work.")]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="auto|HOST:PORT", help="Ray cluster to join; without it one starts in place."),
]


def named_inputs(
    given: Sequence[str] | None, from_file: Sequence[str] | None, suffixes: frozenset[str], recursive: bool, most: int
) -> Inputs:
    """The inputs of a command; UsageError without any."""
    names = [*(given or ()), *(f"{LIST}{name}" for name in from_file or ())]
    if not names:
        raise UsageError("Missing argument: give files, folders, URLs or archives, or --from-file LIST")
    standard = str(STANDARD)
    if sum(name in (standard, f"{LIST}{standard}") for name in names) > 1:
        raise UsageError("- is standard input, which can be read once: name it once")
    return Inputs(names, suffixes, recursive, most)


@dataclass(frozen=True)
class Places:
    """Inputs and what their outputs are to be.

    Args:
        suffix: of outputs.
        shards: for each archive of the input one of the output.
    """

    inputs: Inputs
    output: str | None
    suffix: str
    shards: bool
    force: bool
    skip_existing: bool

    def __post_init__(self) -> None:
        check_choice(self.force, self.skip_existing)
        given, output = self.inputs.given, self.output
        archives = [name for name in given if is_archive(name)]
        if archives and output is None:
            raise UsageError(f"{archives[0]} is an archive: say with -o where its members go")
        if self.shards and (output is None or len(archives) < sum(not name.startswith(LIST) for name in given)):
            raise UsageError("--shards makes an archive of each archive: give archives, and their folder with -o")
        if str(STANDARD) in (*given, output):
            local = [argument(name) for name in given if not is_url(name)]
            check_standard(local, None if output is None or is_url(output) else argument(output), output)
        if output == str(STANDARD) and not self.inputs.alone:
            raise UsageError("-o - is standard output, which takes the result of one file: give a folder for several")

    @property
    def one_archive(self) -> bool:
        """Whether all results go into one archive."""
        output = self.output
        return output is not None and not self.shards and output.lower().endswith(".tar") and not Path(output).is_dir()

    @property
    def exact(self) -> bool:
        """Whether `output` is the name of the one output, not of a folder; UsageError if it can be neither."""
        if self.output is None or self.shards or self.one_archive:
            return False
        folder = self.output.endswith(("/", os.sep))
        if is_url(self.output):
            return self.inputs.alone and not folder
        out, alone = argument(self.output), self.inputs.alone
        if out.is_file() and (folder or not alone):
            why = "its name ends in a slash" if alone else "there are several inputs"
            raise UsageError(f"output {out} is a file, and {why}: give a folder")
        if alone and out != STANDARD and real(self.output) == real(self.inputs.given[0]):
            raise UsageError(f"{self.output} is an input and would be overwritten: choose another output")
        return alone and (out == STANDARD or not (out.is_dir() or folder))

    @contextmanager
    def sink(self) -> Iterator[Sink]:
        """Where results go; printing goes to standard error where they go to standard output."""
        from taskodec.pixels.whole import flaw

        if self.shards or self.one_archive:
            assert self.output is not None
            yield ArchiveSink(self.output, self.shards, self.suffix, self.force, self.skip_existing)
            return
        exact = self.exact
        with results_to([STANDARD] if self.output == str(STANDARD) else []) as write:
            yield FileSink(self.output, exact, self.suffix, write, flaw, self.skip_existing)

    def check(self) -> None:
        """Make sure that results can be written, before anything is loaded for them; TaskodecError if not.

        A run that goes on may find all of them, and write none: it is asked when the first one is to be made.
        """
        if not self.skip_existing and self.output not in (None, str(STANDARD)):
            with self.sink() as sink:
                sink.check()

    def run(
        self, engine: Engine, show: Show, report: Path | None, quiet: bool, batch: int = 1, paced: bool = False
    ) -> None:
        """Do everything, in steps that are tuned together where `batch` is more than 1."""
        from taskodec.engines.planning import Choice, check_names, steps_of

        with self.sink() as sink, ExitStack() as stack:
            if isinstance(sink, ArchiveSink) and sink.is_kept(self.inputs.given):
                show({"input": ", ".join(self.inputs.given), "output": self.output, "skipped": True})
                return
            choice = Choice(self.force, self.skip_existing)
            checked = self.inputs.listed and not isinstance(sink, ArchiveSink)
            count = check_names(self.inputs, sink, choice) if checked else None
            steps = steps_of(self.inputs, sink, choice, note, checked=checked, batch=batch)
            file: TextIO | None = report_file(report)
            if file is not None:
                stack.enter_context(file)
            rest = how_to_go_on(count != 1, force=self.force, skip_existing=self.skip_existing)
            told = Pace(count) if paced and not quiet else None
            Batch(sink, show, file, count, rest, quiet, told).run(engine, steps)


def check_engine(name: str, address: str | None) -> None:
    """UsageError for an engine that does not exist, and for an address without one that has it."""
    if name not in ("local", "ray"):
        raise UsageError(f"--engine {name}: valid are local and ray")
    if name == "local" and address is not None:
        raise UsageError("--address is that of a Ray cluster: give --engine ray as well, or leave it out")
    if name == "ray":
        require("ray", "`--engine ray`")


@contextmanager
def engine_of(
    name: str,
    address: str | None,
    settings: RaySettings,
    make: Callable[[], Work],
    here: Callable[[Sequence[Subject]], list[Outcome]],
    most: int,
) -> Iterator[Engine]:
    """Who does the work: this process, by `here`, or the workers of a Ray cluster, each of which calls `make`."""
    check_engine(name, address)
    if name == "local":
        yield Here(here)
        return
    from taskodec.engines.cluster import cluster
    from taskodec.engines.ray_engine import RayEngine

    with cluster(address, settings):
        yield RayEngine(make, settings, most, note)


@dataclass(frozen=True)
class Here:
    """This process."""

    here: Callable[[Sequence[Subject]], list[Outcome]]

    def results(self, steps: Iterable[Step], ordered: bool) -> Iterator[Step]:
        """The steps with their outcomes, one after the other."""
        for step in steps:
            if step.outcomes is None and step.subjects:
                step.outcomes = self.here(step.subjects)
            yield step


def note(said: str) -> None:
    """Say something that no input has failed of."""
    say(f"note: {escaped(said)}", file=sys.stderr)
