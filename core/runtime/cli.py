"""The commands `taskodec-decode` and `taskodec-encode`: an exported codec without torch.

Pictures are written without Pillow; to read them it is needed.

Exit codes are those of `taskodec.console.frame`.
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

import taskodec
from taskodec.console.frame import framed, reason
from taskodec.console.interrupt import SIGNALLED, Stopped, exit_code
from taskodec.console.terminal import about, escaped
from taskodec.errors import TaskodecError, UsageError
from taskodec.files.atomic import IMAGE_SUFFIXES
from taskodec.files.inputs import STANDARD, argument, cannot_read, most_bytes, read_input
from taskodec.files.outputs import Write, results_to
from taskodec.files.plans import Job, Settled, check_choice, how_to_go_on, make_folder, plan, settle
from taskodec.pixels.reading import read_image, require_pillow
from taskodec.pixels.whole import flaw
from taskodec.runtime.decoder import CPU, TILE, Decoder, Encoder
from taskodec.stream.bitstream import MAX_PIXELS

__all__ = ["encode", "main", "png"]

SUFFIXES = frozenset({".tkd"})

CHUNK = 2**30
"""Bytes of pixels in a chunk of PNG, which can have no more than twice as many."""

Work = Callable[[Job, Write], dict[str, Any]]
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
    packed = zlib.compress(rows.tobytes(), 6)
    parts = [(b"IDAT", packed[start : start + CHUNK]) for start in range(0, len(packed), CHUNK)]
    chunks = ((b"IHDR", header), *parts, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def main(arguments: Sequence[str] | None = None) -> None:
    """`taskodec-decode`; errors raised on purpose become one line on standard error."""
    parser = _parser("taskodec-decode", "Decode .tkd streams with an exported codec.", "IN.tkd", "streams")

    def prepare(chosen: argparse.Namespace) -> Work:
        decoder = Decoder(chosen.codec, **_options(chosen))

        def work(job: Job, write: Write) -> dict[str, Any]:
            data = _read(job.source, chosen.max_pixels)
            pixels = decoder.decode(data)
            write(job.target, png(pixels))
            return {"bytes": len(data), "width": pixels.shape[1], "height": pixels.shape[0]}

        return work

    with framed():
        _run(parser.parse_args(arguments), ".png", SUFFIXES, prepare)


def encode(arguments: Sequence[str] | None = None) -> None:
    """`taskodec-encode`; errors raised on purpose become one line on standard error."""
    about = "Encode images, untuned, with a codec that was exported with --encoder."
    parser = _parser("taskodec-encode", about, "IMAGE", "images")
    parser.add_argument("-q", "--quality", type=float, help="low is a small file; the middle one without it")

    def prepare(chosen: argparse.Namespace) -> Work:
        encoder = Encoder(chosen.codec, **_options(chosen))
        quality = encoder.quality(chosen.quality)
        require_pillow()

        def work(job: Job, write: Write) -> dict[str, Any]:
            standard = job.source == STANDARD
            source = _read(job.source, chosen.max_pixels) if standard else job.source
            pixels, notes = read_image(source, max_pixels=chosen.max_pixels)
            data = encoder.encode(pixels, quality)
            write(job.target, data)
            size = {"bytes": len(data), "width": pixels.shape[1], "height": pixels.shape[0]}
            return {**size, "quality": quality, **({"notes": notes} if notes else {})}

        return work

    with framed():
        _run(parser.parse_args(arguments), ".tkd", IMAGE_SUFFIXES, prepare)


def _run(
    chosen: argparse.Namespace,
    suffix: str,
    suffixes: frozenset[str],
    prepare: Callable[[argparse.Namespace], Work],
) -> None:
    """Do all jobs, `--jobs` of them at a time, and leave with the exit code."""
    check_choice(chosen.force, chosen.skip_existing)
    jobs = plan(chosen.inputs, chosen.output, suffix, suffixes=suffixes)
    named = [job.target for job in jobs if job.target != STANDARD]
    if wrong := [str(target) for target in named if target.suffix.lower() != suffix]:
        raise UsageError(f"cannot write {', '.join(wrong)}: valid suffix is {suffix}")
    work = prepare(chosen)
    batch = settle(jobs, flaw, force=chosen.force, skip_existing=chosen.skip_existing)
    for note in batch.notes:
        print(f"note: {escaped(note)}", file=sys.stderr)
    with results_to([job.target for job in jobs]) as write:
        for job in batch.kept:
            _show({"input": str(job.source), "output": str(job.target), "skipped": True}, chosen.json)
        failed = _do(batch, lambda job: _report(work, job, write), chosen)
    if batch.kept:
        print(f"{len(batch.kept)} of {len(jobs)} inputs skipped: their outputs are there", file=sys.stderr)
    if failed and len(jobs) > 1:
        print(f"error: {len(failed)} of {len(jobs)} inputs failed: {escaped(', '.join(failed))}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _do(batch: Settled, report: Callable[[Job], dict[str, Any]], chosen: argparse.Namespace) -> list[str]:
    """Do the jobs and show what becomes of them; the inputs that failed."""
    failed, done = [], len(batch.kept)
    jobs = [*batch.kept, *batch.todo]
    with ThreadPoolExecutor(min(chosen.jobs, len(jobs))) as pool:
        try:
            for found in pool.map(report, batch.todo):
                done += 1
                if not _show(found, chosen.json):
                    failed.append(found["input"])
        except BaseException as error:
            pool.shutdown(cancel_futures=True)  # those under way are finished
            if isinstance(error, KeyboardInterrupt):
                rest = how_to_go_on(len(jobs) > 1, force=chosen.force, skip_existing=chosen.skip_existing)
                said = f"stopped; {done - len(failed)} of {len(jobs)} inputs done{rest}"
                raise Stopped(said, exit_code(error) - SIGNALLED) from error
            raise
    return failed


def _report(work: Work, job: Job, write: Write) -> dict[str, Any]:
    """What became of a job: a batch goes on whatever happens to one input."""
    start = time.perf_counter()
    try:
        make_folder(job)
        done = work(job, write)
    except BrokenPipeError:
        raise
    except TaskodecError as error:
        return {"input": str(job.source), "error": str(error)}
    except Exception as error:  # of onnxruntime, numpy or the system
        said = reason(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return {"input": str(job.source), "error": said}
    seconds = round(time.perf_counter() - start, 3)
    return {"input": str(job.source), "output": str(job.target), **done, "seconds": seconds}


def _show(report: dict[str, Any], as_json: bool) -> bool:
    """Print it; whether it is no failure."""
    source = escaped(report["input"])
    if as_json:
        print(json.dumps(report), flush=True)
    elif "error" in report:
        print(f"error: {about(report['input'], report['error'])}", file=sys.stderr)
    elif "skipped" not in report:
        size = f"{report['width']}x{report['height']} pixels, {report['bytes']} bytes"
        print(f"{source} -> {escaped(report['output'])}: {size}", flush=True)
        for note in report.get("notes", ()):
            print(f"note: {source}: {note}", file=sys.stderr)
    return "error" not in report


def _read(path: Path, max_pixels: int) -> bytes:
    try:
        return read_input(path, most_bytes(max_pixels))
    except OSError as error:
        raise TaskodecError(cannot_read(path, error)) from error


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _parser(name: str, about: str, inputs: str, plural: str) -> argparse.ArgumentParser:
    """What both commands take."""
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--version", action="version", version=f"{name} {taskodec.__version__}")
    parser.add_argument("codec", type=Path, metavar="CODEC", help="folder that `taskodec export` wrote")
    parser.add_argument("inputs", type=argument, nargs="+", metavar=inputs, help=f"{plural}, folders of them, or -")
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder for several, or - for standard output")
    parser.add_argument(
        "--provider", action="append", metavar="NAME", help=f"onnxruntime's provider; may be repeated ({CPU})"
    )
    parser.add_argument("--threads", type=_positive, help="threads of onnxruntime for each file")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="files at a time; memory grows with it")
    parser.add_argument("--max-pixels", type=_positive, default=MAX_PIXELS, help="refuse larger pictures")
    parser.add_argument("--tile", type=_positive, default=TILE, help="pixels that a transform works on at once, about")
    parser.add_argument("--json", action="store_true", help="print one JSON object per input")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument("--skip-existing", action="store_true", help="keep whole files that exist, make the rest")
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
    if not 1 <= value < 2**31:
        raise ValueError
    return value
