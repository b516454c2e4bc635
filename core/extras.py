"""Packages that only a part of taskodec needs: which extra brings them, and the one error where they are absent.

Imports nothing of them. A part that needs an extra calls `require` before its first import of it; what is only listed
asks `missing`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from taskodec.errors import UsageError

__all__ = ["EXTRAS", "NO_WHEELS", "missing", "require"]

EXTRAS = {
    "anchors": ("pillow_jxl", "pyvips"),
    "compressai": ("compressai",),
    "demo": (
        "fastapi",
        "fastapi_offline",
        "jinja2",
        "matplotlib",
        "prometheus_client",
        "python_multipart",
        "pythonjsonlogger",
        "uvicorn",
    ),
    "det": ("onnx", "onnx2torch"),
    "encode": ("PIL",),
    "eval": ("bjontegaard", "matplotlib", "pycocotools", "scipy"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "gs": ("aiohttp", "fsspec", "gcsfs"),
    "perception": ("DISTS_pytorch", "lpips"),
    "ray": ("ray",),
    "remote": ("aiohttp", "fsspec"),
    "s3": ("aiohttp", "fsspec", "s3fs"),
    "serve": ("fastapi", "fastapi_offline", "prometheus_client", "python_multipart", "pythonjsonlogger", "uvicorn"),
    "report": ("jinja2", "matplotlib"),
    "train": ("pytorch_optimizer", "tensorboard"),
}
"""What each extra brings, by the names that are imported; `encode` is one of taskodec-runtime."""

NO_WHEELS = {"compressai": (3, 13)}
"""Extras that bring nothing from this Python on."""

_DISTRIBUTIONS = {"encode": "taskodec-runtime"}
_NAMES = {
    "DISTS_pytorch": "dists-pytorch",
    "PIL": "pillow",
    "fastapi_offline": "fastapi-offline",
    "pillow_jxl": "pillow-jxl-plugin",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "pytorch_optimizer": "pytorch-optimizer",
    "pythonjsonlogger": "python-json-logger",
}


def missing(extra: str, only: Sequence[str] = ()) -> str:
    """What of an extra, or `only` of these packages, is not installed and how to have it; empty if all is here."""
    names = only or EXTRAS[extra]
    absent = [_NAMES.get(name, name) for name in names if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    found = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"
    command = f"`pip install '{_DISTRIBUTIONS.get(extra, 'taskodec')}[{extra}]'`"
    limit = NO_WHEELS.get(extra)
    if limit is None or sys.version_info < limit:
        return f"{found}: {command}"
    own, first = (".".join(map(str, version)) for version in (sys.version_info[:2], limit))
    return f"{found}, and has no wheels for this Python ({own}): use one before {first}, and {command}"


def require(extra: str, what: str, only: Sequence[str] = ()) -> None:
    """UsageError that `what` cannot be used, unless the extra, or `only` these packages, are installed."""
    if problem := missing(extra, only):
        raise UsageError(f"{what} cannot be used here: {problem}")
