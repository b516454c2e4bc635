"""What the addresses of the service have in common: what is allowed, folders, and a job from request to report."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request

from taskodec.errors import ImageError
from taskodec.hooks.listing import listing
from taskodec.hooks.registry import Registry
from taskodec.pixels.pillow import open_picture, reading
from taskodec.service.bodies import Uploads
from taskodec.service.metrics import Metrics
from taskodec.service.options import Allowed, CompressOptions, RequestSettings
from taskodec.service.pool import Job, Pool
from taskodec.service.process import Process
from taskodec.service.watch import about
from taskodec.service.work import GIVEN
from taskodec.settings.model import Settings
from taskodec.stream.about import about_stream

__all__ = ["Service"]

PARSED_AT_ONCE = 2
"""Streams that are read whole for what they say of themselves."""

LOOKED_INTO = ("PNG", "JPEG")
"""Formats whose size is read here, to find pictures that can be tuned together: their headers are parsed in Python."""

LARGEST_HEAD = 2**22


class Service:
    """A pool of processes, and all that requests need of it.

    `folder` is for the files of jobs, and `files` are the settings as files. `own_tasks` are names that requests may
    use beside the registered ones, and what settings call these; `frank` is that of `Pool`.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        processes: Sequence[Process],
        folder: Path,
        files: Sequence[Path] = (),
        *,
        own_tasks: Mapping[str, str] | None = None,
        frank: bool = False,
    ) -> None:
        self.settings, self.registry, self.folder = settings, registry, folder
        serve = settings.serve
        self.codecs = Allowed("codec", serve.codecs, registry.codecs)
        self.tasks = Allowed("task", serve.tasks, registry.tasks, own_tasks)
        self.request_settings = RequestSettings(files, self.codecs, self.tasks)
        self.metrics = Metrics()
        self.pool = Pool(processes, serve, self.codecs.names, self.metrics, frank=frank)
        self.uploads = Uploads(serve)
        self._parsing = asyncio.Semaphore(PARSED_AT_ONCE)

    @asynccontextmanager
    async def running(self, _: object) -> AsyncIterator[None]:
        """While an application runs, so do the processes; RuntimeError if they cannot be started."""
        try:
            await self.pool.begin()
            if self.pool.problem:
                raise RuntimeError(self.pool.problem)
            yield
        finally:
            await self.pool.close()

    @asynccontextmanager
    async def job_folder(self) -> AsyncIterator[Path]:
        """A folder for the files of a request, which goes with it."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def body(self, request: Request, folder: Path) -> dict[str, str]:
        """Take the body, if the job that it is for has a place; the other fields of a form."""
        self.pool.check()
        return await self.uploads.take(request, folder / GIVEN)

    def job(self, request: Request, folder: Path, settings: Settings, form: str = "") -> Job:
        """A job that begins now."""
        return Job(folder, settings, asyncio.get_running_loop().time(), about(request.scope).id, form)

    async def report(self, request: Request, job: Job) -> Mapping[str, Any]:
        """Have a job done; ClientDisconnect if nobody waits for it any more."""
        work, gone = asyncio.ensure_future(self.pool.run(job)), asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientDisconnect
            report = work.result()
        finally:
            work.cancel()
            gone.cancel()
            more = about(request.scope).more
            if job.begun is not None:
                more["waited"] = round(job.begun - job.arrived, 4)
        more |= {key: report[key] for key in ("codec", "task", "width", "height", "steps", "together") if key in report}
        return report

    async def key(self, options: CompressOptions, settings: Settings, picture: Path) -> tuple[Hashable, int]:
        """What pictures must have in common to be tuned together, and the pixels of this one; None if it is alone."""
        alone = (None, 1)
        budget = settings.ttft.time_budget is not None or settings.target.kind is not None
        if budget or self.settings.serve.batch == 1 or not self.pool.busy:
            return alone
        size = await asyncio.to_thread(_size, picture)
        return alone if size is None else ((options, size), size[0] * size[1])

    async def about_stream(self, stream: Path) -> dict[str, Any]:
        """What a stream says of itself; StreamError for what is none."""
        async with self._parsing:
            return await asyncio.to_thread(lambda: about_stream(stream.read_bytes()))

    def listing(self) -> dict[str, Any]:
        """Codecs, adapters and tasks that are registered, and whether requests may name them; formats and limits."""
        found: dict[str, Any] = listing(self.registry)
        for kind in (self.codecs, self.tasks):
            for entry in found[f"{kind.kind}s"]:
                entry["allowed"] = entry["name"] in kind.names
        return {**found, "default": {"codec": self.settings.codec.name, "task": self.settings.task.name}}


async def _gone(request: Request) -> None:
    """Returns when the client of a request, whose body was read, has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a small file, if its header says so."""
    if path.stat().st_size > LARGEST_HEAD:
        return None
    try:
        with path.open("rb") as file, reading("it", 2**31):
            return open_picture(file, "it", LOOKED_INTO).size
    except (ImageError, OSError):
        return None
