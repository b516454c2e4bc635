"""`-v` and `--log-level`, which every command has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from taskodec.console.logs import LEVELS, show_logs
from taskodec.errors import UsageError

__all__ = ["LogLevel", "Verbose", "logged", "set_level"]

Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="Say on standard error what is done; -vv also how."
    ),
]
LogLevel = Annotated[
    str | None, typer.Option("--log-level", metavar="|".join(LEVELS), help="The same, by the name of the level.")
]

ADDED = {"verbose": (Verbose, 0), "log_level": (LogLevel, None)}


def set_level(verbose: int, log_level: str | None) -> None:
    """Show logs as the options say; without any, nothing changes. UsageError for a level that does not exist."""
    if log_level is not None and log_level.lower() not in LEVELS:
        raise UsageError(f"--log-level {log_level} does not exist; valid: {', '.join(LEVELS)}")
    if log_level is not None:
        show_logs(log_level.lower())
    elif verbose:
        show_logs("info" if verbose == 1 else "debug")


def logged(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these two options more."""

    @wraps(command)
    def run(*args: Any, verbose: int = 0, log_level: str | None = None, **kwargs: Any) -> None:
        set_level(verbose, log_level)
        command(*args, **kwargs)

    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in ADDED.items()
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    return run
