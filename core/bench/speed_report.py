"""What `taskodec bench --speed` measured as tables in a terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskodec.bench.speed import PICTURE, REST, Side, Speed, SpeedSummary
from taskodec.bench.tables import Table, markdown_tables, print_report

__all__ = ["as_json", "markdown", "print_tables"]

STAGES = {"encode": (PICTURE, "analysis", "entropy", REST), "decode": ("entropy", "synthesis", PICTURE, REST)}

NOTES = (
    "minimum and median are over rounds, then the mean over images; codecs took turns on every image",
    "stages are those of the median's round and add up to it: picture is conversion and padding or cropping, entropy "
    "the hyper-synthesis and the entropy coding, rest the header, checksums and what lies between",
    "multiplications are those of convolutions and matrix products, for each pixel of the image before padding",
)


def as_json(summary: SpeedSummary) -> dict[str, Any]:
    """All of it as plain values, every single lap included."""
    return {
        "device": summary.device,
        "threads": summary.threads,
        "rounds": summary.rounds,
        "images": [vars(image) for image in summary.images],
        "codecs": [_codec(speed, summary) for speed in summary.speeds],
    }


def print_tables(summary: SpeedSummary) -> None:
    """The tables on standard output."""
    print_report(_tables(summary), _notes(summary))


def markdown(summary: SpeedSummary) -> str:
    """The tables as Markdown."""
    notes = "\n".join(f"- {note}" for note in _notes(summary))
    return "\n\n".join(["# Speed", *markdown_tables(_tables(summary)), notes]) + "\n"


def _codec(speed: Speed, summary: SpeedSummary) -> dict[str, Any]:
    known = ("codec", "anchor", "fidelity", "quality", "version", "bytes")
    values = {name: getattr(speed, name) for name in known}
    for name, side in _sides(speed).items():
        values[name] = {
            "minimum": side.minimum,
            "median": side.median,
            "stages": side.stages,
            "parts": _nested(side.parts),
            "multiplications_per_pixel": dict(side.multiplications),
            "of_anchor": {other.codec: side.median / _sides(other)[name].median for other in summary.anchors},
            "laps": [
                [{"seconds": lap.seconds, "stages": dict(lap.stages), "parts": _nested(lap.parts)} for lap in rounds]
                for rounds in side.laps
            ],
        }
    return values


def _nested(parts: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (stage, part), seconds in parts.items():
        nested.setdefault(stage, {})[part] = seconds
    return nested


def _sides(speed: Speed) -> dict[str, Side]:
    return {"encode": speed.encode, "decode": speed.decode}


def _tables(summary: SpeedSummary) -> list[Table]:
    """Those that have a row."""
    speeds = summary.speeds
    tables = [
        _seconds(summary),
        _ratios(summary),
        *(_stages(name, speeds) for name in STAGES),
        _parts(speeds),
        _multiplications(speeds),
    ]
    return [table for table in tables if table.rows]


def _seconds(summary: SpeedSummary) -> Table:
    count = len(summary.images)
    megapixels = sum(image.width * image.height for image in summary.images) / count / 1e6
    rows = []
    for speed in summary.speeds:
        seconds = (figure for side in _sides(speed).values() for figure in (side.minimum, side.median))
        rows.append((*_named(speed), f"{speed.bytes:.0f}", *(f"{figure:.4f}" for figure in seconds)))
    return Table(
        f"Seconds per image, {count} image{'s' * (count != 1)} of {megapixels:.2f} megapixels",
        ("codec", "quality", "bytes", "encode, minimum", "encode, median", "decode, minimum", "decode, median"),
        rows,
    )


def _ratios(summary: SpeedSummary) -> Table:
    rows = [
        (
            *_named(speed),
            anchor.codec,
            f"{speed.encode.median / anchor.encode.median:.2f}",
            f"{speed.decode.median / anchor.decode.median:.2f}",
        )
        for speed in summary.speeds
        if not speed.anchor
        for anchor in summary.anchors
    ]
    header = ("codec", "quality", "against", "encode", "decode")
    return Table("Seconds as a multiple of the anchor's (medians; below 1 is faster)", header, rows)


def _stages(name: str, speeds: Sequence[Speed]) -> Table:
    rows = []
    for speed in speeds:
        side = _sides(speed)[name]
        cells = [
            f"{side.stages.get(stage, 0):.4f} ({side.stages.get(stage, 0) / side.median:.0%})" for stage in STAGES[name]
        ]
        if side.stages:
            rows.append((*_named(speed), f"{side.median:.4f}", *cells))
    return Table(f"Where {name} spends its seconds", ("codec", "quality", "all", *STAGES[name]), rows)


def _parts(speeds: Sequence[Speed]) -> Table:
    rows = [
        (*_named(speed), name, stage, part, f"{seconds:.4f}")
        for speed in speeds
        for name, side in _sides(speed).items()
        for (stage, part), seconds in side.parts.items()
    ]
    return Table("Parts of stages", ("codec", "quality", "side", "stage", "part", "seconds"), rows)


def _multiplications(speeds: Sequence[Speed]) -> Table:
    """A column for every stage that multiplies on some side."""
    columns = [(name, stage) for name, stages in STAGES.items() for stage in stages if stage not in (PICTURE, REST)]
    rows = []
    for speed in speeds:
        sides = _sides(speed)
        if any(side.multiplications for side in sides.values()):
            rows.append(
                (*_named(speed), *(f"{sides[name].multiplications.get(stage, 0):.0f}" for name, stage in columns))
            )
    header = ("codec", "quality", *(f"{name}, {stage}" for name, stage in columns))
    return Table("Multiplications per pixel", header, rows)


def _named(speed: Speed) -> tuple[str, str]:
    return speed.codec, f"{speed.quality:g}"


def _notes(summary: SpeedSummary) -> list[str]:
    """Where and how it was measured, and what means nothing."""
    threads = f"{summary.threads} thread{'s' * (summary.threads != 1)}"
    notes = [f"measured on {summary.device}, {threads}, {summary.rounds} round{'s' * (summary.rounds != 1)}", *NOTES]
    for speed in summary.speeds:
        if not speed.fidelity:
            notes.append(f"{speed.codec} is for timing only ({speed.version}): its bytes and pictures mean nothing")
    return notes
