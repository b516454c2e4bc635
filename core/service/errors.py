"""What a client is told when something goes wrong: a status, and a JSON body of one form. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from taskodec.errors import TaskodecError

__all__ = [
    "HIDDEN",
    "STATUS",
    "BodyError",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "BusyError",
    "FailedError",
    "NotAllowedError",
    "ServiceError",
    "StoppingError",
    "UnauthorizedError",
    "WorkTimeoutError",
    "WorkerDiedError",
    "body_of",
]


class ServiceError(TaskodecError):
    """A request that is answered with an error; `retry_after` seconds are worth waiting before it is sent again."""

    status = 500
    retry_after: float | None = None

    @property
    def kind(self) -> str:
        """The name that the answer, the log and the metrics have."""
        return type(self).__name__

    @property
    def headers(self) -> dict[str, str]:
        """Those that the answer has beside the usual ones."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class BodyError(ServiceError):
    """The body is not what the address takes."""

    status = 400


class NotAllowedError(ServiceError):
    """A codec or a task that this server does not allow."""

    status = 403


class UnauthorizedError(ServiceError):
    """No token, or another one."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class BodyTooLargeError(ServiceError):
    """More bytes than `serve.max_body`."""

    status = 413


class BodyTimeoutError(ServiceError):
    """The body took longer than `serve.body_timeout`."""

    status = 408


class BusyError(ServiceError):
    """The queue is full, or so long that the time-out was over before the request's turn."""

    status = 429

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoppingError(ServiceError):
    """The server is being stopped."""

    status = 503
    retry_after = 5.0


class WorkTimeoutError(ServiceError):
    """The work took longer than `serve.timeout`."""

    status = 504


class WorkerDiedError(ServiceError):
    """The process that did the work has died."""

    status = 502


STATUS: Mapping[str, int] = {
    "UsageError": 400,
    "SettingsError": 400,
    "NotAllowedError": 403,
    "ImageError": 422,
    "TargetError": 422,
    "StreamError": 422,
    "DamagedStreamError": 422,
    "UnsupportedStreamError": 422,
    "MismatchError": 422,
    "TaskError": 500,
    "OutOfMemoryError": 507,
}
"""Of the errors that a worker reports; all others, of weights and plugins among them, are the server's: 500."""

HIDDEN = "a fault of the server, which its log describes under this request's id"
"""What a client is told of these, which may name files of the server."""


class FailedError(ServiceError):
    """What a worker reports, by the name of the error there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.name, self.status = kind, STATUS.get(kind, 500)

    @property
    def kind(self) -> str:
        return self.name

    @property
    def hidden(self) -> bool:
        """Whether the message is for the log alone."""
        return self.name not in STATUS

    @property
    def shown(self) -> FailedError:
        """What a client is told."""
        return FailedError(self.name, HIDDEN) if self.hidden else self


def body_of(kind: str, status: int, message: str, request: str) -> dict[str, Any]:
    """The JSON of every answer that is an error."""
    return {"error": {"type": kind, "status": status, "message": message, "request_id": request}}
