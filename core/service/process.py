"""One worker process: started, asked one thing at a time, killed and started anew. No torch."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from taskodec.service import entry
from taskodec.service.work import Answer, Start, Work

__all__ = ["Died", "Overdue", "Process", "started"]

T = TypeVar("T")

PRELOADED = ("taskodec.service.worker", "torch._dynamo")
"""Modules that take seconds to import; the latter is what PyTorch's optimizers import at their first step."""


class Died(Exception):
    """The process is gone, and what it was doing with it, unless that had not `begun`."""

    def __init__(self, *, begun: bool = True) -> None:
        super().__init__()
        self.begun = begun


class Overdue(Exception):
    """It took too long, and was killed."""


class Process:
    """A pool of the standard library with one process, so that only its own work is lost with it.

    Messages are small, so that a process that is killed in the midst of one leaves nothing half read: pictures and
    streams lie in files.
    """

    def __init__(self, start: Start, start_timeout: float) -> None:
        self.start, self.start_timeout = start, start_timeout
        self.pid: int | None = None
        self._pool: ProcessPoolExecutor | None = None

    async def begin(self) -> str:
        """Start it, and have it load what it needs: what is wrong with that, if anything is. Died, Overdue."""
        self._pool = ProcessPoolExecutor(1, _context(), entry.prepare)
        deadline = asyncio.get_running_loop().time() + self.start_timeout
        self.pid = await self._ask(deadline, os.getpid)
        return await self._ask(deadline, entry.begin, self.start)

    async def do(self, work: Work, deadline: float) -> Sequence[Answer]:
        """The answers to a piece of work, by this time of the loop. Died, Overdue."""
        return await self._ask(deadline, entry.do, work)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self.pid = self._pool = None

    @property
    def alive(self) -> bool:
        """Whether it is there, as far as is known."""
        if self.pid is None:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    async def _ask(self, deadline: float, function: Callable[..., T], *given: Any) -> T:
        try:
            if self._pool is None:
                raise BrokenProcessPool
            future = self._pool.submit(function, *given)
        except RuntimeError:  # it has died while it had nothing to do
            self.kill()
            raise Died(begun=False) from None
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            self.kill()
            raise Overdue from None
        except BrokenProcessPool:
            self.kill()
            raise Died from None


async def started(process: Process) -> str:
    """Start it; what is wrong if it could not."""
    try:
        return await process.begin()
    except Died:
        return "the process died while it started, perhaps for want of memory"
    except Overdue:
        return f"the process took longer than {process.start_timeout:g} s to start (serve.start_timeout)"
    except Exception as error:
        process.kill()
        return f"{type(error).__name__}: {error}"


def _context() -> BaseContext:
    """How processes are made: new ones, not copies of this one.

    Where there is a fork server, one imports PyTorch once, computes nothing, and a worker is a copy of it within
    milliseconds; importing takes seconds, as long as a worker that was killed would be missed.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context
