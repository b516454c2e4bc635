"""Measuring the rows of an evaluation, here or in several processes with one thread each; one process writes.

Every process computes with one thread, however many there are, so that their number changes no figure.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache

import torch

from taskodec.bench.rows import RowFile
from taskodec.bench.speed import torch_threads
from taskodec.console.interrupt import end_with_parent
from taskodec.console.progress import Progress
from taskodec.errors import TaskodecError, UsageError
from taskodec.evaluation.lab import EvaluationPlan, Lab
from taskodec.evaluation.rows import Job, Row
from taskodec.hooks.registry import default_registry

__all__ = ["Progress", "Spread", "default_processes", "measure_rows"]

Spread = Callable[[EvaluationPlan, Sequence[Job], Callable[[Row], None]], None]
"""Measures rows and has each kept as it comes."""


def default_processes(lab: Lab) -> int:
    """As many as there are cores, for this process if the system says so; one where a GPU computes."""
    if lab.device.type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_rows(
    lab: Lab,
    jobs: Sequence[Job],
    file: RowFile[Row],
    processes: int = 1,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Row]:
    """The rows of these jobs; those that the file has already are taken from there. `spread` measures them elsewhere.

    Every image that is needed is opened before the first row, so that a damaged one is an ImageError now and not after
    hours. Each row is in the file as soon as it is measured. After a failure no further row is begun, those under way
    are finished, and the error names image, method and quality.
    """
    if processes < 1:
        raise UsageError(f"{processes} processes: give one at least")
    missing = [job for job in jobs if file.find(job.key) is None]
    done = len(jobs) - len(missing)
    for path in dict.fromkeys(job.source.path for job in missing):
        lab.framing.load(path, lab.plan.settings.limits.max_pixels)

    def keep(row: Row) -> None:
        nonlocal done
        file.add(row)
        done += 1
        if progress is not None:
            progress(done, len(jobs), {"bpp": row.bpp or 0.0, "task_loss": row.task_loss})

    if spread is not None and missing:
        spread(lab.plan, missing, keep)
    elif min(processes, len(missing)) > 1:
        _in_processes(lab.plan, missing, min(processes, len(missing)), keep)
    else:
        with torch_threads(1):
            for job in missing:
                keep(lab.measure(job))
    found = [file.find(job.key) for job in jobs]
    return [row for row in found if row is not None]


def _in_processes(plan: EvaluationPlan, jobs: Sequence[Job], processes: int, keep: Callable[[Row], None]) -> None:
    """Measure in a pool; Ctrl-C ends its processes at once."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    failed: TaskodecError | None = None
    with ProcessPoolExecutor(processes, context, _start, (plan,)) as pool:
        try:
            with _interrupts_ignored():
                futures = [pool.submit(_measure, job) for job in jobs]
            for future in as_completed(futures):
                failed = _take(future, keep) or failed
                if failed:
                    for waiting in futures:
                        waiting.cancel()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TaskodecError(
                    "a process that measured was ended from outside, perhaps for want of memory: try fewer --jobs; "
                    "what was measured is kept"
                ) from error
            raise
    if failed:
        raise failed


def _take(future: Future[Row], keep: Callable[[Row], None]) -> TaskodecError | None:
    """Keep the row of a future, unless it was cancelled; the error if there is none."""
    if future.cancelled():
        return None
    try:
        row = future.result()
    except TaskodecError as error:
        return error
    keep(row)
    return None


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What starts meanwhile ignores Ctrl-C, which reaches a whole group of processes: the first one ends the others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_plans: list[EvaluationPlan] = []
"""Of this process, if it is one of a pool."""


def _start(plan: EvaluationPlan) -> None:
    """Make ready a process of the pool, and end it with the one that started it, even if that is killed."""
    _plans.append(plan)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the first process has said them
    end_with_parent()


@cache
def _lab() -> Lab:
    """The codec and the task of this process."""
    registry = default_registry()
    for path in _plans[0].plugins:
        registry.load_plugin_file(path)
    return Lab(_plans[0], registry)


def _measure(job: Job) -> Row:
    return _lab().measure(job)
