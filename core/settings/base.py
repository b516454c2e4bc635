"""What all settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Count", "Model", "Positive", "Size"]

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Size = Annotated[int, Field(ge=1)]


class Model(BaseModel):
    """Frozen settings that refuse keys they do not know, infinities and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
