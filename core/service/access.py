"""Who may use the service: loopback, or a bearer token. No torch."""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from taskodec.errors import UsageError
from taskodec.files.inputs import expand_home, read_text
from taskodec.service.errors import UnauthorizedError
from taskodec.settings.serve import ServeSettings

__all__ = ["TOKEN_VARIABLE", "is_loopback", "token_check", "token_of"]

TOKEN_VARIABLE = "TASKODEC_TOKEN"
SHORTEST, LONGEST = 16, 4096


def token_of(serve: ServeSettings) -> str:
    """The token that requests must bring, or nothing; UsageError where there must be one, or it is none."""
    where, token = f"the variable {TOKEN_VARIABLE}", os.environ.get(TOKEN_VARIABLE, "")
    if serve.token_file is not None:
        where = f"serve.token_file, {serve.token_file},"
        try:
            token = read_text(expand_home(serve.token_file), most=LONGEST).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if token or serve.token_file is not None:
        if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(
                f"{where} holds no token of at least {SHORTEST} ASCII letters, digits and signs; "
                "`openssl rand -hex 32` makes one"
            )
        return token
    if not serve.open and not is_loopback(serve.host):
        raise UsageError(
            f"{serve.host} can be reached from other machines, and there is no token: set {TOKEN_VARIABLE} or "
            "serve.token_file; or serve.open=true, if something before it decides who may come"
        )
    return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; of names, `localhost` alone is known to be one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_check(token: str) -> Callable[..., None]:
    """What refuses requests without the token, for FastAPI; none is refused where the token is empty."""

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> None:
        if not token:
            return
        if given is None:
            raise UnauthorizedError("no token; send the header `Authorization: Bearer TOKEN`")
        if not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise UnauthorizedError("another token than this server's")

    return check
