"""From the inputs of a command to the steps of its batch: what each becomes, what is kept, what goes together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from taskodec.engines.steps import Outcome, Step, Subject
from taskodec.errors import ImageError, TaskodecError, UsageError
from taskodec.files.inputs import STANDARD
from taskodec.sources.entries import Broken, Entry
from taskodec.sources.remote import open_url
from taskodec.sources.sinks import Sink, real
from taskodec.sources.taken import Taken
from taskodec.sources.walking import Inputs

__all__ = ["Choice", "Note", "check_names", "grouped", "planned", "steps_of"]

WAITING = 1024
"""Pictures that wait for others of their size, at most, beside one full group: a stream has no end to wait for."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What is done with outputs that are there."""

    force: bool = False
    skip_existing: bool = False


def check_names(inputs: Inputs, sink: Sink, choice: Choice) -> int:
    """How many inputs there are. UsageError if outputs collide, are inputs or are there, before anything is done."""
    taken, count, there = Taken(), 0, 0
    named: list[str] = []
    for element in inputs.elements():
        count += 1
        if not isinstance(element, Entry):
            continue
        target = sink.target(element)
        if element.path != STANDARD:
            taken.read_from(real(element.name))
        if target == str(STANDARD):
            continue
        if other := taken.claim(real(target), element.name):
            raise UsageError(_collision(other, element.name, target))
        if not (choice.force or choice.skip_existing) and sink.flaw(target) is not None:
            there += 1
            named += [target] if there <= 3 else []
    overwritten = taken.overwritten()
    taken.close()
    if overwritten:
        raise UsageError(f"{overwritten} is an input and would be overwritten: choose another output")
    if there:
        raise UsageError(_already(named, there - len(named)))
    return count


def planned(inputs: Inputs, sink: Sink, choice: Choice, note: Note, checked: bool) -> Iterator[Step]:
    """A step for each input, one at a time; unless names were `checked`, collisions come as they are met."""
    taken = None if checked else Taken()
    for number, element in enumerate(inputs.elements(sink.done)):
        if not isinstance(element, Entry):
            yield Step(element=element, number=number)
            continue
        if element.copied and not sink.carries:
            continue
        try:
            target = sink.target(element)
            if taken is not None and target != str(STANDARD):
                _claim(taken, element, target)
            kept = _is_kept(sink, target, choice, note)
        except TaskodecError as error:
            yield Step(element=Broken(element.name, error), number=number)
            continue
        known = [Outcome(data=element.data)] if kept or element.copied else None
        yield Step([Subject(element, target, number, not kept, sink.sends(target))], known)


def grouped(steps: Iterable[Step], size: int) -> Iterator[Step]:
    """The same with the pictures of one size together, up to `size` of them, those that are kept too.

    Groups are of all pictures, since what one becomes depends on its group in the last digits: where any of a group is
    wanted, all are worked on.
    """
    waiting: dict[object, list[Step]] = {}
    count = 0
    for step in steps:
        if step.element is not None and step.element.archive:
            yield from map(_together, waiting.values())  # all of an archive comes before its end
            waiting, count = {}, 0
        if step.element is not None or step.subjects[0].entry.copied:
            yield step
            continue
        size_of = _size(step.subjects[0].entry)
        kind: object = size_of or id(step)
        waiting.setdefault(kind, []).append(step)
        count += 1
        full = kind if len(waiting[kind]) == size or size_of is None else None
        if full is None and count > WAITING:
            full = next(iter(waiting))
        if full is not None:
            group = waiting.pop(full)
            count -= len(group)
            yield from [_together(group)] if len(group) > 1 else group
    yield from map(_together, waiting.values())


def steps_of(
    inputs: Inputs, sink: Sink, choice: Choice, note: Note, *, checked: bool, batch: int = 1
) -> Iterator[Step]:
    """All steps, with places for outputs made ready before work that could not be kept."""
    steps = planned(inputs, sink, choice, note, checked)
    for step in grouped(steps, batch) if batch > 1 else steps:
        yield _ready(step, sink)


def _ready(step: Step, sink: Sink) -> Step:
    if step.outcomes is not None or not step.subjects:
        return step
    try:
        for target in dict.fromkeys(subject.target for subject in step.subjects if subject.wanted):
            sink.prepare(target)
    except TaskodecError as error:
        step.outcomes = [Outcome(error=str(error), kind=type(error).__name__)] * len(step.subjects)
    return step


def _together(group: list[Step]) -> Step:
    """One step of several; those of kept pictures are worked on with the others, unless all are kept."""
    subjects = [step.subjects[0] for step in group]
    if any(step.outcomes is None for step in group):
        return Step(subjects)
    return Step(subjects, [outcome for step in group for outcome in step.outcomes or ()])


def _claim(taken: Taken, entry: Entry, target: str) -> None:
    if real(target) == real(entry.name) and not entry.archive:
        raise UsageError(f"{target} is an input and would be overwritten: choose another output")
    if other := taken.claim(real(target), entry.name):
        raise UsageError(_collision(other, entry.name, target))


def _is_kept(sink: Sink, target: str, choice: Choice, note: Note) -> bool:
    """Whether an output is there and whole; UsageError if it is there and may be neither kept nor replaced."""
    if choice.force:
        return False
    flaw = sink.flaw(target)
    if flaw is None:
        return False
    if not choice.skip_existing:
        raise UsageError(_already([target], 0))
    if flaw:
        note(f"{target} is not whole ({flaw}): it is made anew")
    return not flaw


def _collision(first: str, second: str, target: str) -> str:
    return f"{first} and {second} would both be written to {target}: rename one"


def _already(named: list[str], more: int) -> str:
    rest = f" and {more} more" if more else ""
    return (
        f"{', '.join(named)}{rest} already there: overwrite with --force, keep with --skip-existing, or choose with -o"
    )


def _size(entry: Entry) -> tuple[int, int] | None:
    """Width and height as the first bytes say, None for no picture; a wrong guess costs time only."""
    from taskodec.pixels.pillow import opened_size

    try:
        if entry.data is not None:
            return opened_size(BytesIO(entry.data), entry.name)
        if entry.path is None:
            with open_url(entry.name) as file:
                return opened_size(file, entry.name)
        if entry.path == STANDARD or not entry.path.is_file():  # a pipe can be read once
            return None
        with entry.path.open("rb") as file:
            return opened_size(file, entry.name)
    except (ImageError, TaskodecError, OSError):
        return None
