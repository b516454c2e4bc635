"""What a file must keep to: a size, a rate, or a figure of its picture."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from taskodec.console.terminal import shown
from taskodec.errors import SettingsError
from taskodec.settings.base import Model, Number, Positive

__all__ = ["Bound", "TargetKind", "TargetSettings", "check_no_target", "parse_bound", "parse_size"]

TargetKind = Literal["bytes", "bpp", "loss", "metric"]

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

SIZE = re.compile(r"\s*(?P<number>\d[\d_]*(\.\d*)?|\.\d+)\s*(?P<unit>[a-z]*)\s*", re.IGNORECASE | re.ASCII)
BOUND = re.compile(r"\s*(?P<name>[^<>=\s]+(?: +[^<>=\s]+)*)\s*(?P<sign>>=|<=)\s*(?P<value>[^<>=\s]+)\s*")

VALID_SIZES = "a number of bytes from 1 on, such as 20000, 20kB, 1.5MB or 20KiB"
VALID_BOUNDS = "METRIC>=X or METRIC<=X, such as psnr>=34"


@dataclass(frozen=True)
class Bound:
    """A metric, and the least or, unless `least`, the most that it may be."""

    metric: str
    least: bool
    value: float

    def __str__(self) -> str:
        return f"{self.metric}{'>=' if self.least else '<='}{self.value:g}"


def parse_size(text: str) -> int:
    """Whole bytes, never more than the text says: `20000`, `20kB` (20,000), `20KiB` (20,480); else a ValueError."""
    match = SIZE.fullmatch(text)
    if match is None or match["unit"].lower() not in UNITS:
        raise ValueError(f"expected {VALID_SIZES}")
    return int(Decimal(match["number"].replace("_", "")) * UNITS[match["unit"].lower()])


def parse_bound(text: str) -> Bound:
    """`psnr>=34`; ValueError for what is no bound of a metric."""
    match = BOUND.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {VALID_BOUNDS}")
    try:
        value = float(match["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{match['value']} is no finite number; expected {VALID_BOUNDS}")
    return Bound(match["name"], match["sign"] == ">=", value)


def _as_size(value: Any) -> Any:
    if isinstance(value, str):
        value = parse_size(value)
    if isinstance(value, bool) or not isinstance(value, Real) or value != value // 1 or value < 1:
        raise ValueError(f"expected {VALID_SIZES}")
    return math.floor(value)


class TargetSettings(Model):
    """What every file must keep to: one of these, or none, and then `quality` decides.

    `bytes` are those of the whole file at most, a number or a text such as `20kB`; `bpp` bits per pixel at most: the
    best file within is looked for. `loss` is the task's at most, `metric` a text such as `psnr>=34`: the smallest file
    that meets it is.
    """

    bytes: Annotated[int, BeforeValidator(_as_size), Field(ge=1, lt=2**63)] | None = None
    bpp: Positive | None = None
    loss: Number | None = None
    metric: str | None = None

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, metric: str | None) -> str | None:
        if metric is not None:
            parse_bound(metric)
        return metric

    @model_validator(mode="after")
    def _check(self) -> TargetSettings:
        given = [name for name in get_args(TargetKind) if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a file has one target, found {' and '.join(given)}; set one of them")
        return self

    @property
    def kind(self) -> TargetKind | None:
        """Which one is set."""
        return next((name for name in get_args(TargetKind) if getattr(self, name) is not None), None)

    def __str__(self) -> str:
        kind = self.kind
        return "" if kind is None else str(self.metric) if kind == "metric" else f"{kind}<={getattr(self, kind):g}"


def check_no_target(target: TargetSettings, what: str) -> None:
    """SettingsError where a target is set for something that has none."""
    if target.kind is not None:
        raise SettingsError(f"target.{target.kind} = {shown(getattr(target, target.kind))}: {what}; leave it out")
