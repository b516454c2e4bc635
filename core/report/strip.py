"""A report in one picture: original, plain and tuned side by side, with what the task sees drawn over each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from taskodec.contracts import Findings, Found
from taskodec.images.tensors import to_pil
from taskodec.report.labels import Label, apart
from taskodec.report.maps import HUES, class_picture, coloured, mask_picture, scale_of
from taskodec.report.sights import BACKGROUND, Hues, corners_of, heat_of
from taskodec.report.study import PLAIN, TUNED, Study, Take

__all__ = ["strip_of", "words_of"]

CAPTION, TEXT, GAP = 38, 26, 6
"""Rows below the pictures, the size of letters in them, and columns between two."""

DRAWN = 8
"""Boxes and outlines in one picture, at most."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

TITLES = {PLAIN: "plain", TUNED: "tuned"}


def strip_of(study: Study, width: int = 320) -> Image.Image:
    """Three pictures, each `width` pixels wide."""
    hues, heats = Hues(), [one.heat for one in study.opinions[0].findings.values() if one.heat is not None]
    scale = scale_of([heat_of(one) for one in heats], "viridis") if heats else None
    height = max(1, round(width * study.given.x.shape[2] / study.given.x.shape[3]))
    sheet = Image.new("RGB", (3 * width + 2 * GAP, height + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for number, take in enumerate(study.takes):
        x = number * (width + GAP)
        found = study.opinions[0].findings.get(take.key)
        if scale is not None and found is not None and found.heat is not None:
            shown = coloured(heat_of(found.heat), scale, "viridis").resize((width, height), Image.Resampling.BILINEAR)
        else:
            shown = to_pil(take.x).resize((width, height), Image.Resampling.LANCZOS)
            if found is not None:
                shown = _with_findings(shown, found, width / take.x.shape[3], hues)
        sheet.paste(shown, (x, 0))
        draw.text((x + 2, height + 4), _title(take), "#222222", font=font)
    return sheet


def words_of(findings: Findings | None) -> str:
    """The surest things that are found, or the classes with the most pixels; empty where nothing has a name."""
    if findings is None:
        return ""
    first = sorted(findings.found, key=lambda one: -(1.0 if one.score is None else one.score))[:2]
    if first:
        return ", ".join(one.label if one.score is None else f"{one.label} {one.score:.0%}" for one in first)
    if findings.classes is None:
        return ""
    numbers, counts = torch.unique(findings.classes, return_counts=True)
    most = sorted(zip(counts.tolist(), numbers.tolist(), strict=True), reverse=True)
    named = [(findings.names[n] if n < len(findings.names) else f"class {n}", c) for c, n in most]
    total = findings.classes.numel()
    return ", ".join(f"{name} {count / total:.0%}" for name, count in named if name.lower() not in BACKGROUND)


def _title(take: Take) -> str:
    return "original" if take.bytes is None else f"{TITLES[take.key]}: {take.bytes:,} bytes"


def _with_findings(shown: Image.Image, found: Findings, zoom: float, hues: Hues) -> Image.Image:
    """Masks, classes, boxes and outlines over a picture that is `zoom` times as large as what they are of."""
    things = sorted(found.found, key=lambda one: -(1.0 if one.score is None else one.score))[:DRAWN]
    masks = [(one.mask, hues.of(one.label)) for one in things if one.mask is not None]
    layers = [mask_picture(masks, (masks[0][0].shape[0], masks[0][0].shape[1]))] if masks else []
    if found.classes is not None:
        empty = [n for n, name in enumerate(found.names) if name.lower() in BACKGROUND]
        layers.append(class_picture(found.classes, empty))
    over = shown.convert("RGBA")
    for layer in layers:
        fitted = layer.resize(shown.size, Image.Resampling.NEAREST)
        fitted.putalpha(fitted.getchannel("A").point(lambda value: value // 2))
        over.alpha_composite(fitted)
    shown = over.convert("RGB")
    draw, font = ImageDraw.Draw(shown), ImageFont.load_default(TEXT - 6)
    placed = [one for one in things if one.outline or one.box is not None]
    corners = [[(x * zoom, y * zoom) for x, y in corners_of(one)] for one in placed]
    drawn = list(zip(placed, corners, strict=True))
    names = apart([_label(one, own, shown.width, draw, font) for one, own in drawn], shown.height)
    for one, own in reversed(drawn):  # so that the surest lies on top
        draw.polygon(own, outline=HUES[hues.of(one.label)], width=3)
    for one, name in reversed(list(zip(placed, names, strict=True))):
        hue = HUES[hues.of(one.label)]
        draw.rectangle((name.left, name.top, name.left + name.width, name.top + name.height), fill=hue)
        draw.text((name.left + 3, name.top + 2), name.text, "black", font=font)
    return shown


def _label(
    one: Found, corners: Sequence[tuple[float, float]], width: int, draw: ImageDraw.ImageDraw, font: Font
) -> Label:
    """Its name and score in its left upper corner, within a picture of this width."""
    said = one.label if one.score is None else f"{one.label} {one.score:.0%}"
    box = draw.textbbox((3, 2), said, font=font)
    left = max(0.0, min(*(x for x, _ in corners), width - box[2] - 3))
    return Label(said, left, max(0.0, min(y for _, y in corners)), box[2] + 3, box[3] + 2)
