"""The addresses of the page. No torch: that is in the worker process."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from taskodec.console.terminal import shown
from taskodec.demo.asked import DemoOptions
from taskodec.demo.events import events
from taskodec.demo.files import ASKED, EXAMPLES, PAGE, PIECE, bundled
from taskodec.demo.guard import Guard
from taskodec.demo.runs import Run, Runs, UnknownRunError
from taskodec.errors import UsageError
from taskodec.report.page import asset
from taskodec.service.errors import BodyError
from taskodec.service.options import explained
from taskodec.service.service import Service
from taskodec.service.watch import Watched, answer_to, error_answer
from taskodec.service.work import GIVEN, MADE

__all__ = ["make_app"]

STATIC = {
    "demo.css": "text/css; charset=utf-8",
    "demo.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
SHARED = ("style.css", "page.js")
"""Those of reports."""


async def _known(number: str, request: Request) -> Run:
    """The run that an address names."""
    runs: Runs = request.app.state.runs
    return runs.get(number)


Known = Annotated[Run, Depends(_known)]


def make_app(service: Service, chosen: str) -> ASGIApp:
    """The application; `chosen` is the task that the page begins with."""
    runs = Runs(service.pool, service.folder)

    app = FastAPI(title="taskodec demo", docs_url=None, redoc_url=None, openapi_url=None, lifespan=service.running)
    app.state.runs = runs
    app.include_router(_page())
    app.include_router(_about(service, runs, chosen))
    app.include_router(_runs(service, runs))
    _answer_errors(app)
    return Watched(Guard(app), service.metrics)


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_answer(request.scope, "UsageError", 400, explained(error.errors(), DemoOptions))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        said = f"{request.method} {request.url.path[:200]}: {error.detail}; the page is at /"
        return error_answer(request.scope, "AddressError", error.status_code, said, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return answer_to(error, request.scope)


def _page() -> APIRouter:
    router = APIRouter()

    @router.get("/")
    async def index() -> Response:
        return Response(bundled("page", "index.html"), media_type="text/html; charset=utf-8")

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        content = asset(name).encode() if name in SHARED else bundled("page", name)
        return Response(content, media_type=STATIC[name])

    @router.get("/examples/{name}")
    async def example(name: str) -> Response:
        return Response(_example(name), media_type="image/webp")

    return router


def _about(service: Service, runs: Runs, chosen: str) -> APIRouter:
    router = APIRouter()

    @router.get("/about")
    async def about() -> dict[str, Any]:
        """What the page offers, and the run that goes on, which it then shows."""
        listed, settings = service.listing(), service.settings
        steps = settings.ttft.steps
        planned = sum(phase.steps for phase in settings.ttft.phases) if steps is None else steps
        own = [{"name": name, "description": "given at the start"} for name in service.tasks.own]
        current = runs.current
        return {
            "version": version("taskodec"),
            "codecs": _allowed(listed["codecs"]),
            "tasks": own + [one for one in _allowed(listed["tasks"]) if one["name"] not in service.tasks.own],
            "chosen": {"codec": settings.codec.name, "task": chosen, "quality": settings.quality, "steps": planned},
            "examples": [{"name": name, "title": title} for name, title in EXAMPLES.items()],
            "max_body": settings.serve.max_body,
            "max_steps": settings.serve.max_steps,
            "running": None if current is None else current.id,
        }

    return router


def _allowed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that may be named, without what their options are: the page has none."""
    told = [(entry["name"], entry["description"].partition(" (options:")[0]) for entry in entries if entry["allowed"]]
    return [{"name": name, "description": description} for name, description in told]


def _runs(service: Service, runs: Runs) -> APIRouter:
    router = APIRouter(prefix="/runs")

    @router.post("", status_code=202)
    async def begin(request: Request, options: Annotated[DemoOptions, Query()]) -> dict[str, str]:
        """Begin with a picture, the body or an example."""
        settings = service.request_settings.of(options)
        asked = options.for_work(service.tasks)
        runs.check()
        folder = runs.new_folder()
        try:
            if options.example is None:
                fields = await service.body(request, folder)
                if fields:
                    raise BodyError(f"unknown field {shown(next(iter(fields)))}; the body is the picture as it is")
            else:
                (folder / GIVEN).write_bytes(_example(options.example))
            asked.write(folder / ASKED)
            return {"id": runs.begin(service.job(request, folder, settings), asked.name).id}
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @router.get("/{number}/events")
    async def look_on(run: Known) -> Response:
        told = events(run, lambda: service.pool.stopping)
        return StreamingResponse(told, media_type="text/event-stream")

    @router.delete("/{number}")
    async def cancel(run: Known) -> dict[str, str]:
        runs.cancel(run)
        return {"state": run.state}

    @router.get("/{number}/piece")
    async def piece(run: Known) -> Response:
        return Response(_file(run, PIECE).read_bytes(), media_type="text/html; charset=utf-8")

    @router.get("/{number}/stream")
    async def stream(run: Known) -> Response:
        name = f"{PurePath(run.name).stem or 'picture'}.tkd"
        return FileResponse(_file(run, MADE), media_type="application/octet-stream", filename=name)

    @router.get("/{number}/page")
    async def page(run: Known) -> Response:
        name = f"{PurePath(run.name).stem or 'picture'}.html"
        return FileResponse(_file(run, PAGE), media_type="text/html", filename=name)

    return router


def _file(run: Run, name: str) -> Path:
    """A file of a run that is done; UnknownRunError for another one."""
    if run.state != "done":
        raise UnknownRunError(f"{run.name} has come to nothing that could be shown: it is {run.state}")
    return run.job.folder / name


def _example(name: str) -> bytes:
    """A bundled picture; UsageError for a name that is none."""
    if name not in EXAMPLES:
        raise UsageError(f"example = {shown(name)}: there is none of this name; valid: {', '.join(EXAMPLES)}")
    return bundled("examples", f"{name}.webp")
