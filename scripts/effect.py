"""The README's picture: one photograph four times, and what the network of `cls` takes each for.

    python scripts/effect.py --image docs/images/kodim02.png --quality 2 --out docs/images/effect.jpg

The original; JPEG, and the codec alone, at the highest quality whose file is not larger than the tuned one; the codec
tuned for `cls` at `--quality`. All are decoded from their files. Where even JPEG's lowest quality is larger, that is
shown, with its size. The figures are printed as well, one JSON object a line.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from taskodec import Compressor, Decompressor, load_settings
from taskodec.images.tensors import load_image

WIDTH = 480
"""Columns of each of the four."""

CAPTION, TEXT, GAP = 80, 25, 8
"""Rows below each, the size of letters in them, and columns between two."""


@dataclass(frozen=True)
class Shown:
    """A picture, the bytes of its file, and what the network says."""

    title: str
    image: Image.Image
    size: int
    label: str
    probability: float


def main() -> int:
    """Make the picture; the exit code."""
    parser = argparse.ArgumentParser(description="One photograph four times, and what a network takes each for.")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--quality", type=float, default=1.0, help="of the tuned stream (default: 1)")
    parser.add_argument("--preset", default="default", help="of tuning (default: default)")
    parser.add_argument("--out", type=Path, required=True, help="a .jpg")
    given = parser.parse_args()
    flags = {"task.name": "cls", "quality": given.quality, "ttft.preset": given.preset}
    compressor = Compressor(load_settings(flags=flags))
    tuned = compressor.compress(given.image).stream
    plain = _plain(given.image, len(tuned))
    jpeg = _jpeg(Image.open(given.image).convert("RGB"), len(tuned))
    decode, original = Decompressor().decompress, Image.open(given.image).convert("RGB")
    shown = [
        _look(compressor, "original", original, given.image.stat().st_size),
        _look(compressor, "JPEG", Image.open(io.BytesIO(jpeg)), len(jpeg)),
        _look(compressor, "lite, untuned", decode(plain), len(plain)),
        _look(compressor, "lite, tuned for cls", decode(tuned), len(tuned)),
    ]
    for each in shown:
        print(json.dumps({"title": each.title, "bytes": each.size, "label": each.label, "p": each.probability}))
    _sheet(shown).save(given.out, quality=88, subsampling=0, optimize=True)
    print(f"{given.out}: {given.out.stat().st_size} bytes", file=sys.stderr)
    return 0


def _plain(image: Path, most: int) -> bytes:
    """The codec's own stream of the highest quality, in sixteenths, that is not larger; the smallest if all are."""
    settings = load_settings(flags={"task.name": "human", "ttft.steps": 0, "adapter.name": "svd-lora"})
    first = Compressor(settings)
    low, high = round(16 * first.codec.qualities[0]), round(16 * first.codec.qualities[-1])

    def at(sixteenths: int) -> bytes:
        made = settings.model_copy(update={"quality": sixteenths / 16})
        return Compressor(made, codec=first.codec).compress(image).stream

    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(at(middle)) <= most else (low, middle - 1)
    return at(low)


def _jpeg(image: Image.Image, most: int) -> bytes:
    """The file of the highest quality that is not larger, or of quality 1."""
    best = b""
    for quality in range(1, 96):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if best and len(buffer.getvalue()) > most:
            break
        best = buffer.getvalue()
    return best


def _look(compressor: Compressor, title: str, image: Image.Image, size: int) -> Shown:
    """What the network of the task takes a picture for."""
    task: Any = compressor.task
    with torch.no_grad():
        scores = task.network.outputs(task.look(load_image(image).x)).softmax(1)[0]
    index = int(scores.argmax())
    return Shown(title, image, size, _name(index), round(float(scores[index]), 3))


def _name(index: int) -> str:
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    return str(info.index_to_description(index)).split(",")[0]


def _sheet(shown: list[Shown]) -> Image.Image:
    """Two by two, each with two lines below."""
    height = round(WIDTH * shown[0].image.height / shown[0].image.width)
    sheet = Image.new("RGB", (2 * WIDTH + GAP, 2 * (height + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for number, each in enumerate(shown):
        x, y = number % 2 * (WIDTH + GAP), number // 2 * (height + CAPTION)
        sheet.paste(each.image.resize((WIDTH, height), Image.Resampling.LANCZOS), (x, y))
        draw.text((x + 6, y + height + 6), f"{each.title}: {each.size:,} bytes", "black", font=font)
        said = f"“{each.label}”, {each.probability:.0%}"
        draw.text((x + 6, y + height + 38), said, "#0a7a3c" if each.label == shown[0].label else "#c02020", font=font)
    return sheet


if __name__ == "__main__":
    sys.exit(main())
