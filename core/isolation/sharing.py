"""Who may use a codec at once: any number of passes that leave it as it is, or one that changes it.

Adapters of low rank act through `taskodec.isolation.activation` and change nothing. Others hook or alter the codec's
layers when they are attached, so that nothing else may go through it meanwhile.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Condition, Lock, get_ident
from weakref import WeakKeyDictionary

from taskodec.errors import UsageError

__all__ = ["InUseError", "alone", "shared"]


class InUseError(UsageError):
    """What a thread wants to use is in use in this very thread, so that to wait would be for ever."""


@contextmanager
def shared(owner: object) -> Iterator[None]:
    """Within, `owner` may be used by this thread, and by others that leave it as it is.

    InUseError inside `alone` of the same thread: the owner is not as it should be there.
    """
    with _gate(owner).shared():
        yield


@contextmanager
def alone(*owners: object) -> Iterator[None]:
    """Within, no other thread uses any of `owners`. InUseError if this one does already."""
    with ExitStack() as stack:
        for owner in owners:
            stack.enter_context(_gate(owner).alone())
        yield


class _Gate:
    """A lock that many may hold, or one; who wants to be alone goes before who comes later."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.sharing: Counter[int] = Counter()
        self.owner: int | None = None
        self.waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        me = get_ident()
        with self.changed:
            if self.owner == me:
                raise InUseError(_IN_USE)
            if not self.sharing[me]:  # who is inside may go in again
                self.changed.wait_for(lambda: self.owner is None and not self.waiting)
            self.sharing[me] += 1
        try:
            yield
        finally:
            with self.changed:
                self.sharing[me] -= 1
                if not self.sharing[me]:
                    del self.sharing[me]
                self.changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        me = get_ident()
        with self.changed:
            if self.owner == me or self.sharing[me]:
                raise InUseError(_IN_USE)
            self.waiting += 1
            try:
                self.changed.wait_for(lambda: self.owner is None and not self.sharing)
                self.owner = me
            finally:
                self.waiting -= 1
                self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self.owner = None
                self.changed.notify_all()


_IN_USE = (
    "this codec is in use in this thread already, with an adapter that is attached to it: a loss or a progress "
    "callback cannot compress or decompress with the same codec; use another Compressor or Decompressor there"
)

_gates: WeakKeyDictionary[object, _Gate] = WeakKeyDictionary()
_looking = Lock()


def _gate(owner: object) -> _Gate:
    with _looking:
        return _gates.setdefault(owner, _Gate())


if hasattr(os, "register_at_fork"):  # no other thread is in a process that was forked, whatever it was about
    os.register_at_fork(before=_looking.acquire, after_in_parent=_looking.release, after_in_child=_looking.release)
    os.register_at_fork(after_in_child=_gates.clear)
