"""What runs on a worker of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import taskodec
from taskodec.engines.steps import Outcome, Subject, Work, failure

__all__ = ["Actor"]


class Actor:
    """What runs on a worker. Its work is made on first use, also after it was started again.

    `made` is what makes the work, pickled without the large arrays in it. Calls bring these, from Ray's store, where
    all workers of a machine read the same memory.
    """

    def __init__(self, made: bytes) -> None:
        self._made = made
        self._work: Work | None = None

    def up(self) -> None:
        """The process is there."""

    def load(self, *arrays: Any) -> tuple[str, Outcome]:
        """Load everything; the version of taskodec here, and what went wrong."""
        try:
            if self._work is None:
                from ray import cloudpickle

                self._work = cloudpickle.loads(self._made, buffers=arrays)()
        except BaseException as error:
            return taskodec.__version__, failure(error)
        return taskodec.__version__, Outcome()

    def work(self, subjects: Sequence[Subject], *arrays: Any) -> list[Outcome]:
        """What becomes of subjects."""
        if self._work is None:
            self.load(*arrays)
        assert self._work is not None
        return self._work(subjects, None)
