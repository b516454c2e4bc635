"""One state of PyTorch to compute in, whatever the caller has set; what was set holds again afterwards.

`clean` is that state: PyTorch as it starts, in 32 bits, on the CPU unless told otherwise, with gradients. `kept` puts
back whatever anybody else's code changes. Grad mode, autocast, default device and denormals are a thread's own. The
switches of `taskodec.isolation.switches` are the process's: while they are as PyTorch starts, threads compute side by
side; where a caller has set one, they take turns. The number of threads is a matter of speed, and left to the caller.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from threading import Condition, get_ident, local
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from torch import nn

from taskodec.errors import UsageError
from taskodec.isolation.switches import Switch, ThreadSwitches, process_switches

__all__ = ["clean", "in_clean_state", "kept", "trainable"]

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@contextmanager
def clean() -> Iterator[None]:
    """Within, PyTorch computes in this thread as it does when it has just been imported.

    UsageError in a forked process that would hang, since the threads of the one that it was forked from are gone.
    """
    _check_fork()
    with torch.inference_mode(mode=False), np.errstate(all="warn", under="ignore"):
        before = ThreadSwitches()
        with _process.plain():
            try:
                before.make_plain()
                yield
            finally:
                before.restore()
    _here.used = True


@contextmanager
def kept() -> Iterator[None]:
    """Within, anybody's code may run: what it changes of PyTorch's switches is put back."""
    grad = torch.is_grad_enabled()
    with torch.inference_mode(
        mode=torch.is_inference_mode_enabled()
    ):  # a block can be left, whatever was left open in it
        torch.set_grad_enabled(grad)
        before, threads = ThreadSwitches(), torch.get_num_threads()
        with _process.kept():
            try:
                yield
            finally:
                before.restore()
                if torch.get_num_threads() != threads:
                    torch.set_num_threads(threads)


def in_clean_state(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """The function in a `clean` state; a generator function too, and between its values the caller's state holds."""
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def steps(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Iterator[Any]:
            generator = cast(Iterator[Any], function(*args, **kwargs))
            while True:
                with clean():
                    try:
                        value = next(generator)
                    except StopIteration:
                        return
                yield value

        return cast(Callable[Arguments, Returned], steps)

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        with clean():
            return function(*args, **kwargs)

    return call


class _Process:
    """The switches of the process.

    `inside` counts the blocks of each thread that computes, `turn` is the thread that has to be alone because its
    caller had set switches, and `guests` counts the blocks of anybody's code, which may have set some for a moment.
    `found` is how the switches were when the first thread came in: what computes the same need not read the same.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: in a process that was forked no other thread is inside."""
        self.changed = Condition()
        self.inside: dict[int, int] = {}
        self.turn: int | None = None
        self.guests = 0
        self.found: Mapping[Switch, Any] = {}

    @contextmanager
    def plain(self) -> Iterator[None]:
        me = get_ident()
        with self.changed:
            callers = _not_plain(_make_plain()) if me in self.inside else self._enter(me)
            self.inside[me] = self.inside.get(me, 0) + 1
        try:
            yield
        finally:
            with self.changed:
                self.inside[me] -= 1
                if not self.inside[me]:
                    del self.inside[me]
                self._leave(me, callers)

    def _enter(self, me: int) -> Mapping[Switch, Any]:
        """Wait for the turn, and make the switches plain; those that were not."""
        self.changed.wait_for(lambda: self.turn is None and not (self.guests and _set_ones()))
        found = _make_plain()
        if not self.inside:
            self.found = found
        callers = _not_plain(found)
        if callers:  # from here on plain for those inside as well, who leave before they are set again
            self.turn = me
            try:
                self.changed.wait_for(lambda: not self.inside)
            except BaseException:  # Ctrl-C while waiting
                self._leave(me, callers)
                raise
        return callers

    def _leave(self, me: int, callers: Mapping[Switch, Any]) -> None:
        """Set the caller's switches again, and let others have the turn once this thread is out."""
        _make_plain()  # whatever a plugin has set inside
        _set({**({} if self.inside else self.found), **callers})
        if me not in self.inside and self.turn == me:
            self.turn = None
        self.changed.notify_all()

    @contextmanager
    def kept(self) -> Iterator[None]:
        with self.changed:
            self.guests += 1
            before = {} if self.inside else {switch: switch.read() for switch in process_switches()}
        try:
            yield
        finally:
            with self.changed:
                self.guests -= 1
                if not before:
                    _make_plain()
                _set(before)
                self.changed.notify_all()


def _set_ones() -> dict[Switch, Any]:
    """Values of the switches that are not plain."""
    return _not_plain({switch: switch.read() for switch in process_switches()})


def _not_plain(values: Mapping[Switch, Any]) -> dict[Switch, Any]:
    return {switch: value for switch, value in values.items() if not switch.is_plain(value)}


def _make_plain() -> dict[Switch, Any]:
    """Make all switches plain; their values before."""
    before = {}
    for switch in process_switches():  # one after the other: some cannot be read before another one is plain
        before[switch] = switch.read()
        if not switch.is_plain(before[switch]):
            switch.write(switch.plain)
    return before


def _set(values: Mapping[Switch, Any]) -> None:
    """Set what differs, last first: to write the precision of float32 products changes what each backend's reads."""
    for switch in reversed(process_switches()):
        if switch in values and switch.read() != values[switch]:
            switch.write(values[switch])


_process = _Process()

_here = local()
"""Of each thread: whether it has `used` torch, and whether it is `cut` off from the threads that torch had then."""


def _forked() -> None:
    _process.forget()
    _here.cut = getattr(_here, "used", False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _check_fork() -> None:
    if getattr(_here, "cut", False) and torch.get_num_threads() > 1:
        raise UsageError(
            f"this process was forked from one that had computed with {torch.get_num_threads()} threads, which are not "
            "here, so that PyTorch would wait for them for ever: start processes with "
            'multiprocessing.get_context("spawn"), or call torch.set_num_threads(1) first in a forked one'
        )


def trainable(module: ModuleT) -> ModuleT:
    """The module or, if it was made in inference mode, through which no gradient can go, a copy that was not."""
    return copy.deepcopy(module) if any(value.is_inference() for value in module.state_dict().values()) else module
