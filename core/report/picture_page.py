"""Pages about pictures that were compressed, one or several, from what studies of them found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from taskodec.errors import UsageError
from taskodec.images.tensors import to_pil
from taskodec.report.charts import drawn
from taskodec.report.history import tuning_charts, tuning_table
from taskodec.report.maps import HUES, amplified, coloured, factor_of, scale_of
from taskodec.report.page import MOST_BYTES, rendered
from taskodec.report.pictures import embedded, one_embedded, shape_of
from taskodec.report.sights import Hues, Sight, heat_of, sight_of
from taskodec.report.study import ORIGINAL, PLAIN, TUNED, Opinion, Study, Take

__all__ = ["MOST_PICTURES", "picture_piece", "pictures_page"]

MOST_PICTURES = 40
"""Of a page: with more, each would have too few bytes to be looked at."""

OVERHEAD = 120_000
"""Bytes of a page and of each of its pictures that are not pictures, about."""

OURS = (ORIGINAL, TUNED)

NAMES = {ORIGINAL: "original", PLAIN: "plain", TUNED: "tuned"}
"""Of the takes that every picture has, in a sentence; anchors are written as abbreviations."""


def pictures_page(
    studies: Sequence[Study], title: str = "", *, left_out: Sequence[str] = (), said: Sequence[str] = ()
) -> str:
    """The page of these studies, with an index if there are several; at most `MOST_BYTES`. UsageError for too many.

    `left_out` says what there is no study of, and why, `said` what holds for all, such as warnings.
    """
    if not 0 < len(studies) <= MOST_PICTURES:
        raise UsageError(f"a page takes 1 to {MOST_PICTURES} pictures, found {len(studies)}: make several pages")
    budget = (MOST_BYTES - OVERHEAD) // len(studies)
    while True:
        pictures = [_parts_of(one, n, budget) for n, one in enumerate(studies, 1)]
        named = title or _title(studies)
        heading = title or f"Compressed for {studies[0].given.task_name}"
        page = rendered(
            "pictures.html",
            title=named,
            heading=heading,
            pictures=pictures,
            hues=HUES,
            left_out=list(left_out),
            said=list(said),
        )
        excess = len(page.encode()) - MOST_BYTES
        if excess <= 0 or budget < 20_000:
            return page
        budget = max(20_000, int(budget - excess / len(studies)) - 10_000)


def _title(studies: Sequence[Study]) -> str:
    first = studies[0].given
    what = f"{len(studies)} pictures" if len(studies) > 1 else first.name or "A picture"
    return f"{what}, compressed for {first.task_name}"


def picture_piece(one: Study) -> str:
    """What `pictures_page` says of a picture, as a piece of HTML for a page with the same styles and script."""
    return rendered("picture.html", p=_parts_of(one, 1, MOST_BYTES - OVERHEAD), hues=HUES)


def _parts_of(one: Study, number: int, budget: int) -> dict[str, Any]:
    """What the template needs of a study; its pictures take about `budget` bytes."""
    given = one.given
    height, width = given.x.shape[2:]
    shown = embedded({take.key: to_pil(take.x) for take in one.takes}, int(0.7 * budget))
    drawn_width, drawn_height = shape_of(width, height)
    hues, names = Hues(), {take.key: NAMES.get(take.key, take.key.upper()) for take in one.takes}
    return {
        "id": f"p{number}",
        "name": given.name or f"picture {number}",
        "width": width,
        "height": height,
        "box": (drawn_width, drawn_height),
        "tiny": max(width, height) < 160,
        "stretched": (drawn_width, drawn_height) != (width, height),
        "shown": shown,
        "takes": one.takes,
        "titles": {key: name[:1].upper() + name[1:] for key, name in names.items()},
        "names": names,
        "equal": {take.key: _equality(take, one.takes[2].bytes or 0) for take in one.takes if take.key not in OURS},
        "missing": one.missing,
        "facts": _facts(one),
        "opinions": [_opinion(opinion, one, hues) for opinion in one.opinions],
        "bits": _bits(one),
        "parts": _parts(one.takes[1:]),
        "changes": _changes(one.takes),
        "charts": [chart for chart in map(drawn, tuning_charts(given.tuned)) if chart is not None],
        "steps": tuning_table(given.tuned),
        "chosen": given.tuned.best.name,
        "seconds": given.tuned.seconds,
        "notes": given.notes,
        "settings": json.dumps(given.settings.model_dump(mode="json", exclude={"train", "pretrain"}), indent=1),
    }


def _equality(take: Take, wanted: int) -> str:
    """How close a file comes to the tuned one's size, and why not closer."""
    size = take.bytes or 0
    if size == wanted:
        return "exactly the same size"
    unit = "byte" if abs(size - wanted) == 1 else "bytes"
    difference = f"{size - wanted:+,} {unit} ({100 * (size - wanted) / wanted:+.1f}\u00a0%)"
    if take.bounded:
        maker = "the codec, as it is loaded," if take.key == PLAIN else "this format"
        return f"{difference}: it is the {take.bounded} file that {maker} makes of this picture"
    return difference


def _facts(one: Study) -> list[dict[str, Any]]:
    """Rows of figures, a column for each take; `best` is the key of the better of plain and tuned."""
    own, pixels = one.opinions[0], one.given.x.shape[2] * one.given.x.shape[3]
    sizes = {take.key: take.bytes for take in one.takes if take.bytes is not None}
    rows = [
        _row("bytes of the file", {key: f"{size:,}" for key, size in sizes.items()}),
        _row("bits per pixel", {key: f"{8 * size / pixels:.4f}" for key, size in sizes.items()}),
        _row("quality of the codec", {t.key: f"{t.quality:g}" for t in one.takes if t.quality is not None}),
        _row("task loss (low is good)", {key: f"{value:.4g}" for key, value in own.losses.items()}),
        _row("cost, λ · loss + bpp", {t.key: f"{t.candidate.cost:.4g}" for t in one.takes if t.candidate}),
    ]
    for name in own.metrics[TUNED]:
        rows.append(_row(name.replace("_", " "), {k: f"{v[name]:.4g}" for k, v in own.metrics.items() if name in v}))
    if "psnr" not in own.metrics[TUNED]:
        rows.append(_row("PSNR, dB", {t.key: f"{t.psnr:.2f}" for t in one.takes if t.psnr is not None}))
    return rows


def _row(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "values": values}


def _opinion(opinion: Opinion, one: Study, hues: Hues) -> dict[str, Any]:
    """What a task finds in each take, or how steep its loss is there."""
    size = (one.given.x.shape[2], one.given.x.shape[3])
    heats = [heat_of(f.heat) for f in opinion.findings.values() if f.heat is not None]
    scale = scale_of(heats, "viridis") if heats else None
    names = [f.heat_name for f in opinion.findings.values() if f.heat_name]
    slopes = scale_of(list(opinion.slopes.values())) if opinion.slopes else None
    sights: dict[str, Sight] = {key: sight_of(f, size, hues, scale) for key, f in opinion.findings.items()}
    return {
        "name": opinion.name,
        "own": opinion.own,
        "losses": opinion.losses,
        "metrics": opinion.metrics,
        "sights": sights,
        "scale": scale,
        "heat_name": names[0] if names else "what the task computes",
        "slopes": {key: one_embedded(coloured(v, slopes), 85) for key, v in opinion.slopes.items()} if slopes else {},
        "slope_scale": slopes,
        "note": opinion.note,
    }


def _bits(one: Study) -> dict[str, Any] | None:
    """Maps of bits per pixel on one scale."""
    maps = {take.key: take.bits for take in one.takes if take.bits is not None}
    if not maps:
        return None
    scale = scale_of([found.values for found in maps.values()])
    return {
        "scale": scale,
        "maps": {key: one_embedded(coloured(found.values, scale)) for key, found in maps.items()},
        "grid": next(iter(maps.values())).values.shape,
        "means": {key: float(found.values.mean()) for key, found in maps.items()},
        "most": {key: float(found.values.max()) for key, found in maps.items()},
    }


def _parts(takes: Sequence[Take]) -> dict[str, Any]:
    """The bytes of each part of each file, and the share of the larger file that the parts take."""
    names = list(dict.fromkeys(name for take in takes for name in take.parts or {}))
    whole = max((take.bytes or 0 for take in takes), default=1) or 1
    rows = []
    for take in takes:
        start, segments = 0.0, []
        for number, name in enumerate(names):
            size = (take.parts or {}).get(name, 0.0)
            if size:
                segments.append({"name": name, "hue": number, "start": start, "share": size / whole, "bytes": size})
            start += size / whole
        rows.append({"key": take.key, "bytes": take.bytes, "segments": segments})
    sizes = {name: {t.key: own for t in takes if (own := (t.parts or {}).get(name))} for name in names}
    return {"names": names, "rows": rows, "sizes": sizes}


def _changes(takes: Sequence[Take]) -> dict[str, Any]:
    """Differences from the original, amplified by one factor."""
    differences = {take.key: take.x - takes[0].x for take in takes[1:]}
    factor = factor_of(list(differences.values()))
    pictures = {key: one_embedded(amplified(d, factor), 80) for key, d in differences.items()}
    return {"factor": factor, "pictures": pictures}
