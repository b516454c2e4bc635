"""Runs of the page: one picture at a time, from its arrival to what became of it, and the last ones that are kept."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskodec.demo.files import TOLD
from taskodec.demo.told import Trail
from taskodec.errors import TaskodecError
from taskodec.isolation.faults import described
from taskodec.service.errors import BusyError, ServiceError
from taskodec.service.logs import log
from taskodec.service.pool import Job, Pool

__all__ = ["ACTIVE", "Run", "Runs", "UnknownRunError"]

KEPT = 6
"""Runs whose streams and pages can still be had."""

GRACE = 3.0
"""Seconds until a process that does not heed a cancellation is killed: it may be in somebody's endless loop."""

ACTIVE = ("waiting", "running")


class UnknownRunError(ServiceError):
    """A run that is not here, or not any more."""

    status = 404


@dataclass(eq=False)
class Run:
    """A picture and what becomes of it; `state` is waiting, running, done, failed or cancelled."""

    id: str
    job: Job
    name: str
    began: float
    trail: Trail
    state: str = "waiting"
    seconds: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return self.state in ACTIVE

    def end(self, state: str) -> None:
        """It is over."""
        self.trail.follow()
        self.state, self.seconds = state, self.lasted
        self.ended.set()

    @property
    def lasted(self) -> float:
        """Seconds so far, or in all."""
        return asyncio.get_running_loop().time() - self.began if self.active else self.seconds


class Runs:
    """Has one run at a time done by the pool."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool, self.folder = pool, folder
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Run | None:
        """The one that goes on."""
        return next((run for run in self._runs.values() if run.active), None)

    def check(self) -> None:
        """BusyError while there is one."""
        if (run := self.current) is not None:
            raise BusyError(
                f"{run.name} is being compressed already, perhaps in another window: wait for it, or cancel it",
                self.pool.seconds_to_wait,
            )

    def new_folder(self) -> Path:
        """For the files of a run."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def begin(self, job: Job, name: str) -> Run:
        """Begin a run, whose picture lies in the job's folder. BusyError while there is another."""
        self.check()
        self.pool.check()
        run = Run(secrets.token_urlsafe(12), job, name, job.arrived, Trail(job.folder / TOLD))
        self._runs[run.id] = run
        self._task(self._through(run))
        for old in [one for one in self._runs.values() if not one.active][: max(0, len(self._runs) - KEPT)]:
            del self._runs[old.id]
            shutil.rmtree(old.job.folder, ignore_errors=True)
        return run

    def get(self, number: str) -> Run:
        """The run of this id; UnknownRunError if it is none of those that are kept."""
        if (run := self._runs.get(number)) is None:
            raise UnknownRunError("this picture is not known here: the server was started anew, or has forgotten it")
        return run

    def cancel(self, run: Run) -> None:
        """End a run at its next step, or with its process if it does not come to one."""
        if not run.active:
            return
        run.end("cancelled")
        if not run.job.answer.done():
            run.job.answer.cancel()
        shutil.rmtree(run.job.folder, ignore_errors=True)  # which the worker looks for at every step
        self._task(self._insist(run.job))

    def _task(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _insist(self, job: Job) -> None:
        await asyncio.sleep(GRACE)
        self.pool.interrupt(job)

    async def _through(self, run: Run) -> None:
        try:
            report = await self.pool.run(run.job)
        except asyncio.CancelledError:
            if run.active:  # the server ends
                run.end("cancelled")
            return
        except TaskodecError as error:
            self._fail(run, error.kind if isinstance(error, ServiceError) else type(error).__name__, str(error))
        except Exception as error:
            log.exception("a fault of the page", extra={"event": "fault"})
            self._fail(run, "InternalError", described(error))
        else:
            run.report = report
            run.end("done")

    def _fail(self, run: Run, kind: str, message: str) -> None:
        run.error = {"type": kind, "message": message}
        run.end("failed")
