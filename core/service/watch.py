"""What surrounds every request: an id, a line in the log, metrics, and an answer whatever goes wrong. No torch."""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskodec.errors import TaskodecError
from taskodec.service.errors import HIDDEN, FailedError, ServiceError, body_of
from taskodec.service.logs import log
from taskodec.service.metrics import Metrics

__all__ = ["GONE", "REQUEST_ID", "Watched", "about", "answer_to", "error_answer"]

REQUEST_ID = "X-Request-Id"
KNOWN_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

GONE = 499
"""The status, in log and metrics, of a request whose client has gone away; nobody receives it."""

UNKNOWN = "other"
"""The path, in metrics, of what is none: every name that somebody tries would be a series of its own."""


@dataclass
class About:
    """What is known of a request: `error` is the type of an answer that is one, `more` goes into the log."""

    id: str
    status: int = 0
    received: int = 0
    sent: int = 0
    error: str = ""
    more: dict[str, Any] = field(default_factory=dict)


def about(scope: MutableMapping[str, Any]) -> About:
    """What is known of a request that is `Watched`."""
    found: About = scope["taskodec"]
    return found


class Watched:
    """An application, with what surrounds every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = Headers(scope=scope).get(REQUEST_ID, "")
        known = scope["taskodec"] = About(given if KNOWN_ID.fullmatch(given) else uuid.uuid4().hex)

        async def receiving() -> Message:
            message = await receive()
            known.received += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                known.status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = known.id
            known.sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receiving, sending)
        except Exception as error:
            if not known.status:
                await answer_to(error, scope)(scope, receiving, sending)
            elif not known.error:  # it has begun, and cannot be another answer
                raise
        finally:
            self._count(scope, known, time.perf_counter() - begun)

    def _count(self, scope: Scope, known: About, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", UNKNOWN)
        status = known.status or GONE
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        self.metrics.bytes.labels(path, "in").inc(known.received)
        self.metrics.bytes.labels(path, "out").inc(known.sent)
        if known.error:
            self.metrics.failures.labels(known.error).inc()
        line = {
            "event": "request",
            "id": known.id,
            "client": (scope.get("client") or ("",))[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
            "bytes_in": known.received,
            "bytes_out": known.sent,
            **({"error": known.error} if known.error else {}),
            **known.more,
        }
        quiet = path in ("/healthz", "/readyz", "/metrics") and status == 200
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra=line)


def answer_to(error: Exception, scope: Scope) -> Response:
    """The answer that an exception is, and what the log says of it."""
    if isinstance(error, ClientDisconnect):
        return error_answer(scope, "ClientDisconnect", GONE, "the client has gone away")
    if isinstance(error, ServiceError):
        return error_answer(scope, error.kind, error.status, str(error), error.headers)
    if isinstance(error, TaskodecError):
        told = FailedError(type(error).__name__, str(error))
        if told.hidden:
            more = {"event": "fault", "id": about(scope).id, "type": told.kind, "problem": str(error)}
            log.error("a fault of the server", extra=more)
        return error_answer(scope, told.kind, told.status, str(told.shown))
    text = "".join(traceback.format_exception(error))
    log.error("a fault of the service", extra={"event": "fault", "id": about(scope).id, "traceback": text})
    said = HIDDEN
    if isinstance(error, OSError):
        said = f"the server cannot keep the request: {error.strerror or 'an error of its system'}"
    return error_answer(scope, "InternalError", 500, said)


def error_answer(
    scope: Scope, kind: str, status: int, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as JSON."""
    known = about(scope)
    known.error = kind
    return JSONResponse(body_of(kind, status, message, known.id), status, headers)
