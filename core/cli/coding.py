"""`taskodec compress`, `decompress` and `info`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common, places
from taskodec.cli.progress import progress_bar
from taskodec.console.layout import counted, say
from taskodec.console.terminal import about, escaped
from taskodec.errors import UsageError
from taskodec.files.inputs import most_bytes
from taskodec.sources.entries import read_entry
from taskodec.sources.sinks import NoSink

if TYPE_CHECKING:
    from taskodec.engines.steps import Outcome, Subject, Work

__all__ = ["compress", "decompress", "info"]

STREAM_SUFFIXES = frozenset({".tkd"})


def compress(
    inputs: places.Pictures = None,
    *,
    output: common.OutputChoice = None,
    from_file: places.FromFile = None,
    recursive: places.Recursive = False,
    shards: places.Shards = False,
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
    engine: places.EngineChoice = "local",
    address: places.Address = None,
    report: places.Report = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
    skip_existing: common.SkipExisting = False,
) -> None:
    """Compress images for a task, tuning the codec to each of them.

    Outputs are named after their inputs, with the suffix .tkd, beside them or in the folder of -o, which may be
    a URL; -o FILE.tar puts all into one archive. Folders are read one level deep, or with --recursive at any
    depth. Files that exist are refused unless --force or --skip-existing is given. With --batch, inputs of one
    size are worked on together.
    """
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
    most = most_bytes(settings.limits.max_pixels)
    named = places.named_inputs(inputs, from_file, common.IMAGE_SUFFIXES, recursive, most)
    chosen = places.Places(named, output, ".tkd", shards, force, skip_existing)
    if chosen.exact and Path(str(output)).suffix.lower() in common.IMAGE_SUFFIXES:
        raise UsageError(f"cannot write {output}: streams are no pictures, the usual suffix is .tkd")
    chosen.check()
    registry = common.load_registry(plugin)
    from taskodec.engines.work import Compressing, made

    work = Compressing(settings, registry)
    make = partial(made, Compressing, settings, registry)
    show = partial(_show, as_json, quiet, _compressed)
    with places.engine_of(engine, address, settings.ray, make, _watched(work, quiet), most) as doing:
        chosen.run(doing, show, report, quiet, batch, engine != "local")


def _watched(work: Work, quiet: bool) -> Callable[[Sequence[Subject]], list[Outcome]]:
    """The work with a bar of its progress."""

    def watched(subjects: Sequence[Subject]) -> list[Outcome]:
        label = subjects[0].entry.key if len(subjects) == 1 else f"{len(subjects)} images"
        with progress_bar(label, quiet) as progress:
            return work(subjects, progress)

    return watched


def decompress(
    inputs: places.Streams = None,
    *,
    output: common.OutputChoice = None,
    from_file: places.FromFile = None,
    recursive: places.Recursive = False,
    shards: places.Shards = False,
    adapter: common.AdapterChoice = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    engine: places.EngineChoice = "local",
    address: places.Address = None,
    report: places.Report = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
    skip_existing: common.SkipExisting = False,
) -> None:
    """Decompress streams to images; the task's code is not needed.

    Outputs are named after their inputs, with the suffix .png, beside them or in the folder of -o, which may be
    a URL; -o FILE.tar puts all into one archive. The suffix of a file given with -o chooses its format. Files
    that exist are refused unless --force or --skip-existing is given. A stream made with other codec weights
    needs them: --set codec.checkpoint=FILE. It and codec.options are for the codec that the stream names. So
    does a stream made with an adapter's file: --adapter FILE.
    """
    settings = common.resolve_settings(config, overrides, common.tuning_flags(adapter=adapter))
    most = most_bytes(settings.limits.max_pixels)
    named = places.named_inputs(inputs, from_file, STREAM_SUFFIXES, recursive, most)
    chosen = places.Places(named, output, ".png", shards, force, skip_existing)
    registry = common.load_registry(plugin)
    from taskodec.api.loading import check_files
    from taskodec.engines.work import Decompressing, made
    from taskodec.images.tensors import check_writable

    check_files(settings)
    if chosen.exact:
        check_writable(Path(str(output)))
    chosen.check()
    work = Decompressing(settings, registry)
    make = partial(made, Decompressing, settings, registry)
    show = partial(_show, as_json, quiet, _listed)
    with places.engine_of(engine, address, settings.ray, make, _watched(work, quiet), most) as doing:
        chosen.run(doing, show, report, quiet, paced=engine != "local")


def info(
    inputs: places.Streams = None,
    *,
    from_file: places.FromFile = None,
    recursive: places.Recursive = False,
    as_json: common.JsonFlag = False,
) -> None:
    """Say what streams hold, without loading a network."""
    from taskodec.cli.runs import Batch
    from taskodec.engines.planning import Choice, planned
    from taskodec.stream.bitstream import MAX_PIXELS

    most = most_bytes(MAX_PIXELS)
    named = places.named_inputs(inputs, from_file, STREAM_SUFFIXES, recursive, most)
    steps = planned(named, NoSink(), Choice(), places.note, checked=True)
    Batch(NoSink(), partial(_show, as_json, False, _listed)).run(places.Here(partial(_described, most)), steps)


def _described(most: int, subjects: Sequence[Subject]) -> list[Outcome]:
    """What streams hold."""
    from taskodec.engines.steps import Outcome, failure
    from taskodec.stream.about import about_stream

    outcomes = []
    for subject in subjects:
        try:
            outcomes.append(Outcome(about_stream(read_entry(subject.entry, most))))
        except BaseException as error:
            outcomes.append(failure(error))
    return outcomes


def _show(as_json: bool, quiet: bool, render: Callable[[Mapping[str, Any]], str], report: Mapping[str, Any]) -> None:
    """One report on standard output; without JSON, failures go to standard error."""
    names = {key: escaped(value) if isinstance(value, str) else value for key, value in report.items()}
    if as_json:
        common.print_json(report)
    elif "skipped" in report:
        return
    elif "error" in report:
        print(f"error: {about(report['input'], report['error'])}", file=sys.stderr)
    elif not quiet:
        for line in render(names).splitlines():
            say(line)


def _compressed(report: Mapping[str, Any]) -> str:
    """The report of `compress` in a few lines."""
    r = report
    before = "untuned, with the adapter" if r["adapter_before"] else "untuned"
    chosen = "plain, the codec without adapter and tuning" if r["chosen"] == "plain" else r["chosen"]
    lines = [
        f"{r['input']} -> {r['output']}: {r['bytes']} bytes, {r['bpp']:.4f} bpp ({before}: {r['bpp_before']:.4f})",
        f"  task loss {r['task_loss_before']:.5g} -> {r['task_loss_after']:.5g}, "
        f"cost {r['cost_before']:.5g} -> {r['cost_after']:.5g}, PSNR {r['psnr']:.2f} dB",
        f"  sent: {chosen}; {counted(r['steps'], 'step')}, {r['seconds']:.1f} s",
    ]
    if target := r.get("target"):
        used = f", {target['used']:.2%} of it" if "used" in target else ""
        chosen = f"quality {r['quality']:g}, lmbda {r['lmbda']:.4g}"
        lines.append(f"  target {target['limit']}: {target['reached']:.6g}{used}; {chosen}")
    lines += [f"  note: {escaped(note)}" for note in r.get("notes", ())]
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
