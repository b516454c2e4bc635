"""Hostile text: labels, rows and figures, as changes of valid ones and built from nothing."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["TEXTS", "bad_bytes", "changed", "to_json"]

Make = Callable[[random.Random], bytes]

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]

VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2, 2**31 - 1, 2**31, 2**32, 2**63, -(2**63), 10**30, 10**400),
    *(0.5, -0.0, 1e308, -1e308, 1e-320, 1e15, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        "x",
        "0",
        "1e9999",
        "nan",
        "\x1b[31mred\x1b[0m",
        "\u202eright",
        "\ud800",
        "a\nb",
        "[red]",
        "$\\frac{$",
        "../..",
    ),
    *("x" * 20_000, [], {}, [[]], [{}], {"": {}}, [0] * 1000, {"a": 1}, DEEP),
)
WORDS = (
    "NaN",
    "-Infinity",
    "1e9999",
    "9" * 5000,
    "-0",
    "01",
    "tru",
    "[" * 5000,
    '{"a":' * 3000,
    "1" * 400,
    '"\\ud800"',
)


def changed(rng: random.Random, tree: Any, times: int | None = None) -> Any:
    """A copy with some places changed: another value, nothing, twice, a number scaled, or something wrapped around."""
    root = [copy.deepcopy(tree)]
    for _ in range(times if times is not None else rng.choice((1, 1, 1, 2, 3, 8))):
        places = list(_places(root))
        holder, key = rng.choice(places)
        value = holder[key]
        step = rng.random()
        if step < 0.5:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif step < 0.6 and holder is not root:
            del holder[key]
        elif step < 0.7 and isinstance(holder, list) and holder is not root:
            holder.extend([copy.deepcopy(value)] * rng.choice((1, 2, 50)))
        elif step < 0.85 and isinstance(value, int | float) and not isinstance(value, bool):
            scaled = float(value) if abs(value) < 1e300 else 1.0
            holder[key] = scaled * rng.choice((-1, 0.5, 2, 1000, 1e9, 1e300)) + rng.choice((0, 1, -1))
        elif step < 0.92:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name]) if len(places) < 500 else value
        elif isinstance(holder, dict):
            holder[rng.choice(("x", "", "\x1b[2J", key.upper() if isinstance(key, str) else "y"))] = value
        else:
            holder[key] = [value] * rng.choice((1, 3))
    return root[0]


def _places(holder: Any) -> Any:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list) and holder[key] is not DEEP:
            yield from _places(holder[key])


def to_json(rng: random.Random, tree: Any) -> bytes:
    """The tree as JSON, or as nearly JSON."""
    text = json.dumps(tree)
    if rng.random() < 0.15:  # a word where some value was
        parts = text.split(":")
        parts.insert(rng.randrange(1, len(parts) + 1), f'{rng.choice(WORDS)},"y"')
        text = ":".join(parts)
    if rng.random() < 0.05:
        text = text.replace("{", '{"id": 1, "id": 2, ', 1)
    return bad_bytes(rng, text.encode())


def bad_bytes(rng: random.Random, data: bytes) -> bytes:
    """Mostly the same; cut off, flipped, put together twice, or in another encoding."""
    step = rng.random()
    if step < 0.92 or not data:
        return data
    if step < 0.94:
        return data[: rng.randrange(len(data))]
    if step < 0.97:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 4, 64))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if step < 0.98:
        return data + data
    return rng.choice(
        (b"", b"\0", b"\xef\xbb\xbf" + data, data.decode("latin1").encode("utf-16"), b"\xff\xfe", b"\n" * 10**5)
    )


def coco(rng: random.Random) -> bytes:
    """COCO's JSON, with all forms of masks."""
    height, width = rng.choice(((6, 8), (1, 1), (48, 64), (480, 640)))
    images = [{"id": i, "file_name": f"val/{i}.jpg", "height": height, "width": width} for i in range(3)]
    if rng.random() < 0.05:
        images[0] |= {"height": rng.choice((10**5, 2**17)), "width": rng.choice((10**5, 2**11))}
    found = [
        {
            "id": number,
            "image_id": rng.randrange(3),
            "category_id": rng.randrange(1, 4),
            "iscrowd": rng.choice((0, 0, 1)),
            "bbox": [rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 9), rng.uniform(0, 9)],
            "area": rng.uniform(0, 99),
            "segmentation": segmentation(rng, height, width),
        }
        for number in range(rng.choice((1, 1, 2, 30)))
    ]
    content = {"images": images, "annotations": found, "categories": [{"id": i, "name": "x"} for i in range(1, 4)]}
    return to_json(rng, changed(rng, content, rng.choice((0, 1, 1, 2, 5))))


def segmentation(rng: random.Random, height: int, width: int) -> Any:
    """A mask, or nearly one."""
    if rng.random() < 0.6:
        whole: Any = [height // 2 * width, 0, height * width - height // 2 * width]
        return rng.choice(([[0, 0, width, 0, width / 2, height]], {"size": [height, width], "counts": whole}))
    kind = rng.random()
    if kind < 0.4:
        scale = rng.choice((1, 1, 1, 3, 1e3, 1e6, 1e9, 1e12, 1e300))
        count = rng.choice((3, 4, 5, 9, 9, 500)) * 2 - rng.choice((0, 0, 0, 1))
        return [
            [rng.uniform(-0.2, 1.2) * max(height, width) * scale for _ in range(count)]
            for _ in range(rng.choice((1, 1, 3)))
        ]
    size = [height, width]
    if kind < 0.7:
        counts, left = [], height * width
        while left > 0 and len(counts) < 1000:
            counts.append(rng.randrange(0, left + 1) if rng.random() < 0.9 else left)
            left -= counts[-1]
        if rng.random() < 0.4:
            counts[rng.randrange(len(counts))] += rng.choice((1, -1, 2**31, 2**32, -(2**31), 2**63, -(10**9)))
        return {"size": size, "counts": [*counts, left] if rng.random() < 0.9 else counts}
    letters = "".join(chr(rng.randrange(48, 112)) for _ in range(rng.choice((1, 3, 8, 60, 2000))))
    known = {(6, 8): "`1", (1, 1): "1", (48, 64): "`P3", (480, 640): "P``9"}
    return {"size": size, "counts": known[height, width] if rng.random() < 0.3 else letters}


def class_list(rng: random.Random) -> bytes:
    """Class labels as text."""
    strange = rng.choice((0.0, 0.0, 0.05, 0.5))
    between = rng.choice(("\t", " ", "\t\t", ""))
    rows = []
    for i in range(rng.choice((1, 5, 40))):
        name, index = f"{i}.png", rng.choice((str(rng.randrange(1000)), "n01440764"))
        if rng.random() < strange:
            name = rng.choice((name, f"{i}", "", "\x1b[2J", "a b"))
            index = rng.choice((index, "-1", "²", "9" * 30, "", "1.5", "n99999999"))
        rows.append(f"{name}{between if rng.random() < 0.9 else ','}{index}")
    return bad_bytes(rng, rng.choice(("\n", "\n", "\r\n", "\x85", "\u2028")).join(rows).encode())


ROW: dict[str, Any] = {
    **{"image": "a.png", "digest": "0" * 16, "method": "plain", "quality": 1.0, "settings": "1" * 16},
    **{
        "width": 8,
        "height": 8,
        "task_loss": 0.5,
        "record": {"task_loss": 0.5},
        "bytes": 9,
        "bpp": 0.4,
        "task": "human",
    },
}


def rows(rng: random.Random) -> bytes:
    """A file of measured rows."""
    lines = [json.dumps(changed(rng, ROW, rng.choice((0, 0, 1, 2)))) for _ in range(rng.choice((1, 3, 9)))]
    return bad_bytes(rng, "".join(f"{line}\n" for line in lines).encode())


CURVE = {
    "name": "x",
    "results": {"bpp": [0.1, 0.2, 0.3], "psnr-rgb": [28.0, 30.0, 31.0], "ms-ssim-rgb": [0.9, 0.95, 0.97]},
}
ESTIMATE = {"value": -3.0, "low": -4.0, "high": -2.0}
COMPARISON = {
    **{"method": "ttft", "anchor": "plain", "metric": "top1"},
    **{"rate_estimate": ESTIMATE, "value_estimate": ESTIMATE},
}


def curve(rng: random.Random) -> bytes:
    """A published curve, as CompressAI writes it."""
    return to_json(rng, changed(rng, CURVE))


def summary(rng: random.Random) -> bytes:
    """What `taskodec paper` reads of an evaluation."""
    return to_json(rng, changed(rng, {"images": 3, "comparisons": [COMPARISON]}))


TEXTS: dict[str, tuple[str, Make]] = {
    "labels of objects": ("labels.json", coco),
    "labels of masks": ("labels.json", coco),
    "labels of classes": ("labels.tsv", class_list),
    "rows": ("rows.jsonl", rows),
    "curve": ("curve.json", curve),
    "summary": ("cls-closed/summary.json", summary),
}
"""By kind, the file that is read and what makes it."""
