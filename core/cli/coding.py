"""`taskodec compress`, `decompress` and `info`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from taskodec.cli import common
from taskodec.cli.batches import Batches
from taskodec.cli.progress import progress_bar
from taskodec.console.terminal import escaped, indented
from taskodec.errors import TaskodecError, UsageError
from taskodec.files.inputs import cannot_read, most_bytes, read_input
from taskodec.files.outputs import results_to

if TYPE_CHECKING:
    from PIL.Image import Image

    from taskodec.api.compressor import Compressor, Result

__all__ = ["compress", "decompress", "info"]

Show = Callable[[Mapping[str, Any]], None]

STREAM_SUFFIXES = frozenset({".tkd"})

GOES_ON = "; the same call with --skip-existing makes the rest"


def compress(
    inputs: common.Images,
    *,
    output: common.OutputChoice = None,
    codec: common.CodecChoice = None,
    quality: common.QualityChoice = None,
    target_bytes: common.TargetBytes = None,
    target_bpp: common.TargetBpp = None,
    target_loss: common.TargetLoss = None,
    target: common.TargetMetric = None,
    task: common.TaskChoice = None,
    steps: common.StepsChoice = None,
    preset: common.PresetChoice = None,
    seed: common.SeedChoice = None,
    time_budget: common.TimeBudget = None,
    adapter: common.AdapterChoice = None,
    batch: Annotated[int, typer.Option(min=1, help="Tune up to so many images of one size together.")] = 1,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
    skip_existing: common.SkipExisting = False,
) -> None:
    """Compress images for a task, tuning the codec to each of them.

    Outputs are named after their inputs, with the suffix .tkd, beside them or in the folder of -o. Folders
    are read one level deep; - is standard input or output. Files that exist are refused unless --force or
    --skip-existing is given. With --batch, inputs of one size come one after the other.
    """
    common.check_choice(force, skip_existing)
    flags = common.tuning_flags(
        codec=codec,
        quality=quality,
        target_bytes=target_bytes,
        target_bpp=target_bpp,
        target_loss=target_loss,
        target=target,
        task=task,
        steps=steps,
        preset=preset,
        seed=seed,
        time_budget=time_budget,
        adapter=adapter,
    )
    settings = common.resolve_settings(config, overrides, flags)
    jobs = common.plan(inputs, output, ".tkd", suffixes=common.IMAGE_SUFFIXES)
    _check_suffixes(jobs)
    from taskodec.api.compressor import Compressor
    from taskodec.pixels.whole import flaw

    compressor = Compressor(settings, common.load_registry(plugin))
    settled = common.settle(jobs, flaw, force=force, skip_existing=skip_existing)
    batches = Batches(jobs, batch, _tune(compressor, quiet), settled.todo)
    rest = GOES_ON if len(jobs) > 1 else ""
    with results_to([job.target for job in jobs]) as write:

        def work(job: common.Job) -> dict[str, Any]:
            common.make_folder(job)  # before minutes of tuning that could not be kept
            result = batches.result(job)
            write(job.target, result.stream)
            return {"input": str(job.source), "output": str(job.target), **result.report()}

        settled = replace(settled, todo=batches.jobs)
        common.run_batch(settled, work, partial(_show, as_json, quiet, _compressed), quiet=quiet, goes_on=rest)


def _check_suffixes(jobs: Sequence[common.Job]) -> None:
    """Refuse to give a stream the name of a picture."""
    if wrong := [str(job.target) for job in jobs if job.target.suffix.lower() in common.IMAGE_SUFFIXES]:
        raise UsageError(f"cannot write {', '.join(wrong)}: streams are no pictures, the usual suffix is .tkd")


def _tune(compressor: Compressor, quiet: bool) -> Callable[[Sequence[common.Job]], list[Result | Exception]]:
    limit = most_bytes(compressor.settings.limits.max_pixels)

    def tune(group: Sequence[common.Job]) -> list[Result | Exception]:
        label = group[0].source.name if len(group) == 1 else f"{len(group)} images"
        with progress_bar(label, quiet) as progress:
            return compressor.compress_batch([_picture(job.source, limit) for job in group], progress)

    return tune


def _picture(source: Path, limit: int) -> Path | BinaryIO:
    """What the API takes for an input."""
    if source != common.STANDARD:
        return source
    picture = _Named(_read(source, limit))
    picture.name = "standard input"
    return picture


class _Named(BytesIO):
    """Bytes with a name for messages."""

    name = ""


def decompress(
    inputs: common.Streams,
    *,
    output: common.OutputChoice = None,
    adapter: common.AdapterChoice = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
    skip_existing: common.SkipExisting = False,
) -> None:
    """Decompress streams to images; the task's code is not needed.

    Outputs are named after their inputs, with the suffix .png, beside them or in the folder of -o; - is
    standard input or output. The suffix of a file given with -o chooses its format. Files that exist are
    refused unless --force or --skip-existing is given. A stream made with other codec weights needs them:
    --set codec.checkpoint=FILE. It and codec.options are for the codec that the stream names. So does a
    stream made with an adapter's file: --adapter FILE.
    """
    common.check_choice(force, skip_existing)
    settings = common.resolve_settings(config, overrides, common.tuning_flags(adapter=adapter))
    jobs = common.plan(inputs, output, ".png", suffixes=STREAM_SUFFIXES)
    registry = common.load_registry(plugin)
    from taskodec.api.compressor import Decompressor
    from taskodec.api.loading import check_files
    from taskodec.images.tensors import check_writable, save_image
    from taskodec.pixels.whole import flaw

    check_files(settings)
    for job in jobs:
        check_writable(job.target)
    decompressor = Decompressor(settings, registry)
    settled = common.settle(jobs, flaw, force=force, skip_existing=skip_existing)
    limit, rest = most_bytes(settings.limits.max_pixels), GOES_ON if len(jobs) > 1 else ""
    with results_to([job.target for job in jobs]) as write:

        def work(job: common.Job) -> dict[str, Any]:
            start = time.perf_counter()
            common.make_folder(job)
            data = _read(job.source, limit)
            with progress_bar(job.source.name, quiet) as progress:
                image = decompressor.decompress(data, progress=progress)
            if job.target == common.STANDARD:
                write(job.target, _png(image))
            else:
                save_image(image, job.target)
            seconds = round(time.perf_counter() - start, 3)
            about = {"bytes": len(data), "width": image.width, "height": image.height, "seconds": seconds}
            return {"input": str(job.source), "output": str(job.target), **about}

        common.run_batch(settled, work, partial(_show, as_json, quiet, _listed), quiet=quiet, goes_on=rest)


def _png(image: Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def info(
    inputs: common.Streams,
    *,
    as_json: common.JsonFlag = False,
) -> None:
    """Say what streams hold, without loading a network."""
    from taskodec.stream.about import about_stream
    from taskodec.stream.bitstream import MAX_PIXELS

    def work(job: common.Job) -> dict[str, Any]:
        data = _read(job.source, most_bytes(MAX_PIXELS))
        return {"input": str(job.source), **about_stream(data)}

    sources = [source for path in inputs for source in common.expand(path, STREAM_SUFFIXES)]
    jobs = [common.Job(source, source) for source in sources]
    common.run_batch(common.Settled(jobs), work, partial(_show, as_json, False, _listed))


def _read(path: Path, most: int) -> bytes:
    try:
        return read_input(path, most)
    except OSError as error:
        raise TaskodecError(cannot_read(path, error)) from error


def _show(as_json: bool, quiet: bool, render: Callable[[Mapping[str, Any]], str], report: Mapping[str, Any]) -> None:
    """One report on standard output; without JSON, failures go to standard error."""
    names = {key: escaped(value) if isinstance(value, str) else value for key, value in report.items()}
    if as_json:
        common.print_json(report)
    elif "skipped" in report:
        return
    elif "error" in report:
        print(f"error: {names['input']}: {indented(report['error'])}", file=sys.stderr)
    elif not quiet:
        print(render(names), flush=True)


def _compressed(report: Mapping[str, Any]) -> str:
    """The report of `compress` in a few lines."""
    r = report
    before = "untuned, with the adapter" if r["adapter_before"] else "untuned"
    chosen = "plain, the codec without adapter and tuning" if r["chosen"] == "plain" else r["chosen"]
    lines = [
        f"{r['input']} -> {r['output']}: {r['bytes']} bytes, {r['bpp']:.4f} bpp ({before}: {r['bpp_before']:.4f})",
        f"  task loss {r['task_loss_before']:.5g} -> {r['task_loss_after']:.5g}, "
        f"cost {r['cost_before']:.5g} -> {r['cost_after']:.5g}, PSNR {r['psnr']:.2f} dB",
        f"  sent: {chosen}; {r['steps']} steps, {r['seconds']:.1f} s",
    ]
    if target := r.get("target"):
        used = f", {target['used']:.2%} of it" if "used" in target else ""
        chosen = f"quality {r['quality']:g}, lmbda {r['lmbda']:.4g}"
        lines.append(f"  target {target['limit']}: {target['reached']:.6g}{used}; {chosen}")
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
