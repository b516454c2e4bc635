"""A batch from its steps to its end: results are written and shown as they come, failures go into a report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from taskodec.console.interrupt import exit_code
from taskodec.console.terminal import escaped
from taskodec.errors import TaskodecError, UsageError
from taskodec.sources.entries import Broken, End
from taskodec.sources.sinks import Sink

if TYPE_CHECKING:
    from taskodec.engines.steps import Engine, Outcome, Step, Subject

    Part = tuple[Subject, Outcome] | Broken | End

__all__ = ["Batch", "report_file"]

Show = Callable[[Mapping[str, Any]], None]

NAMED = 20
"""Inputs that failed, which are named at the end; the report has all."""


def report_file(path: Path | None) -> TextIO | None:
    """The file that failures go to, begun anew; UsageError if it cannot be written or is no `.jsonl`."""
    if path is None:
        return None
    if path.suffix.lower() != ".jsonl":
        raise UsageError(f"--report {path}: expected a name that ends in .jsonl")
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write --report {path}: {error.strerror or error}") from error


@dataclass
class Batch:
    """What becomes of the inputs of a command.

    Args:
        sink: where results go.
        show: shows the report of an input.
        report: the file of failures, one JSON object a line.
        count: inputs in all, if that is known.
        goes_on: what to do after Ctrl-C.
        quiet: nothing is printed of what went well.
        counted: told after each input how many are done.
    """

    sink: Sink
    show: Show
    report: TextIO | None = None
    count: int | None = None
    goes_on: str = ""
    quiet: bool = False
    counted: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        self._done = self._kept = self._failures = 0
        self._failed: list[str] = []

    def run(self, engine: Engine, steps: Iterable[Step]) -> None:
        """Do everything. Failures are shown as they come, summed up at the end, and make the exit code 1."""
        whole = False
        try:
            for part in self._parts(engine, steps):
                if isinstance(part, Broken | End):
                    self._take_element(part)
                else:
                    self._take(*part)
            whole = True
        except KeyboardInterrupt as stop:
            done = self._done - self._failures
            print(f"stopped; {done}{self._of(None)} inputs done{self.goes_on}", file=sys.stderr)
            raise typer.Exit(exit_code(stop)) from None
        finally:
            self._close(whole)
        self._sum_up()

    def _parts(self, engine: Engine, steps: Iterable[Step]) -> Iterator[Part]:
        """Subjects with their outcomes, and elements, as they come; in their order if the sink wants that."""
        waiting: dict[int, Part] = {}
        following = 0
        for step in engine.results(steps, self.sink.ordered):
            if not self.sink.ordered:
                yield from (part for _, part in _parts_of(step))
                continue
            waiting |= dict(_parts_of(step))
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def _take(self, subject: Subject, outcome: Outcome) -> None:
        name = subject.entry.name
        if not subject.wanted:
            self._skipped(name, subject.target)
            return
        error, kind = outcome.error, outcome.kind
        if not error and outcome.data is not None:
            try:
                self.sink.write(subject.target, outcome.data, subject.entry)
            except BrokenPipeError:
                raise
            except (TaskodecError, OSError) as failed:
                from taskodec.engines.steps import failure

                error, kind = failure(failed).error, type(failed).__name__
        if subject.entry.copied and not error:
            return
        if error:
            self._fail(name, error, kind)
        else:
            written = {"output": subject.target} if subject.target else {}
            self._did({"input": name, **written, **outcome.report})

    def _take_element(self, element: Broken | End) -> None:
        """What cannot be read, or the end of an archive."""
        if isinstance(element, Broken):
            self._fail(element.name, str(element.error), type(element.error).__name__)
        if element.archive:
            try:
                written = self.sink.ended(element)
            except (TaskodecError, OSError) as error:
                self._fail(element.archive, str(error), type(error).__name__)
                return
            if isinstance(element, End) and element.kept:
                self._skipped(element.archive, written)

    def _close(self, whole: bool) -> None:
        try:
            self.sink.close(whole)
        except (TaskodecError, OSError) as error:
            self._fail("-o", str(error), type(error).__name__)
        if self.report is not None:
            self.report.close()

    def _skipped(self, name: str, target: str) -> None:
        self._kept += 1
        self._did({"input": name, "output": target, "skipped": True})

    def _did(self, report: Mapping[str, Any]) -> None:
        self._done += 1
        self.show(report)
        if self.counted is not None:
            self.counted(self._done, self._failures)

    def _fail(self, name: str, error: str, kind: str) -> None:
        self._failures += 1
        self._failed += [name] if self._failures <= NAMED else []
        if self.report is not None:
            print(json.dumps({"input": name, "error": error, "type": kind}), file=self.report, flush=True)
        self._did({"input": name, "error": error})

    def _of(self, count: int | None) -> str:
        known = self.count if count is None else count
        return "" if known is None else f" of {known}"

    def _sum_up(self) -> None:
        if self._kept and not self.quiet:
            print(f"{self._kept} of {self._done} inputs skipped: their outputs are there", file=sys.stderr)
        if self._failures:
            if self._done > 1:
                more = f" and {self._failures - NAMED} more" if self._failures > NAMED else ""
                named = escaped(", ".join(self._failed)) + more
                print(f"error: {self._failures} of {self._done} inputs failed: {named}", file=sys.stderr)
            raise typer.Exit(1)


def _parts_of(step: Step) -> list[tuple[int, Part]]:
    """What a step consists of, with its places among the inputs."""
    if step.element is not None:
        return [(step.number, step.element)]
    outcomes = step.outcomes or ()
    return [(s.number, (s, outcome)) for s, outcome in zip(step.subjects, outcomes, strict=True)]


class Pace:
    """How many inputs are done, how many a second, and how long the rest takes; on standard error.

    At a terminal a line that is drawn anew, else a line now and then.
    """

    EVERY = 30.0
    """Seconds between lines in a log."""

    def __init__(self, count: int | None) -> None:
        self._count, self._start = count, time.monotonic()
        self._said = self._start
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, failed: int) -> None:
        now = time.monotonic()
        if now - self._said < (0.2 if self._terminal else self.EVERY):
            return
        self._said = now
        rate = done / max(now - self._start, 1e-9)
        of = f" of {self._count}" if self._count else ""
        left = f", {_duration((self._count - done) / rate)} left" if self._count and rate else ""
        wrong = f", {failed} failed" if failed else ""
        line = f"{done}{of} inputs done{wrong}, {rate:.3g} a second{left}"
        end = "" if self._terminal else "\n"
        print(f"\r{line:<78}" if self._terminal else line, end=end, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours}:{minutes:02}:{int(seconds) % 60:02}"
