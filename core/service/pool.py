"""Jobs that wait, and the processes that do them: bounded, on time, and whatever one of them does to its process."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskodec.service import errors
from taskodec.service.logs import log
from taskodec.service.metrics import Metrics
from taskodec.service.process import Died, Overdue, Process, started
from taskodec.service.work import Done, Failed, Work
from taskodec.settings.model import Settings
from taskodec.settings.serve import ServeSettings

__all__ = ["Job", "Pool"]

_loop = asyncio.get_running_loop

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a process that cannot start is tried again."""

LOOK_EVERY = 1.0
"""Seconds after which an idle process is looked at: it may have been killed."""


@dataclass(eq=False)
class Job:
    """A picture to compress or, with a `form` to be written in, a stream to decompress, in a folder of its own.

    Jobs of one `key`, of so many `pixels`, may be done together; None is alone. `arrived` and `begun` are times of the
    loop; `again` is one whose process was lost with several jobs, of which it may have been another.
    """

    folder: Path
    settings: Settings
    arrived: float
    request: str = ""
    form: str = ""
    key: Hashable = None
    pixels: int = 1
    begun: float | None = None
    again: bool = False
    answer: asyncio.Future[Mapping[str, Any]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Pool:
    """Processes, each with a task of the loop that starts it, gives it work, and starts it anew.

    `codecs` are those that streams may name. `frank` tells clients what is wrong with the server itself, where they are
    who runs it.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        serve: ServeSettings,
        codecs: Sequence[str],
        metrics: Metrics,
        *,
        frank: bool = False,
    ) -> None:
        self.processes, self.serve, self.frank = processes, serve, frank
        self.codecs, self.metrics = tuple(codecs), metrics
        self.problem = ""
        self.stopping = False
        self.ready: set[Process] = set()
        self.running: dict[Job, Process] = {}
        self._waiting: deque[Job] = deque()
        self._news = asyncio.Event()
        self._first = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._seconds = 1.0

    async def begin(self) -> None:
        """Start all processes; returns when the first one is ready, or has not become so (`problem`)."""
        self._tasks = [asyncio.create_task(self._keep(process)) for process in self.processes]
        await self._first.wait()

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether a job would have to wait."""
        return len(self.running) + len(self._waiting) >= len(self.ready)

    def check(self) -> None:
        """BusyError if there is no place for another job, StoppingError if none is taken any more."""
        if self.stopping:
            raise errors.StoppingError("the server is being stopped; send it again")
        if self.busy and self.waiting >= self.serve.queue:
            raise errors.BusyError(
                f"{self.waiting} requests wait, as many as may; send it again later", self.seconds_to_wait
            )

    @property
    def seconds_to_wait(self) -> float:
        """About how long it takes until all that wait now have begun."""
        return (self.waiting + 1) * self._seconds / len(self.processes)

    async def run(self, job: Job) -> Mapping[str, Any]:
        """Have a job done: its report, or the ServiceError that it has come to.

        It waits `serve.queue_timeout` seconds at most, and takes at most `serve.timeout` seconds more.
        """
        self.check()
        begin_by = job.arrived + self.serve.queue_timeout
        timers = [_loop().call_at(begin_by, self._expire, job), _loop().call_at(self._end_by(job), self._end, job)]
        self._put(job)
        try:
            return await job.answer
        finally:
            for timer in timers:
                timer.cancel()
            if job in self._waiting:
                self._waiting.remove(job)
            self._count()

    def interrupt(self, job: Job) -> None:
        """End the process that is at a job, whatever it does; another one takes its place."""
        if (process := self.running.get(job)) is not None:
            process.kill()

    def stop(self, seconds: float) -> None:
        """Take no more jobs, and give up those that are left after so long."""
        self.stopping = True
        _loop().call_later(seconds, self._give_up)

    async def close(self) -> None:
        """End all processes."""
        self._give_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self.processes:
            process.kill()

    def _give_up(self) -> None:
        for job in [*self._waiting, *self.running]:
            _fail(job, errors.StoppingError("the server is being stopped and does not wait longer; send it again"))

    def _end_by(self, job: Job) -> float:
        return job.arrived + self.serve.queue_timeout + self.serve.timeout

    def _expire(self, job: Job) -> None:
        if job.begun is None and not job.again:
            seconds = self.serve.queue_timeout
            message = f"it has waited {seconds:g} s, serve.queue_timeout, and was not begun; send it again later"
            _fail(job, errors.BusyError(message, self.seconds_to_wait))

    def _end(self, job: Job) -> None:
        _fail(job, self._too_long())

    def _too_long(self) -> errors.WorkTimeoutError:
        return errors.WorkTimeoutError(
            f"it took longer than {self.serve.timeout:g} s, serve.timeout, and was ended: send a smaller picture, or "
            "ask for fewer steps or a time_budget"
        )

    def _put(self, *jobs: Job, first: bool = False) -> None:
        if first:
            self._waiting.extendleft(reversed(jobs))
        else:
            self._waiting.extend(jobs)
        self._count()
        self._news.set()

    def _count(self) -> None:
        self.metrics.waiting.set(len(self._waiting))
        self.metrics.running.set(len(self.running))
        self.metrics.workers.set(len(self.ready))

    async def _keep(self, process: Process) -> None:
        """Have this process, or another one in its place, until the task is cancelled."""
        pause = FIRST_PAUSE
        while True:
            self.problem = await started(process)
            self._first.set()
            if self.problem and self.stopping:
                return
            if self.problem:
                log.error("a worker cannot start", extra={"event": "start", "problem": self.problem})
                self.metrics.deaths.labels("start").inc()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            self.ready.add(process)
            try:
                while await self._next(process):
                    pass
            finally:
                self.ready.discard(process)
                self._count()
                process.kill()

    async def _next(self, process: Process) -> bool:
        """Have one piece of work done; whether the process is there for another one."""
        while not (jobs := self._group()):
            self._news.clear()
            self._count()
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()
            except TimeoutError:
                if not process.alive:
                    self._mourn(process, "killed")
                    return False
        return await self._do(process, jobs)

    def _group(self) -> list[Job]:
        """The job whose turn it is, and those that are done with it; empty where none waits."""
        while self._waiting:
            first = self._waiting.popleft()
            if first.answer.done():
                continue
            if first.key is None or first.again:
                return [first]
            share = math.ceil((len(self._waiting) + 1) / len(self.processes))
            most = min(self.serve.batch, self.serve.batch_pixels // first.pixels, share)
            same = [job for job in self._waiting if job.key == first.key and not job.again][: max(0, most - 1)]
            for job in same:
                self._waiting.remove(job)
            return [first, *same]
        return []

    async def _do(self, process: Process, jobs: Sequence[Job]) -> bool:
        begun = _loop().time()
        for job in jobs:
            job.begun = begun
            self.metrics.wait_seconds.observe(begun - job.arrived)
        self.running.update(dict.fromkeys(jobs, process))
        self._count()
        work = Work(tuple(job.folder for job in jobs), jobs[0].settings, jobs[0].form, self.codecs)
        try:
            answers = await process.do(work, min(begun + self.serve.timeout, *map(self._end_by, jobs)))
        except (Died, Overdue) as end:
            self._mourn(process, "overdue" if isinstance(end, Overdue) else "died", jobs)
            self._lose(jobs, end)
            return False
        finally:
            for job in jobs:
                del self.running[job]
        self._seconds += 0.1 * ((_loop().time() - begun) / len(jobs) - self._seconds)
        for job, answer in zip(jobs, answers, strict=True):
            self._give(job, answer)
        return True

    def _give(self, job: Job, answer: Done | Failed) -> None:
        if isinstance(answer, Done):
            if not job.answer.done():
                job.answer.set_result(answer.report)
            return
        error = errors.FailedError(answer.kind, answer.message)
        if error.hidden and not job.answer.done():
            more = {"event": "fault", "id": job.request, "type": answer.kind, "problem": answer.message}
            log.error("a fault of the server", extra={**more, "traceback": answer.traceback})
        _fail(job, error if self.frank else error.shown)

    def _lose(self, jobs: Sequence[Job], end: Died | Overdue) -> None:
        """The process of these jobs is gone: whichever of several it was, each is done again, alone."""
        left = [job for job in jobs if not job.answer.done()]
        if len(jobs) > 1 or (isinstance(end, Died) and not end.begun):
            for job in left:
                job.begun, job.again = None, len(jobs) > 1 or job.again
            self._put(*left, first=True)
            return
        for job in left:
            died = errors.WorkerDiedError(
                "the process that worked on it died, perhaps for want of memory, or of what task or codec do; another "
                "one takes its place"
            )
            _fail(job, died if isinstance(end, Died) else self._too_long())

    def _mourn(self, process: Process, reason: str, jobs: Sequence[Job] = ()) -> None:
        self.metrics.deaths.labels(reason).inc()
        ids = [job.request for job in jobs]
        log.warning("a worker has ended, another one starts", extra={"event": "worker", "reason": reason, "ids": ids})


def _fail(job: Job, error: errors.ServiceError) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
