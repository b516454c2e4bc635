"""Settings of `taskodec serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from taskodec.settings.base import Count, Model, Positive, Size, Whole

__all__ = ["ServeSettings"]


class ServeSettings(Model):
    """The service: where it listens, what it allows, and what bounds a request and all of them.

    `workers` is how many processes compute, None as many as there are cores, at most four, or one where a GPU
    computes; each has `threads` threads of PyTorch, None the cores shared out, and keeps the last `kept` compressors.
    `memory` is how many MiB of data a worker may have, None any. What is sent beside a picture may name the `codecs`
    and `tasks` of these lists, None those that are registered, and `max_steps` at most.

    Beyond loopback it listens with a bearer token only, the content of `token_file` or TASKODEC_TOKEN, unless it is
    `open` to everybody.

    A body has `max_body` bytes at most and arrives within `body_timeout` seconds; `uploads` may arrive at once. Then a
    request waits, with at most `queue` others, up to `queue_timeout` seconds, and is worked on up to `timeout` seconds;
    a worker that takes longer is killed, as is one that takes longer than `start_timeout` to start. A stop waits
    `stop_timeout` seconds.

    Pictures of one size and the same options that wait together are tuned in one pass, up to `batch` of them and
    `batch_pixels` in all; 1 never.
    """

    host: str = "127.0.0.1"
    port: Annotated[Whole, Field(ge=0, le=65535)] = 8000
    workers: Size | None = None
    threads: Size | None = None
    kept: Size = 8
    memory: Size | None = None
    codecs: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    max_steps: Count = 1000
    token_file: Path | None = None
    open: bool = False
    max_body: Size = 2**26
    uploads: Size = 64
    queue: Count = 64
    queue_timeout: Positive = 30.0
    timeout: Positive = 60.0
    body_timeout: Positive = 30.0
    start_timeout: Positive = 120.0
    stop_timeout: Positive = 30.0
    batch: Size = 8
    batch_pixels: Size = 2**18
