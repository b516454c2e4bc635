"""A clean stop: Ctrl-C and SIGTERM end a long run between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_kept"]


@contextmanager
def interrupts_kept(*, twice: bool) -> Iterator[Callable[[], bool]]:
    """Keep SIGINT and SIGTERM from ending the program; the function given says whether one has come.

    With `twice`, a second Ctrl-C is a KeyboardInterrupt at once. Outside the main thread nothing is kept, since only
    there Python handles signals.
    """
    came: list[int] = []

    def keep(number: int, _frame: FrameType | None) -> None:
        if came and twice and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
