"""What all settings are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Count", "Model", "Number", "Options", "Positive", "Seed", "Size", "Whole"]


def _no_truth(value: Any) -> Any:
    """To pydantic, true is 1."""
    if isinstance(value, bool):
        raise ValueError("input should be a number")
    return value


def _finite(options: dict[str, Any]) -> dict[str, Any]:
    """As all numbers in settings; what else an option may be, its loader knows."""
    waiting: list[Any] = [options]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"options hold {value}, expected finite numbers")
        if isinstance(value, dict | list | tuple):
            waiting += value.values() if isinstance(value, dict) else value
    return options


Number = Annotated[float, BeforeValidator(_no_truth)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Count = Annotated[Whole, Field(ge=0, lt=2**63)]
Positive = Annotated[Number, Field(gt=0)]
Seed = Annotated[Whole, Field(ge=0, lt=2**64)]
Size = Annotated[Whole, Field(ge=1, lt=2**63)]
Options = Annotated[dict[str, Any], AfterValidator(_finite)]


class Model(BaseModel):
    """Frozen settings that refuse keys they do not know, infinities and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
