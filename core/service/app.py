"""The addresses of the service. No torch: that is in the worker processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from taskodec.console.terminal import shown
from taskodec.errors import UsageError
from taskodec.files.json_text import finite
from taskodec.service.access import token_check
from taskodec.service.options import CompressOptions, DecompressOptions, checked, explained
from taskodec.service.service import Service
from taskodec.service.watch import Watched, answer_to, error_answer
from taskodec.service.work import FORMATS, GIVEN, MADE

__all__ = ["REPORT", "make_app"]

REPORT = "X-Taskodec-Report"
LONGEST_REPORT = 4096

STREAM_TYPE = "application/octet-stream"
SMALL = 2**20
BLOCK = 2**16

PICTURE = "A picture, as it is or as a file in `multipart/form-data` whose other fields are options."
STREAM = "A .tkd stream, as it is or as a file in `multipart/form-data` whose other fields are options."


class ErrorDetail(BaseModel):
    """What was found, what is valid, and what to do."""

    type: str
    status: int
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


def make_app(service: Service, token: str = "") -> ASGIApp:
    """The application; requests need the token, unless it is empty."""
    app = FastAPIOffline(
        redoc_url=None,
        title="taskodec",
        version=version("taskodec"),
        summary="Compresses pictures for what they are used for.",
        lifespan=service.running,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.include_router(_health(service))
    app.include_router(_coding(service), dependencies=[Depends(token_check(token))])
    app.include_router(_about(service), dependencies=[Depends(token_check(token))])
    _answer_errors(app)
    return Watched(app, service.metrics)


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        kinds: dict[str, type[BaseModel]] = {"/v1/compress": CompressOptions, "/v1/decompress": DecompressOptions}
        said = explained(error.errors(), kinds.get(request.url.path))
        return error_answer(request.scope, "UsageError", 400, said)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        paths = sorted(path for path in app.openapi()["paths"])
        said = f"{request.method} {request.url.path[:200]}: {error.detail}; valid: {', '.join(paths)}, see /docs"
        headers = dict(error.headers or {})
        return error_answer(request.scope, "AddressError", error.status_code, said, headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return answer_to(error, request.scope)


def _given_once(request: Request) -> None:
    """UsageError for an option that the address has twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the address holds {', '.join(map(shown, twice))} more than once; give each option once")


def _coding(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["coding"], dependencies=[Depends(_given_once)])

    @router.post("/compress", response_class=Response, **_described(PICTURE, CompressOptions, STREAM_TYPE))
    async def compress(request: Request, options: Annotated[CompressOptions, Query()]) -> Response:
        """Compress a picture for a task: the stream, and its figures as JSON in the header X-Taskodec-Report."""
        async with service.job_folder() as folder:
            service.request_settings.of(options)  # before the body
            fields = await service.body(request, folder)
            options = checked(CompressOptions, options.model_dump(exclude_none=True) | fields)
            job = service.job(request, folder, service.request_settings.of(options))
            job.key, job.pixels = await service.key(options, job.settings, folder / GIVEN)
            report = await service.report(request, job)
            service.metrics.steps.labels(report["task"]).inc(report["steps"])
            service.metrics.together.inc(report["together"] > 1)
            return _sent(folder / MADE, STREAM_TYPE, report)

    @router.post("/decompress", response_class=Response, **_described(STREAM, DecompressOptions, *FORMATS.values()))
    async def decompress(request: Request, options: Annotated[DecompressOptions, Query()]) -> Response:
        """The picture of a stream."""
        async with service.job_folder() as folder:
            fields = await service.body(request, folder)
            options = checked(DecompressOptions, options.model_dump() | fields)
            job = service.job(request, folder, service.settings, options.format)
            report = await service.report(request, job)
            return _sent(folder / f"{MADE}.{options.format}", FORMATS[options.format], report)

    @router.post("/info", **_described(STREAM, None))
    async def info(request: Request) -> JSONResponse:
        """What a stream holds, without decoding it."""
        async with service.job_folder() as folder:
            if given := {**request.query_params, **await service.uploads.take(request, folder / GIVEN)}:
                raise UsageError(f"unknown option {shown(next(iter(given)))}; this address takes none")
            return JSONResponse(await service.about_stream(folder / GIVEN))

    return router


def _about(service: Service) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/v1/plugins")
    async def plugins() -> dict[str, Any]:
        """Codecs, adapters and tasks of this server, and which of them requests may name."""
        return service.listing()

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _health(service: Service) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The server answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether the server takes work: 200 with at least one worker, else 503."""
        pool = service.pool
        ready = bool(pool.ready) and not pool.stopping
        said = "ready" if ready else "stopping" if pool.stopping else "no worker is ready"
        figures = {"workers": len(pool.ready), "running": len(pool.running), "waiting": pool.waiting}
        return JSONResponse({"status": said, **figures}, 200 if ready else 503)

    return router


def _described(body: str, options: type[BaseModel] | None, *types: str) -> dict[str, Any]:
    """What FastAPI cannot know of an address whose body is taken as it comes."""
    fields = {} if options is None else options.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": file, **fields}, "required": ["file"]}
    content = {STREAM_TYPE: {"schema": file}, "multipart/form-data": {"schema": form}}
    found: dict[str, Any] = {
        "openapi_extra": {"requestBody": {"description": body, "required": True, "content": content}}
    }
    if types:
        found["responses"] = {200: {"content": {kind: {"schema": file} for kind in types}}}
    return found


def _sent(path: Path, media_type: str, report: Mapping[str, Any]) -> Response:
    """What was made, with its figures; large files are read as they are sent, though their folder is gone by then."""
    file = path.open("rb")
    size = path.stat().st_size
    headers = {REPORT: _header(report), "Content-Length": str(size)}
    if size <= SMALL:
        with file:
            return Response(file.read(), headers=headers, media_type=media_type)
    return StreamingResponse(_blocks(file), headers=headers, media_type=media_type)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


def _header(report: Mapping[str, Any]) -> str:
    """Figures as one line of ASCII; notes are left out where it would be too long for a header."""
    text = json.dumps(finite(report), default=str)
    return text if len(text) <= LONGEST_REPORT else json.dumps(finite({**report, "notes": []}), default=str)
