"""Work on the workers of a Ray cluster.

A worker is an actor: it loads codec and network once. Ray starts it again when it dies; what it was at is given to
whoever is free. No more is under way, and in memory, than the workers that there are can soon do.
"""

from __future__ import annotations

import pickle
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import taskodec
from taskodec import errors
from taskodec.engines.actor import Actor
from taskodec.engines.steps import Outcome, Step, Subject, Work, failure
from taskodec.errors import TaskodecError, UsageError
from taskodec.settings.ray import RaySettings
from taskodec.sources.entries import read_entry

__all__ = ["RayEngine"]

AHEAD = 2
"""Steps that a worker has: one that it does, and one that waits, so that it need not."""

REORDERED = 4
"""As many times the steps under way may be held back where results are wanted in order."""

STARTS = 3
"""How often a worker that dies while it loads is started again."""

SLOW = 30.0
"""Seconds after which it is said that no worker has started yet."""


@dataclass(eq=False)
class _Pending:
    """A step that was begun, and how often a worker has died of it alone; a `suspect` had a worker that died."""

    step: Step
    done: bool = False
    deaths: int = 0
    suspect: bool = False


@dataclass(eq=False)
class _Worker:
    """An actor and what it does, oldest first. It is up, then loads, then is ready; `deaths` were on that way."""

    actor: Any
    up: bool = False
    ready: bool = False
    deaths: int = 0
    doing: deque[tuple[Any, _Pending]] = field(default_factory=deque)

    def may_have(self, pending: _Pending) -> bool:
        """Whether it can be given this; suspects are alone, so that nothing else is lost with them again."""
        if not self.ready or any(other.suspect for _, other in self.doing):
            return False
        return len(self.doing) < (1 if pending.suspect else AHEAD)


class RayEngine:
    """Does steps on as many workers as the settings say, or fit into the cluster; only within `cluster`.

    `make` makes the work, in each worker; what it raises on purpose ends the run. Entries of this machine, of at most
    `most` bytes, are read here and sent along; objects at URLs are read and written by the workers.
    """

    def __init__(
        self,
        make: Callable[[], Work],
        settings: RaySettings,
        most: int,
        say: Callable[[str], None] = warnings.warn,
    ) -> None:
        import ray

        self.settings, self.most, self._say = settings, most, say
        self._queue: deque[_Pending] = deque()
        self._refs: dict[Any, _Worker] = {}
        made, arrays = _pickled(make)
        self._arrays = [ray.put(array) for array in arrays]
        kind = ray.remote(num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=-1)(Actor)
        self._workers = [_Worker(kind.remote(made)) for _ in range(_count(settings))]
        for worker in self._workers:
            self._await_start(worker)

    def results(self, steps: Iterable[Step], ordered: bool) -> Iterator[Step]:
        """The steps with their outcomes, as they come or in their order.

        A step of which some entries cannot be read comes back in parts.
        """
        coming = _portable(steps, self.most)
        begun: deque[_Pending] = deque()
        more = True
        while more or begun:
            while more and self._has_room(begun):
                if (step := next(coming, None)) is None:
                    more = False
                    break
                pending = _Pending(step, done=step.outcomes is not None or not step.subjects)
                begun.append(pending)
                if not pending.done:
                    self._queue.append(pending)
            yield from _taken(begun, ordered)
            if any(not pending.done for pending in begun):
                self._give()
                self._wait()

    def _has_room(self, begun: Sequence[_Pending]) -> bool:
        most = AHEAD * max(1, sum(worker.ready for worker in self._workers))
        return sum(not pending.done for pending in begun) < most and len(begun) < REORDERED * most

    def _give(self) -> None:
        """Give what waits to the workers that have least to do."""
        while self._queue:
            free = [worker for worker in self._workers if worker.may_have(self._queue[0])]
            if not free:
                return
            worker, pending = min(free, key=lambda worker: len(worker.doing)), self._queue.popleft()
            ref = worker.actor.work.remote(list(pending.step.subjects), *self._arrays)
            worker.doing.append((ref, pending))
            self._refs[ref] = worker

    def _wait(self) -> None:
        """Take what comes next: results, workers that have started, workers that have died."""
        import ray

        ready, _ = ray.wait(list(self._refs), num_returns=1, timeout=SLOW)
        if not ready and not any(worker.ready for worker in self._workers):
            self._say("no worker has started yet; the cluster may lack what one needs (ray.cpus, ray.gpus)")
            self._say = _say_nothing
        for ref in ready:
            worker = self._refs.get(ref)
            if worker is not None:
                self._take(ref, worker)

    def _take(self, ref: Any, worker: _Worker) -> None:
        import ray

        found = next((item for item in worker.doing if item[0] == ref), None)
        try:
            value = ray.get(ref)
        except ray.exceptions.RayTaskError as error:  # a fault of ours or of Ray: all else is an outcome
            value = [failure(error.cause if isinstance(error.cause, Exception) else error)]
            value *= len(found[1].step.subjects) if found else 1
        except ray.exceptions.RayError as error:
            self._died(worker, error)
            return
        self._refs.pop(ref)
        if found is None and not worker.up:
            worker.up = True
            self._refs[worker.actor.load.remote(*self._arrays)] = worker
            return
        if found is None:
            self._loaded(worker, *value)
            return
        worker.doing.remove(found)
        found[1].step.outcomes, found[1].done = value, True

    def _loaded(self, worker: _Worker, version: str, problem: Outcome) -> None:
        if problem.error:
            raise getattr(errors, problem.kind, TaskodecError)(f"on a worker: {problem.error}")
        if version != taskodec.__version__:
            own = taskodec.__version__
            raise UsageError(f"a worker has taskodec {version}, this is {own}: install the same on all machines")
        worker.ready, worker.deaths = True, 0

    def _died(self, worker: _Worker, error: Exception) -> None:
        """What a worker was at is done by others; it itself is started again by Ray, or lost if that is in vain."""
        for ref in [ref for ref, owner in self._refs.items() if owner is worker]:
            del self._refs[ref]
        if not worker.ready:
            self._not_started(worker, error)
            return
        left = [pending for ref, pending in worker.doing if not _harvested(ref, pending)]
        self._say("a worker died, and is started again; what it was at is given to others")
        for pending in left:
            pending.deaths += len(left) == 1
            pending.suspect = True
            if pending.deaths >= self.settings.attempts:
                said = f"the worker that worked on it died {pending.deaths} times, perhaps for want of memory"
                outcome = Outcome(error=said, kind="WorkerDied")
                pending.step.outcomes, pending.done = [outcome] * len(pending.step.subjects), True
            else:
                self._queue.append(pending)
        worker.doing.clear()
        self._await_start(worker)

    def _not_started(self, worker: _Worker, error: Exception) -> None:
        """A worker that dies while it loads is tried again, but not for ever; one that Ray has given up is lost."""
        worker.deaths += 1
        if worker.up and worker.deaths < STARTS:
            self._await_start(worker)
            return
        self._workers.remove(worker)
        if not self._workers:
            said = str(error).strip().partition("\n")[0]
            raise TaskodecError(f"no worker could be started, perhaps for want of memory: {said}") from error

    def _await_start(self, worker: _Worker) -> None:
        worker.up = worker.ready = False
        self._refs[worker.actor.up.options(max_task_retries=-1).remote()] = worker


def _pickled(make: Callable[[], Work]) -> tuple[bytes, list[Any]]:
    """What makes the work, as a stream and the memory of its arrays, which Ray's store gives without a copy."""
    import numpy as np
    from ray import cloudpickle

    buffers: list[pickle.PickleBuffer] = []
    stream = cloudpickle.dumps(make, protocol=5, buffer_callback=buffers.append)  # type: ignore[no-untyped-call, unused-ignore]
    return stream, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]


def _say_nothing(said: str) -> None:
    """What was said once."""


def _count(settings: RaySettings) -> int:
    """As many workers as the settings say, or as there is room for; UsageError if there is room for none."""
    import ray

    if settings.workers:
        return settings.workers
    room = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call, unused-ignore]
        if node["Alive"]:
            has = node["Resources"]
            fit = has.get("CPU", 0) / settings.cpus
            room += int(min(fit, has.get("GPU", 0) / settings.gpus) if settings.gpus else fit)
    if not room:
        raise UsageError(
            f"no machine of the cluster has {settings.cpus:g} CPUs and {settings.gpus:g} GPUs, as a worker is set to "
            "have: set ray.cpus and ray.gpus, or ray.workers where machines are to come"
        )
    return room


def _harvested(ref: Any, pending: _Pending) -> bool:
    """Whether a worker was through with a step before it died; then this is its end."""
    import ray

    if not ray.wait([ref], timeout=0)[0]:
        return False
    try:
        pending.step.outcomes = ray.get(ref)
    except ray.exceptions.RayError:
        return False
    pending.done = True
    return True


def _portable(steps: Iterable[Step], most: int) -> Iterator[Step]:
    """The steps with all that is read from this machine; what cannot be read becomes a step of its own."""
    for step in steps:
        if step.outcomes is not None or not step.subjects:
            yield step
            continue
        subjects = []
        for subject in step.subjects:
            try:
                subjects.append(replace(subject, entry=_sent(subject, most)))
            except TaskodecError as error:
                yield Step([subject], [failure(error)])
        if subjects:
            yield Step(subjects)


def _sent(subject: Subject, most: int) -> Any:
    entry = subject.entry
    return entry if entry.path is None else replace(entry, path=None, data=read_entry(entry, most))


def _taken(begun: deque[_Pending], ordered: bool) -> list[Step]:
    """Take the steps that are done from those begun; if `ordered`, from the front alone."""
    found = []
    for pending in list(begun):
        if pending.done:
            begun.remove(pending)
            found.append(pending.step)
        elif ordered:
            break
    return found
