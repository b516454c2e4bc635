"""A clean stop: Ctrl-C and SIGTERM end a long run between two steps, and any other at once and without a remainder."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SIGNALLED", "Stopped", "end_with_parent", "exit_code", "interrupts_kept", "stops_raised"]

ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a program which does not handle them, beside that of Ctrl-C."""

SIGNALLED = 128
"""What shells add to the number of a signal."""


class Stopped(KeyboardInterrupt):
    """A signal that ends the program, and what there is to say of it; Ctrl-C's own is a KeyboardInterrupt."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """That of a program which the signal has ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return SIGNALLED + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def stops_raised() -> Iterator[None]:
    """SIGTERM and SIGHUP within are a `Stopped`, so that what is open is closed and no temporary file stays.

    Only the first counts, since the clean end must not be cut off. Those that are ignored, as under `nohup`, stay so.
    Outside the main thread nothing changes, since only there Python handles signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in ENDS if signal.getsignal(number) == signal.SIG_DFL]

    def stop(number: int, _frame: FrameType | None) -> None:
        for own in ours:
            signal.signal(own, signal.SIG_IGN)
        raise Stopped(number=number)

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def interrupts_kept(*, twice: bool) -> Iterator[Callable[[], int]]:
    """Keep SIGINT and SIGTERM from ending the program; the function given says which one has come first, or 0.

    With `twice`, a second Ctrl-C is a KeyboardInterrupt at once. Outside the main thread nothing is kept, since only
    there Python handles signals.
    """
    came: list[int] = []

    def keep(number: int, _frame: FrameType | None) -> None:
        if came and twice and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def end_with_parent() -> None:
    """End this process, one of `multiprocessing`, with the one that started it, even if that is killed."""
    from multiprocessing import parent_process  # of which --help needs nothing

    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
