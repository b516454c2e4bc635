"""One file of HTML from a template: everything inside it, nothing of it from a network, and no name in it is markup."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from taskodec.console.terminal import escaped
from taskodec.extras import require
from taskodec.report.labels import tags

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["MOST_BYTES", "asset", "rendered", "size_text"]

MOST_BYTES = 3_000_000
"""Of a page."""


def rendered(template: str, **values: Any) -> str:
    """The page, or piece of one, that a template of this room makes of these values; UsageError without Jinja2."""
    require("report", "pages", only=["jinja2"])
    return _environment().get_template(template).render(**values).strip() + "\n"


def size_text(count: float) -> str:
    """A number of bytes with its thousands apart."""
    return f"{count:,.0f}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("taskodec.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    made.filters["bytes"] = size_text
    made.filters["figure"] = _figure
    made.globals["script_hash"] = _script_hash
    made.globals["inlined"] = _inlined
    made.globals["tags"] = tags
    return made


def _seen(value: Any) -> Any:
    """A text without marks that let its letters trade places, and without halves of characters: no name is trusted."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return escaped(value, keep_lines=True)
    return value


def _inlined(name: str) -> Any:
    """A style sheet or script of this room, as it is."""
    from markupsafe import Markup

    return Markup(asset(name))


@cache
def asset(name: str) -> str:
    """The text of a template, style sheet or script of this room."""
    return resources.files("taskodec.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _script_hash(name: str) -> str:
    """What the page's policy allows to run: this script and nothing else."""
    digest = hashlib.sha256(asset(name).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
