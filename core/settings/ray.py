"""Settings of the workers of a Ray cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskodec.settings.base import Model, Number, Positive, Size

__all__ = ["RaySettings"]


class RaySettings(Model):
    """Workers of `--engine ray`: what each has of the cluster's processors and GPUs, and how many there are.

    A worker computes with as many threads as it has processors. `workers` None is as many as fit. A picture that its
    worker dies of is given up after `attempts`.
    """

    cpus: Positive = 1
    gpus: Annotated[Number, Field(ge=0)] = 0
    workers: Size | None = None
    attempts: Size = 3
