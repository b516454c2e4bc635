"""Progress callbacks, which may be anybody's code, among networks at work."""

from __future__ import annotations

from taskodec.console.progress import Progress
from taskodec.isolation.activation import inactive
from taskodec.isolation.ambient import kept
from taskodec.isolation.faults import callers_own

__all__ = ["as_guest"]


def as_guest(progress: Progress | None) -> Progress | None:
    """The same, free to change PyTorch's switches and to use the codec: the work behind it does not notice.

    What it raises ends the work, and is the caller's own.
    """
    if progress is None:
        return None

    def tell(done: int, total: int, figures: dict[str, float]) -> None:
        with callers_own(), kept(), inactive():
            progress(done, total, figures)

    return tell
