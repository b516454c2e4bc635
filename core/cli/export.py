"""`taskodec export`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskodec.cli import common
from taskodec.console.layout import say
from taskodec.console.terminal import escaped
from taskodec.errors import UsageError

if TYPE_CHECKING:
    from taskodec.contracts import Adapter, Codec
    from taskodec.export.precision import Precision
    from taskodec.hooks.registry import Registry
    from taskodec.runtime.exported import Manifest
    from taskodec.settings.model import Settings

__all__ = ["export"]


def export(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for graphs, tables, manifest.")],
    codec: common.CodecChoice = None,
    quality: Annotated[float | None, typer.Option("--quality", "-q", help="For codecs with a model each.")] = None,
    task: Annotated[str | None, typer.Option(help="Use the adapter that was trained for this task.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Adapter of the streams to decode.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without an adapter: for untuned streams only.")] = False,
    encoder: Annotated[bool, typer.Option("--encoder", help="The encoder too, for taskodec-encode.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights of the synthesis in 16 bits.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of the synthesis in 8 bits.")] = False,
    opset: Annotated[int | None, typer.Option(help="ONNX opset, 18 or later.")] = None,
    check: Annotated[
        list[Path] | None,
        typer.Option(metavar="IMAGE", help="Prove parity on this image, or folder of images; may be repeated."),
    ] = None,
    measure: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="Measure decoding of this image against the codec itself.")
    ] = None,
    config: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    plugin: common.PluginFiles = None,
    as_json: common.JsonFlag = False,
    quiet: common.Quiet = False,
    force: common.Force = False,
) -> None:
    """Export a codec's decoder to ONNX, for taskodec-decode and taskodec.runtime, which need no torch.

    One exported decoder serves all streams that are tuned for the same adapter, and untuned ones. With --check, the
    exit code is 1 if any latent differs from the codec's own, a picture agrees to less than 55 dB or, with --fp16 or
    --int8, is more than 0.3 dB worse.
    """
    if plain and (task or adapter):
        raise UsageError("--plain leaves the adapter out; give it, or --task or --adapter, not both")
    if opset is not None and opset < 18:
        raise UsageError(f"opset {opset} is not possible; valid: 18 or later")
    precision = _precision(fp16, int8)
    flags = {"codec.name": codec, "quality": quality, "adapter.name": adapter, "task.name": task}
    settings = common.resolve_settings(config, overrides, flags)
    images = [file for path in check or () for file in common.expand(path, common.IMAGE_SUFFIXES)]
    _check_files([*images, *([] if measure is None else [measure])])
    from taskodec.export.folder import Form, export_codec

    model, tuned, metadata = _models(common.load_registry(plugin), settings, task, plain)
    _check_folder(output, force)
    form = Form(opset, encoder, precision, metadata)
    _show(_about(output, export_codec(model, tuned, output, form)), as_json, quiet)
    if measure is not None:
        _show_costs(_costs(output, model, tuned, measure, settings), as_json, quiet)
    _prove(_parities(output, model, tuned, images, settings), as_json, quiet)


def _prove(parities: Iterator[dict[str, Any]], as_json: bool, quiet: bool) -> None:
    """Show all; exit code 1 if any is wrong."""
    wrong = [parity for parity in parities if not _show(parity, as_json, quiet)]
    if wrong:
        print(f"error: {len(wrong)} streams are not decoded as by the codec itself", file=sys.stderr)
        raise typer.Exit(1)


def _precision(fp16: bool, int8: bool) -> Precision:
    if fp16 and int8:
        raise UsageError("--fp16 and --int8 are two ways to store the same weights; give one")
    return "int8" if int8 else "float16" if fp16 else "float32"


def _check_files(paths: Sequence[Path]) -> None:
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise UsageError(f"no such image: {', '.join(missing)}")


def _about(output: Path, manifest: Manifest) -> dict[str, Any]:
    """What was written."""
    return {
        "output": str(output),
        "codec": manifest.codec,
        "codec_fingerprint": manifest.codec_fingerprint,
        "adapter_fingerprint": manifest.adapter_fingerprint,
        "opset": manifest.opset,
        "precision": manifest.precision,
        "files": {name: about["bytes"] for name, about in manifest.files.items()},
    }


def _models(
    registry: Registry, settings: Settings, task: str | None, plain: bool
) -> tuple[Codec, Adapter | None, dict[str, Any]]:
    """The codec, set to encode as its exported decoder needs it, the adapter, and what streams say of it."""
    from taskodec.api.loading import load_codec

    model = load_codec(registry, settings.codec, settings.quality)
    needed = model.export_parts().encode_with
    if needed:
        options = {**settings.codec.options, **needed}
        model = load_codec(registry, settings.codec.model_copy(update={"options": options}), settings.quality)
    return (model, None, {}) if plain else (model, *_adapter(registry, settings, model, task))


def _adapter(registry: Registry, settings: Settings, model: Codec, task: str | None) -> tuple[Adapter, dict[str, Any]]:
    """The one that `compress` would use for this task; UsageError if the user names one that none was trained for."""
    from taskodec.api.adapter_choice import choose_adapter
    from taskodec.api.loading import DEFAULT_ADAPTER, adapter_metadata, build_adapter

    chosen, passed_over = choose_adapter(
        registry, settings.adapter, model, task or settings.task.name, settings.task.options
    )
    for note in passed_over:
        say(f"note: {escaped(note)}", file=sys.stderr)
    if task and chosen.name == DEFAULT_ADAPTER:
        raise UsageError(
            f"no adapter is registered for task {task!r} and codec {model.name!r} with these weights; choose with "
            f"--adapter, or leave --task out for the default, {DEFAULT_ADAPTER}, which is tuned for any task"
        )
    return build_adapter(registry, chosen, model), adapter_metadata(registry, chosen)


def _parities(
    folder: Path, codec: Codec, adapter: Adapter | None, images: list[Path], settings: Settings
) -> Iterator[dict[str, Any]]:
    if not images:
        return
    from taskodec.export.check import check_parity
    from taskodec.images.tensors import load_image
    from taskodec.runtime import Decoder, Encoder

    limit = settings.limits.max_pixels
    decoder = Decoder(folder, max_pixels=limit)
    encoder = Encoder(folder, max_pixels=limit) if decoder.manifest.encoder else None
    levels = codec.qualities
    qualities = sorted({levels[0], levels[len(levels) // 2], levels[-1]})
    for seed, path in enumerate(images):
        x = load_image(path, max_pixels=limit).x
        for parity in check_parity(codec, adapter, decoder, x, qualities, encoder=encoder, seed=seed):
            yield {"input": str(path), **vars(parity), "fine": parity.fine}


def _costs(folder: Path, codec: Codec, adapter: Adapter | None, image: Path, settings: Settings) -> dict[str, Any]:
    from taskodec.bench.exported import measure_costs
    from taskodec.images.tensors import load_image

    x = load_image(image, max_pixels=settings.limits.max_pixels).x
    return {"input": str(image), **measure_costs(codec, adapter, folder, x, settings.quality).report()}


def _show_costs(report: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        common.print_json(report)
    elif not quiet:
        print(f"decoding {report['input']} takes {report['decode_of_torch']:.2f} of the codec's own CPU seconds")
        if "singular_values_of_merged" in report:
            print(f"singular values as input: {report['singular_values_of_merged']:.2f} of merged weights")
        for name, size in report["sizes"].items():
            print(f"{name}: {size['of_weights']:.3f} of the numbers it holds")


def _show(report: dict[str, Any], as_json: bool, quiet: bool) -> bool:
    """Print it; whether it is no failure."""
    fine = bool(report.get("fine", True))
    if as_json:
        common.print_json(report)
    elif not fine:
        reason = report["error"] or f"{report['wrong']} latents differ, {_pictures(report)}"
        print(f"error: {report['input']} at quality {report['quality']:g}: {reason}", file=sys.stderr)
    elif "fine" in report and not quiet:
        kind = "tuned" if report["tuned"] else "untuned" if report["encoder"] == "torch" else "encoded by ONNX"
        print(f"{report['input']}, quality {report['quality']:g}, {kind}: {_equal(report)}, {_pictures(report)}")
    elif not quiet:
        files = ", ".join(f"{name} {size} bytes" for name, size in report["files"].items())
        print(f"{report['output']}: {files}")
    return fine


def _equal(report: dict[str, Any]) -> str:
    return "equal latents" if not report["shift"] else f"equal symbols, latents within {report['shift']:.1g}"


def _pictures(report: dict[str, Any]) -> str:
    return f"pictures agree to {report['psnr']:.1f} dB, {report['lost']:.3f} dB lost"


def _check_folder(folder: Path, force: bool) -> None:
    """Refuse to mix an export with other files, unless it is to replace one."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty: give another folder, or replace what is there with --force")
