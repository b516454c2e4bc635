"""The server: settings, socket, log and signals around the application. No torch."""

from __future__ import annotations

import ipaddress
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from taskodec.errors import TaskodecError
from taskodec.hooks.registry import Registry
from taskodec.service.access import is_loopback, token_of
from taskodec.service.app import make_app
from taskodec.service.logs import log, log_as_json
from taskodec.service.options import settings_files
from taskodec.service.pool import Pool
from taskodec.service.process import Process
from taskodec.service.service import Service
from taskodec.service.work import Start
from taskodec.settings.model import Settings

__all__ = ["listening", "run_app", "serve", "shares", "temporary_folder", "url_of"]

MOST_WORKERS = 4
KEEP_ALIVE = 5
EXTRA_SECONDS = 5
"""After which uvicorn itself ends what a stop has left."""


class _Server(uvicorn.Server):
    """Tells the pool of a stop, before it waits for the requests that there are; calls `ready` once it answers."""

    def __init__(self, config: uvicorn.Config, pool: Pool, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._pool, self._ready = pool, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No new work; what there is has a time to end."""
        seconds = self._pool.serve.stop_timeout
        log.info("stopping", extra={"event": "stop", "seconds": seconds})
        self._pool.stop(seconds)
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    registry: Registry,
    *,
    files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    plugins: Sequence[Path] = (),
) -> None:
    """Serve until a signal says to stop. `settings` are those of files and overrides; workers load the plugins too.

    UsageError for settings that it cannot be started with, TaskodecError for an address that cannot be had, and for
    workers that do not start.
    """
    token = token_of(settings.serve)
    with temporary_folder() as folder, listening(settings.serve.host, settings.serve.port) as listener:
        kept = settings_files(files, overrides, folder)
        workers, threads = shares(settings)
        memory = None if settings.serve.memory is None else settings.serve.memory * 2**20
        start = Start(settings, tuple(path.resolve() for path in plugins), threads, memory)
        processes = [Process(start, settings.serve.start_timeout) for _ in range(workers)]
        service = Service(settings, registry, processes, folder, kept)
        log_as_json()
        _run(service, listener, token)
    if service.pool.problem and not service.pool.stopping:
        raise TaskodecError(f"no worker could be started: {service.pool.problem}")


def _run(service: Service, listener: socket.socket, token: str) -> None:
    serve = service.settings.serve
    url = url_of(listener)
    facts = {"workers": len(service.pool.processes), "token": bool(token)}
    log.info("starting", extra={"event": "start", "url": url, **facts})
    if not token and not is_loopback(serve.host):
        log.warning("serve.open: everybody who reaches this address can use it", extra={"event": "open", "url": url})
    run_app(make_app(service, token), service.pool, listener)


def run_app(app: ASGIApp, pool: Pool, listener: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Answer until a signal says to stop, or until the pool cannot be started, which is its `problem`.

    `ready` is called once it answers.
    """
    seconds = pool.serve.stop_timeout
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(seconds) + EXTRA_SECONDS,
        lifespan="on",
        ws="none",
    )
    try:
        _Server(config, pool, ready).run([listener])
    except KeyboardInterrupt:  # the signal that it was stopped by, once all is done
        log.info("stopped", extra={"event": "stopped"})
    except SystemExit:
        if not pool.problem:
            raise


def url_of(listener: socket.socket) -> str:
    """The address that a socket listens at."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the files of jobs, which goes with the server."""
    folder = Path(tempfile.mkdtemp(prefix="taskodec-serve-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that has the address; TaskodecError if it cannot be had."""
    try:
        listener = socket.create_server((host, port), family=_family(host), backlog=2048)
    except (OSError, UnicodeError) as error:
        plain = isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno
        said = os.strerror(plain) if plain else getattr(error, "strerror", None) or error
        raise TaskodecError(f"cannot listen on {host}, port {port}: {said}; choose another --port or --host") from error
    with listener:
        # asyncio sets it on connections of its own listeners only; without, the second part of an answer waits 40 ms
        # for the client's delayed acknowledgement of the first
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _family(host: str) -> socket.AddressFamily:
    try:
        return socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return socket.AF_INET


def shares(settings: Settings) -> tuple[int, int]:
    """How many workers, and how many threads each of them has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = settings.device == "cpu" or (settings.device == "auto" and not Path("/dev/nvidiactl").exists())
    workers = settings.serve.workers or (min(cores, MOST_WORKERS) if on_cpu else 1)
    return workers, settings.serve.threads or max(1, cores // workers)
