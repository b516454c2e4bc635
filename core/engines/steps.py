"""What an engine is given and gives back: steps of a batch, each with the pictures that are worked on together."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from taskodec.console.frame import reason
from taskodec.console.progress import Progress
from taskodec.errors import TaskodecError
from taskodec.isolation.faults import described, lacks_memory
from taskodec.sources.entries import Broken, End, Entry

__all__ = ["Engine", "Outcome", "Step", "Subject", "Work", "failure"]


NO_MEMORY = "it needs more memory than there is: give a smaller picture, fewer workers, or a smaller --batch"


@dataclass(frozen=True, eq=False)
class Subject:
    """An entry and the output that is made of it; one that is not `wanted` only helps to make others as they would be.

    `number` is its place among the inputs. With `sent`, who makes the output writes it to `target`, a URL; else it
    comes back.
    """

    entry: Entry
    target: str
    number: int = 0
    wanted: bool = True
    sent: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a subject: figures and the output's bytes, None if it is written already; or an error.

    `kind` is the error's type.
    """

    report: dict[str, Any] = field(default_factory=dict)
    data: bytes | None = None
    error: str = ""
    kind: str = ""


@dataclass(eq=False)
class Step:
    """Subjects that are worked on together, and what became of each; or an element of the inputs that needs no work.

    `number` is the place of that element among the inputs.
    """

    subjects: Sequence[Subject] = ()
    outcomes: Sequence[Outcome] | None = None
    element: Broken | End | None = None
    number: int = 0


Work = Callable[[Sequence[Subject], "Progress | None"], list[Outcome]]
"""Makes an outcome of each subject. It may go to another process, and raises nothing but what ends the run."""


class Engine(Protocol):
    """Does the work of steps that have no outcomes yet, as many at a time as it can."""

    def results(self, steps: Iterable[Step], ordered: bool) -> Iterator[Step]:
        """The steps with their outcomes; if `ordered`, in their order."""
        ...


def failure(error: BaseException) -> Outcome:
    """What there is to say of a subject that ended with an error: a batch goes on whatever happens to one picture.

    Raises what ends the batch: that nobody reads what is printed, and Ctrl-C.
    """
    if isinstance(error, BrokenPipeError | KeyboardInterrupt):
        raise error
    kind = type(error).__name__
    if lacks_memory(error):  # whatever it was made into on its way
        return Outcome(error=NO_MEMORY, kind="OutOfMemoryError")
    if isinstance(error, TaskodecError):
        return Outcome(error=str(error), kind=kind)
    if isinstance(error, OSError):
        return Outcome(error=reason(error), kind=kind)
    traceback.print_exception(error)
    return Outcome(error=described(error), kind=kind)
