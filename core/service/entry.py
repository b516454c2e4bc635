"""What is called in a worker process, light to import: torch loads there alone."""

from __future__ import annotations

from taskodec.service.work import Answer, Start, Work

__all__ = ["begin", "do", "prepare"]


def prepare() -> None:
    """As `taskodec.service.worker.prepare`."""
    from taskodec.service import worker

    worker.prepare()


def begin(start: Start) -> str:
    """As `taskodec.service.worker.begin`."""
    from taskodec.service import worker

    return worker.begin(start)


def do(work: Work) -> list[Answer]:
    """As `taskodec.service.worker.do`."""
    from taskodec.service import worker

    return worker.do(work)
