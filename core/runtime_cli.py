"""The `taskodec-decode` command: streams to pictures with an exported codec, no torch and no Pillow.

Exit codes: 0 fine, 1 an input failed, 2 the call was wrong.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taskodec.bitstream import MAX_PIXELS
from taskodec.errors import TaskodecError, UsageError, WeightsError
from taskodec.files import write_atomic
from taskodec.plans import Job, make_folder, plan
from taskodec.runtime import CPU, TILE, Decoder

__all__ = ["main", "png"]

SUFFIXES = frozenset({".tkd"})


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of 8-bit RGB pixels (height, width, 3)."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each starts with its filter
    flat = pixels.reshape(height, 3 * width)  # (H, W, 3) -> (H, 3*W)
    rows[:, 1:] = flat
    if height > 1:
        rows[1:, 0] = 2  # the filter "up", with which photographs get smaller
        rows[1:, 1:] = flat[1:] - flat[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; errors raised on purpose become one line on standard error."""
    chosen = _parser().parse_args(arguments)
    try:
        jobs = plan(chosen.inputs, chosen.output, ".png", suffixes=SUFFIXES, force=chosen.force)
        if wrong := [str(job.target) for job in jobs if job.target.suffix.lower() != ".png"]:
            raise UsageError(f"cannot write {', '.join(wrong)}: valid suffix is .png")
        decoder = Decoder(
            chosen.decoder,
            providers=chosen.provider or (CPU,),
            threads=chosen.threads,
            max_pixels=chosen.max_pixels,
            tile=chosen.tile,
        )
    except TaskodecError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError | WeightsError) else 1)
    failed = [job for job in jobs if not _decode(decoder, job, chosen.json)]
    sys.exit(1 if failed else 0)


def _decode(decoder: Decoder, job: Job, as_json: bool) -> bool:
    """Decode one stream and say so; whether that worked."""
    report: dict[str, Any] = {"input": str(job.source)}
    try:
        start = time.perf_counter()
        make_folder(job)
        data = _read(job.source)
        pixels = decoder.decode(data)
        write_atomic(job.target, png(pixels))
        size = {"bytes": len(data), "width": pixels.shape[1], "height": pixels.shape[0]}
        report |= {"output": str(job.target), **size, "seconds": round(time.perf_counter() - start, 3)}
    except TaskodecError as error:
        report["error"] = str(error)
    if as_json:
        print(json.dumps(report), flush=True)
    elif "error" in report:
        print(f"error: {report['input']}: {report['error']}", file=sys.stderr)
    else:
        print(f"{report['input']} -> {report['output']}: {report['width']}x{report['height']} pixels", flush=True)
    return "error" not in report


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskodecError(f"cannot open {path}: {error.strerror or error}") from error


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="taskodec-decode", description="Decode .tkd streams with an exported codec.")
    parser.add_argument("decoder", type=Path, metavar="DECODER", help="folder that `taskodec export` wrote")
    parser.add_argument("inputs", type=Path, nargs="+", metavar="IN.tkd", help="streams, or folders of streams")
    parser.add_argument("-o", "--output", metavar="OUT", help="PNG file, or folder for several")
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help=f"onnxruntime's provider; may be repeated ({CPU})"
    )
    parser.add_argument("--threads", type=_positive, help="threads of onnxruntime")
    parser.add_argument("--max-pixels", type=_positive, default=MAX_PIXELS, help="refuse larger pictures")
    parser.add_argument("--tile", type=_positive, default=TILE, help="pixels synthesised at once, about")
    parser.add_argument("--json", action="store_true", help="print one JSON object per input")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
