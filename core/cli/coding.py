"""`taskodec compress`, `decompress` and `info`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common
from taskodec.cli.batches import Batches
from taskodec.cli.progress import progress_bar
from taskodec.cli.terminal import escaped, indented
from taskodec.errors import TaskodecError

if TYPE_CHECKING:
    from taskodec.api.compressor import Compressor, Result

__all__ = ["compress", "decompress", "info"]

Show = Callable[[Mapping[str, Any]], None]

STREAM_SUFFIXES = frozenset({".tkd"})


def compress(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Images, or folders of images.")],
    *,
    output: common.OutputChoice = None,
    codec: Annotated[str | None, typer.Option(help="Codec to use; see `taskodec plugins`.")] = None,
    quality: Annotated[float | None, typer.Option("--quality", "-q", help="Low is a small file.")] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME|FILE.py:OBJ", help="What the image is for.")] = None,
    steps: Annotated[int | None, typer.Option(help="Tuning steps in all; 0 sends the image untuned.")] = None,
    preset: Annotated[str | None, typer.Option(help="Tuning preset, such as quick or paper.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the tuning.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds of tuning per image.")] = None,
    adapter: common.AdapterChoice = None,
    batch: Annotated[int, typer.Option(min=1, help="Tune up to so many images of one size together.")] = 1,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
) -> None:
    """Compress images for a task, tuning the codec to each of them.

    Outputs are named after their inputs, with the suffix .tkd, beside them or in the folder of -o. Folders
    are read one level deep. Files that exist are kept unless --force is given. With --batch, inputs of one size
    come one after the other.
    """
    flags = {
        "codec.name": codec,
        "quality": quality,
        "task.name": task,
        "ttft.steps": steps,
        "ttft.preset": preset,
        "ttft.seed": seed,
        "ttft.time_budget": time_budget,
        "adapter.name": adapter,
    }
    settings = common.resolve_settings(config, overrides, flags)
    jobs = common.plan(inputs, output, ".tkd", suffixes=common.IMAGE_SUFFIXES, force=force)
    from taskodec.api.compressor import Compressor
    from taskodec.files.atomic import write_atomic

    batches = _batches(Compressor(settings, common.load_registry(plugin)), jobs, batch, quiet)

    def work(job: common.Job) -> dict[str, Any]:
        common.make_folder(job)  # before minutes of tuning that could not be kept
        result = batches.result(job)
        write_atomic(job.target, result.stream)
        return {"input": str(job.source), "output": str(job.target), **result.report()}

    common.run_batch(batches.jobs, work, partial(_show, as_json, quiet, _compressed))


def _batches(compressor: Compressor, jobs: Sequence[common.Job], size: int, quiet: bool) -> Batches:
    def tune(group: Sequence[common.Job]) -> list[Result | Exception]:
        label = group[0].source.name if len(group) == 1 else f"{len(group)} images"
        with progress_bar(label, quiet) as progress:
            return compressor.compress_batch([job.source for job in group], progress)

    return Batches(jobs, size, tune)


def decompress(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN.tkd...", help="Streams, or folders of streams.")],
    *,
    output: common.OutputChoice = None,
    adapter: common.AdapterChoice = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
) -> None:
    """Decompress streams to images; the task's code is not needed.

    Outputs are named after their inputs, with the suffix .png, beside them or in the folder of -o. The suffix
    of a file given with -o chooses its format. Files that exist are kept unless --force is given. A stream
    made with other codec weights needs them: --set codec.checkpoint=FILE. It and codec.options are for the
    codec that the stream names. So does a stream made with an adapter's file: --adapter FILE.
    """
    settings = common.resolve_settings(config, overrides, {"adapter.name": adapter})
    jobs = common.plan(inputs, output, ".png", suffixes=STREAM_SUFFIXES, force=force)
    registry = common.load_registry(plugin)
    from taskodec.api.compressor import Decompressor
    from taskodec.images.tensors import save_image

    decompressor = Decompressor(settings, registry)

    def work(job: common.Job) -> dict[str, Any]:
        start = time.perf_counter()
        common.make_folder(job)
        data = _read(job.source)
        with progress_bar(job.source.name, quiet) as progress:
            image = decompressor.decompress(data, progress=progress)
        save_image(image, job.target)
        seconds = round(time.perf_counter() - start, 3)
        about = {"bytes": len(data), "width": image.width, "height": image.height, "seconds": seconds}
        return {"input": str(job.source), "output": str(job.target), **about}

    common.run_batch(jobs, work, partial(_show, as_json, quiet, _listed))


def info(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN.tkd...", help="Streams, or folders of streams.")],
    *,
    as_json: common.JsonFlag = False,
) -> None:
    """Say what streams hold, without loading a network."""
    from taskodec.stream.bitstream import Stream

    def work(job: common.Job) -> dict[str, Any]:
        data = _read(job.source)
        stream = Stream.from_bytes(data, max_pixels=sys.maxsize)  # nothing here grows with the picture
        header = stream.header
        adapter = header.adapter_fingerprint
        return {
            "input": str(job.source),
            "bytes": len(data),
            "width": header.width,
            "height": header.height,
            "bpp": 8 * len(data) / (header.width * header.height),
            "codec": header.codec,
            "codec_fingerprint": header.codec_fingerprint.hex(),
            "quality": header.quality,
            "adapter_fingerprint": adapter.hex() if adapter else None,
            "has_delta": header.has_delta,
            "absolute": header.absolute,
            "header_bytes": stream.header_bytes,
            "payload_bytes": len(stream.payload),
            "metadata": dict(header.metadata),
        }

    sources = [source for path in inputs for source in common.expand(path, STREAM_SUFFIXES)]
    jobs = [common.Job(source, source) for source in sources]
    common.run_batch(jobs, work, partial(_show, as_json, False, _listed))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskodecError(f"cannot open {path}: {error.strerror or error}") from error


def _show(as_json: bool, quiet: bool, render: Callable[[Mapping[str, Any]], str], report: Mapping[str, Any]) -> None:
    """One report on standard output; without JSON, failures go to standard error."""
    names = {key: escaped(value) if isinstance(value, str) else value for key, value in report.items()}
    if as_json:
        common.print_json(report)
    elif "error" in report:
        print(f"error: {names['input']}: {indented(report['error'])}", file=sys.stderr)
    elif not quiet:
        print(render(names), flush=True)


def _compressed(report: Mapping[str, Any]) -> str:
    """The report of `compress` in a few lines."""
    r = report
    lines = [
        f"{r['input']} -> {r['output']}: {r['bytes']} bytes, {r['bpp']:.4f} bpp (untuned {r['bpp_before']:.4f})",
        f"  task loss {r['task_loss_before']:.5g} -> {r['task_loss_after']:.5g}, "
        f"cost {r['cost_before']:.5g} -> {r['cost_after']:.5g}, PSNR {r['psnr']:.2f} dB",
        f"  sent: {r['chosen']}; {r['steps']} steps, {r['seconds']:.1f} s",
    ]
    lines += [f"  note: {note}" for note in r.get("notes", ())]
    return "\n".join(lines)


def _listed(report: Mapping[str, Any]) -> str:
    """Any report, one value a line."""
    rest = {k: v for k, v in report.items() if k != "input"}
    width = max(map(len, rest), default=0)
    lines = [f"  {key:<{width}}  {_value(value)}" for key, value in rest.items()]
    return "\n".join([str(report["input"]), *lines])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        # JSON, because strangers' metadata must not reach the terminal as they are
        return ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) or "-"
    return "-" if value is None else str(value)
