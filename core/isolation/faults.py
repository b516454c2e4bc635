"""What goes wrong in somebody else's code, a plugin or a loss: it gets a name, and does not end the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskodec.errors import TaskodecError

__all__ = ["callers_own", "described", "lacks_memory", "named"]


@contextmanager
def named(what: str, kind: type[TaskodecError], *passing: type[Exception]) -> Iterator[None]:
    """Within, whatever is raised becomes `kind`, with a message that begins with `what`, but for what is `passing`.

    `sys.exit` counts as an error, for a program that ends in the midst of its work says nothing of what is lost.
    Ctrl-C stays Ctrl-C, and what `callers_own` code raised comes through as it is.
    """
    try:
        yield
    except (KeyboardInterrupt, *passing):  # type: ignore[misc]  # mypy does not see through the star
        raise
    except BaseException as error:
        if getattr(error, "raised_by_caller", False):
            raise
        raise kind(f"{what} {described(error)}".lstrip()) from error


@contextmanager
def callers_own() -> Iterator[None]:
    """Within, what is raised is the caller's own, in whose code it happens: no `named` block changes it."""
    try:
        yield
    except BaseException as error:
        error.raised_by_caller = True  # type: ignore[attr-defined]
        raise


def described(error: BaseException) -> str:
    """An error in one line, with the file and line that raised it; one of taskodec's own says enough."""
    if isinstance(error, TaskodecError):
        return str(error)
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({Path(place.tb_frame.f_code.co_filename).name}, line {place.tb_lineno})" if place else ""
    return f"{type(error).__name__}: {error}".removesuffix(": ") + where


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came of, is that there was no memory.

    PyTorch's is an OutOfMemoryError on GPUs, and on the CPU a plain RuntimeError.
    """
    while error is not None:
        name = type(error).__name__
        if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in str(error):
            return True
        error = error.__cause__
    return False
