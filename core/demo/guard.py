"""What keeps other sites out of a page on loopback: names of this machine only, no foreign origin, strict headers.

A site that a browser has open can send requests to 127.0.0.1, or have its own name point there (DNS rebinding). Neither
gets past this, and nobody can put the page into a frame. No torch.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskodec.service.access import is_loopback
from taskodec.service.errors import ServiceError
from taskodec.service.watch import answer_to

__all__ = ["HEADER", "ForeignError", "Guard"]

HEADER = ("X-Taskodec", "demo")
"""What every request that changes something brings: another site cannot send it without asking first."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer. Styles may be inline, since charts and pictures have sizes of their own; scripts may not."""


class ForeignError(ServiceError):
    """A request that another site makes, or that names another host than this machine."""

    status = 403


class Guard:
    """An application that only pages of its own may talk to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = foreign(scope["method"], scope["path"], Headers(scope=scope))
        answer = answer_to(ForeignError(problem), scope) if problem else self.app
        await answer(scope, receive, sending)


def foreign(method: str, path: str, headers: Headers) -> str:
    """Why a request is none of the page's own; empty if it is."""
    host = headers.get("host", "")
    if not is_loopback(_name(host)):
        return f"the request is for the host {host[:100]!r}; open the page at 127.0.0.1, localhost or [::1]"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"the request comes from {origin[:100]!r}, and only the page itself may send any"
    opened = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not opened:
        return "the request comes from another site, and only the page itself may send any"
    name, value = HEADER
    if method not in ("GET", "HEAD") and headers.get(name) != value:
        return f"the header {name}: {value} is missing, which the page sends with all that changes something"
    return ""


def _name(host: str) -> str:
    """The name or address in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
