"""What a page is told of a run while it looks on: server-sent events, each with all that there is to show. No torch."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from taskodec.demo.live import live_charts
from taskodec.demo.runs import Run
from taskodec.files.json_text import finite

__all__ = ["events", "state_of"]

LOOK_EVERY = 0.25
"""Seconds between two looks at what the worker has told."""

ALIVE_EVERY = 40
"""Looks without news after which a comment is sent: a connection that nobody reads is found out so."""


async def events(run: Run, stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """The state of a run whenever it has changed, to its end; whoever comes back gets all of it again."""
    known, quiet = "", 0
    while True:
        run.trail.follow()
        if run.job.begun is not None and run.state == "waiting":
            run.state = "running"
        over = not run.active  # as the page is told of it: it may end while that is sent
        mark = f"{run.state} {run.trail.stage} {len(run.trail.steps)}"
        quiet += 1
        if mark != known:
            known, quiet = mark, 0
            yield f"data: {json.dumps(finite(state_of(run)))}\n\n"
        elif quiet % ALIVE_EVERY == 0:
            yield ": nothing new\n\n"
        if over:
            return
        if stopping():
            yield f"data: {json.dumps({'state': 'stopping'})}\n\n"
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await run.ended.wait()


def state_of(run: Run) -> dict[str, Any]:
    """All that there is to show of a run; `charts` are HTML."""
    trail, steps = run.trail, run.trail.steps
    tuned = [step for step in steps if step.figures]
    found: dict[str, Any] = {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "stage": trail.stage,
        "seconds": round(run.lasted, 1),
        **trail.facts,
    }
    if steps:
        found |= {"step": steps[-1].number, "total": steps[-1].total}
    if tuned:
        found |= {**tuned[-1].figures, "first": tuned[0].figures, "charts": live_charts(steps)}
    return found | {"report": dict(run.report), "error": dict(run.error)}
