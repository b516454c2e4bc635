"""Bodies of requests, raw or as forms, into files: never more than the limit, nor longer. No torch."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, BinaryIO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from taskodec.service.errors import BodyError, BodyTimeoutError, BodyTooLargeError, BusyError
from taskodec.settings.serve import ServeSettings

__all__ = ["Uploads"]

MOST_FIELDS, LARGEST_FIELD = 32, 2**12
BLOCK = 2**20


class Uploads:
    """Takes bodies, so many at once."""

    def __init__(self, serve: ServeSettings) -> None:
        self.serve, self.count = serve, 0

    async def take(self, request: Request, target: Path) -> dict[str, str]:
        """Write what was sent to a file; the other fields of a form, empty for a raw body.

        BodyTooLargeError, BodyTimeoutError, BodyError for what is neither, BusyError for one too many at once.
        """
        self._check_length(request)
        with self._place():
            bounded = Request(request.scope, self._bounded(request))
            try:
                async with asyncio.timeout(self.serve.body_timeout):
                    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                    fields = await (_form(bounded, target) if kind == "multipart/form-data" else _raw(bounded, target))
            except TimeoutError:
                seconds = self.serve.body_timeout
                raise BodyTimeoutError(f"the body took longer than {seconds:g} s, serve.body_timeout") from None
        if target.stat().st_size == 0:
            raise BodyError("the body is empty; send the file as it is, or as a file in multipart/form-data")
        return fields

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        most = self.serve.uploads
        if self.count >= most:
            raise BusyError(f"{most} bodies arrive at once, as many as may; send it again later", 1.0)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    def _check_length(self, request: Request) -> None:
        """Refuse before anything is read what says that it is too large."""
        said = request.headers.get("content-length", "")
        if said.isdecimal() and (len(said) > 18 or int(said) > self.serve.max_body):
            raise self._too_large(f"of {said[:20]} bytes")

    def _too_large(self, found: str) -> BodyTooLargeError:
        return BodyTooLargeError(f"a body {found}: this server takes {self.serve.max_body} bytes, serve.max_body")

    def _bounded(self, request: Request) -> Any:
        """What receives the body, up to the limit, whatever its headers say."""
        left = self.serve.max_body

        async def receive() -> MutableMapping[str, Any]:
            nonlocal left
            message = await request.receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._too_large("of more than that")
            return message

        return receive


async def _raw(request: Request, target: Path) -> dict[str, str]:
    with target.open("wb") as file:
        async for block in request.stream():
            file.write(block)
    return {}


async def _form(request: Request, target: Path) -> dict[str, str]:
    try:
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if len(files) != 1:
                raise BodyError(f"the form holds {len(files)} files, expected one, in a field of any name")
            await asyncio.to_thread(_copy, files[0].file, target)
            names = [name for name, value in form.multi_items() if isinstance(value, str)]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise BodyError(f"the form holds {', '.join(twice)} more than once; give each option once")
            return {name: value for name, value in form.multi_items() if isinstance(value, str)}
    except (HTTPException, MultiPartException) as error:  # of the parser, in an application or alone
        raise BodyError(f"not a form that can be read: {getattr(error, 'detail', error)}") from error


def _copy(source: BinaryIO, target: Path) -> None:
    source.seek(0)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, BLOCK)
