"""The server of the page: loopback alone, one worker process, one picture at a time. No torch."""

from __future__ import annotations

import logging
import os
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

from taskodec.demo.app import make_app
from taskodec.demo.asked import own_tasks
from taskodec.errors import TaskodecError, UsageError
from taskodec.hooks.registry import Registry
from taskodec.service.access import is_loopback
from taskodec.service.logs import log
from taskodec.service.options import settings_files
from taskodec.service.pool import Pool
from taskodec.service.process import Process
from taskodec.service.server import listening, run_app, shares, temporary_folder, url_of
from taskodec.service.service import Service
from taskodec.service.work import Start
from taskodec.settings.model import Settings

__all__ = ["demo", "first_task"]

TIMEOUT = 6 * 3600.0
"""Seconds of a run at most: who waits for it sees it, and can cancel it."""

FIXED = {"workers": 1, "queue": 1, "queue_timeout": TIMEOUT, "timeout": TIMEOUT, "stop_timeout": 0.5, "batch": 1}

DEFAULT, SHOWN = "human", "cls"
"""The task of all settings, and the one that shows what this is about."""


def demo(
    settings: Settings,
    registry: Registry,
    *,
    host: str,
    port: int,
    tasks: Sequence[str] = (),
    files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    plugins: Sequence[Path] = (),
    opened: bool = True,
) -> None:
    """Serve the page until a signal says to stop; `opened` in a browser, if there is a desktop to have one.

    UsageError for a host that others can reach, and for tasks that cannot be had; TaskodecError for an address that
    cannot be had, and for a worker that does not start.
    """
    if not is_loopback(host):
        raise UsageError(
            f"--host {host}: the page is for this machine alone; valid: 127.0.0.1, localhost, ::1. From another one, "
            f"`ssh -L {port}:127.0.0.1:{port} THIS_MACHINE` brings it there; `taskodec serve` has tokens"
        )
    own = own_tasks(tasks)
    for name in tasks:
        if ".py" not in name:
            registry.tasks.usable(name)
    serving = settings.serve.model_copy(update=FIXED)
    settings = settings.model_copy(update={"serve": serving})
    with temporary_folder() as folder, listening(host, port) as listener:
        kept = settings_files(files, overrides, folder)
        memory = None if serving.memory is None else serving.memory * 2**20
        paths, coders = tuple(path.resolve() for path in plugins), "taskodec.demo.worker:Studies"
        start = Start(settings, paths, shares(settings)[1], memory, coders, tuple(own.values()))
        process = Process(start, serving.start_timeout)
        service = Service(settings, registry, [process], folder, kept, own_tasks=own, frank=True)
        _log_plainly(service.pool)
        print("starting …", file=sys.stderr, flush=True)
        app = make_app(service, first_task(settings, tasks, own, service.tasks.names))
        url = url_of(listener)
        run_app(app, service.pool, listener, lambda: _say(url, opened))
    if service.pool.problem and not service.pool.stopping:
        raise TaskodecError(f"the worker could not be started: {service.pool.problem}")


def first_task(settings: Settings, given: Sequence[str], own: Mapping[str, str], names: Sequence[str]) -> str:
    """The task that the page begins with: the first one given, or that of the settings.

    Where these say nothing else, it is one with a network, whose sight the page can show.
    """
    if given:
        return next((label for label, spec in own.items() if _same(spec, given[0])), given[0])
    name = settings.task.name
    return SHOWN if name == DEFAULT and SHOWN in names else name


def _same(spec: str, given: str) -> bool:
    file, _, name = given.rpartition(":")
    return bool(file) and spec == f"{Path(file).expanduser().resolve()}:{name}"


def _say(url: str, opened: bool) -> None:
    print(f"{url}/ has the page; Ctrl-C ends it", flush=True)
    if opened and has_desktop():
        threading.Thread(target=webbrowser.open, args=(f"{url}/",), daemon=True).start()


def has_desktop() -> bool:
    """Whether a browser would have a window: where there is none, one in the terminal would take it over."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _log_plainly(pool: Pool) -> None:
    """What goes wrong in the server is said where it was started; of a worker that does not start, the end says it."""
    logging.getLogger("uvicorn.error").addFilter(lambda _: not pool.problem)
    handler = logging.StreamHandler()
    form = "{levelname}: {message} {problem} {traceback}"
    handler.setFormatter(logging.Formatter(form, style="{", defaults={"problem": "", "traceback": ""}))
    handler.setLevel(logging.WARNING)
    log.addHandler(handler)
    log.propagate = False
