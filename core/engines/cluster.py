"""A Ray cluster for as long as a run takes: one that is there already, or one that is started on this machine."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from taskodec.errors import UsageError
from taskodec.extras import require
from taskodec.settings.ray import RaySettings

__all__ = ["cluster"]


@contextlib.contextmanager
def cluster(address: str | None, settings: RaySettings) -> Iterator[None]:
    """Join the cluster at an address, `auto` or `HOST:PORT`; or start one on this machine, and end it.

    What is started listens to this machine alone, and sends no figures of its use. UsageError if there is none.
    """
    require("ray", "`--engine ray`")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's switch for loopback, whatever the system
        os.environ.setdefault("RAY_worker_niceness", "0")  # as the local engine, and not behind all else
    elif not os.environ.get("RAY_AUTH_MODE") and _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"  # `ray start --head` asks for it where there is one, and joining does not
    import ray

    if address is None and hasattr(ray._private.ray_constants, "ENABLE_RAY_CLUSTER"):
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # the switch, where Ray was imported before it was set
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "critical"}
    if address is None:
        asked = math.ceil((settings.workers or 0) * settings.cpus)
        options |= {"num_cpus": max(asked, 1) if asked else None, "include_dashboard": False}
    try:
        ray.init(address=address or "local", **options)
    except Exception as error:  # a bare one where a machine is too busy to start it in time
        said = str(error).strip().partition("\n")[0]
        where = (
            f"there is no Ray cluster at {address}, or none for this token" if address else "Ray does not start here"
        )
        raise UsageError(
            f"{where}: {said}; start one with `ray start --head`, whose token all machines need where it has one "
            "(RAY_AUTH_TOKEN), or leave --address out"
        ) from error
    printed: Any = _WithoutRay(sys.stdout)
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        ray.shutdown()


def _has_token() -> bool:
    """Whether this machine has a token for clusters, where Ray looks for it."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(path).is_file()


class _WithoutRay:
    """Standard output, which is for results, without what a thread of Ray's writes to it of workers that died."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)
