"""How long work says how far it is. Light to import."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "as_guest"]

Progress = Callable[[int, int, dict[str, float]], None]
"""Told the steps done, the steps in all, and figures of the last one."""


def as_guest(progress: Progress | None) -> Progress | None:
    """The same, free to change PyTorch's switches and to use the codec: the work behind it does not notice.

    What it raises ends the work, and is the caller's own.
    """
    if progress is None:
        return None
    from taskodec.isolation.activation import inactive
    from taskodec.isolation.ambient import kept
    from taskodec.isolation.faults import callers_own

    def tell(done: int, total: int, figures: dict[str, float]) -> None:
        with callers_own(), kept(), inactive():
            progress(done, total, figures)

    return tell
