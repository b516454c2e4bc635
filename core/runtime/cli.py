"""The commands `taskodec-decode` and `taskodec-encode`: an exported codec without torch.

Pictures are written without Pillow; to read them it is needed.

Exit codes: 0 fine, 1 an input failed, 2 the call was wrong.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taskodec.cli.terminal import escaped, guarded, indented
from taskodec.errors import TaskodecError, UsageError, WeightsError
from taskodec.files.atomic import IMAGE_SUFFIXES, write_atomic
from taskodec.files.plans import Job, make_folder, plan
from taskodec.images.pixels import read_image, require_pillow
from taskodec.runtime.decoder import CPU, TILE, Decoder, Encoder
from taskodec.stream.bitstream import MAX_PIXELS

__all__ = ["encode", "main", "png"]

SUFFIXES = frozenset({".tkd"})

Work = Callable[[Job], dict[str, Any]]
"""Makes the target of a job; returns what there is to say of it."""


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
    """`taskodec-decode`; errors raised on purpose become one line on standard error."""
    parser = _parser("taskodec-decode", "Decode .tkd streams with an exported codec.", "IN.tkd", "streams")
    chosen = _parsed(parser, arguments)

    def prepare() -> Work:
        decoder = Decoder(chosen.codec, **_options(chosen))

        def work(job: Job) -> dict[str, Any]:
            data = _read(job.source)
            pixels = decoder.decode(data)
            write_atomic(job.target, png(pixels))
            return {"bytes": len(data), "width": pixels.shape[1], "height": pixels.shape[0]}

        return work

    _run(chosen, ".png", SUFFIXES, prepare)


def encode(arguments: Sequence[str] | None = None) -> None:
    """`taskodec-encode`; errors raised on purpose become one line on standard error."""
    about = "Encode images, untuned, with a codec that was exported with --encoder."
    parser = _parser("taskodec-encode", about, "IMAGE", "images")
    parser.add_argument("-q", "--quality", type=float, help="low is a small file; the middle one without it")
    chosen = _parsed(parser, arguments)

    def prepare() -> Work:
        encoder = Encoder(chosen.codec, **_options(chosen))
        quality = encoder.quality(chosen.quality)
        require_pillow()

        def work(job: Job) -> dict[str, Any]:
            pixels, notes = read_image(job.source, max_pixels=chosen.max_pixels)
            data = encoder.encode(pixels, quality)
            write_atomic(job.target, data)
            size = {"bytes": len(data), "width": pixels.shape[1], "height": pixels.shape[0]}
            return {**size, "quality": quality, **({"notes": notes} if notes else {})}

        return work

    _run(chosen, ".tkd", IMAGE_SUFFIXES, prepare)


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    with guarded():
        return parser.parse_args(arguments)


@guarded()
def _run(chosen: argparse.Namespace, suffix: str, suffixes: frozenset[str], prepare: Callable[[], Work]) -> None:
    """Do all jobs, `--jobs` of them at a time, and leave with the exit code."""
    try:
        jobs = plan(chosen.inputs, chosen.output, suffix, suffixes=suffixes, force=chosen.force)
        if wrong := [str(job.target) for job in jobs if job.target.suffix.lower() != suffix]:
            raise UsageError(f"cannot write {', '.join(wrong)}: valid suffix is {suffix}")
        work = prepare()
    except TaskodecError as error:
        print(f"error: {indented(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError | WeightsError) else 1)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        fine = [_show(report, chosen.json) for report in pool.map(lambda job: _report(work, job), jobs)]
    sys.exit(0 if all(fine) else 1)


def _report(work: Work, job: Job) -> dict[str, Any]:
    """What became of a job."""
    start = time.perf_counter()
    try:
        make_folder(job)
        done = work(job)
    except TaskodecError as error:
        return {"input": str(job.source), "error": str(error)}
    seconds = round(time.perf_counter() - start, 3)
    return {"input": str(job.source), "output": str(job.target), **done, "seconds": seconds}


def _show(report: dict[str, Any], as_json: bool) -> bool:
    """Print it; whether it is no failure."""
    source = escaped(report["input"])
    if as_json:
        print(json.dumps(report), flush=True)
    elif "error" in report:
        print(f"error: {source}: {indented(report['error'])}", file=sys.stderr)
    else:
        about = f"{report['width']}x{report['height']} pixels, {report['bytes']} bytes"
        print(f"{source} -> {escaped(report['output'])}: {about}", flush=True)
        for note in report.get("notes", ()):
            print(f"note: {source}: {note}", file=sys.stderr)
    return "error" not in report


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskodecError(f"cannot open {path}: {error.strerror or error}") from error


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _parser(name: str, about: str, inputs: str, plural: str) -> argparse.ArgumentParser:
    """What both commands take."""
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("codec", type=Path, metavar="CODEC", help="folder that `taskodec export` wrote")
    parser.add_argument("inputs", type=Path, nargs="+", metavar=inputs, help=f"{plural}, or folders of {plural}")
    parser.add_argument("-o", "--output", metavar="OUT", help="file, or folder for several")
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help=f"onnxruntime's provider; may be repeated ({CPU})"
    )
    parser.add_argument("--threads", type=_positive, help="threads of onnxruntime for each file")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="files at a time; memory grows with it")
    parser.add_argument("--max-pixels", type=_positive, default=MAX_PIXELS, help="refuse larger pictures")
    parser.add_argument("--tile", type=_positive, default=TILE, help="pixels that a transform works on at once, about")
    parser.add_argument("--json", action="store_true", help="print one JSON object per input")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    return parser


def _options(chosen: argparse.Namespace) -> dict[str, Any]:
    """Of a decoder or encoder."""
    providers = chosen.provider or (CPU,)
    return {
        "providers": providers,
        "threads": chosen.threads,
        "max_pixels": chosen.max_pixels,
        "tile": chosen.tile,
    }


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
