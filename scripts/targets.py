"""How closely files keep to sizes, and what the search for them costs.

    python scripts/targets.py PHOTO... --sizes 0.5,1,1.7 --task cls --steps 10 --crop 256 --out rows.jsonl

Budgets are shares of the untuned file at quality 3. For each photograph and budget one line of JSON: the share of the
budget that the file uses, and the seconds of the processor against those of the same tuning at the quality that was
found (`--no-cost` leaves this out; else one file is tuned before, for what a first call takes). The last line is the
summary. Decoded files are compared with what the compressor says of them. A budget below the least file of a photograph
is `refused`, and no file. `--out` has the lines as well, and a run that was stopped goes on after those that it has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from PIL import Image

from taskodec import Compressor, Decompressor, Result, load_settings
from taskodec.errors import TargetError

SHOWN = ("quality", "lmbda", "chosen", "task_loss_before", "task_loss_after", "psnr")
"""What a line has of a report."""


def middle(path: Path, crop: int | None) -> Image.Image:
    """The middle square of a photograph, of `crop` pixels a side; all of it without."""
    image = Image.open(path).convert("RGB")
    if crop is None:
        return image
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    return image.crop((left, top, left + crop, top + crop))


def seconds(work: Callable[[], Result]) -> tuple[Result, float]:
    """What work gives, and how long the processor worked at it."""
    started = time.process_time()
    return work(), time.process_time() - started


class Trial:
    """Compressors of one task and number of steps, and rows of what they do."""

    def __init__(self, task: str, steps: int, overrides: list[str], *, cost: bool) -> None:
        self.task, self.steps, self.overrides, self.cost = task, steps, overrides, cost
        self.decompressor = Decompressor()
        self.first: Compressor | None = None

    def compressor(self, *more: str) -> Compressor:
        """With further settings; all have one codec and one network, which are loaded once."""
        flags = {"task.name": self.task, "ttft.steps": self.steps}
        settings = load_settings(overrides=[*self.overrides, *more], flags=flags)
        if self.first is None:
            self.first = Compressor(settings)
        return Compressor(settings, task=self.first.task, codec=self.first.codec)

    def usual(self, image: Image.Image) -> int:
        """Bytes of the untuned file at quality 3."""
        if self.first is None and self.cost:
            self.compressor("quality=3").compress(image)
        return len(self.compressor("quality=3", "ttft.steps=0").compress(image).stream)

    def row(self, image: Image.Image, budget: int) -> dict[str, Any]:
        """One photograph at one budget."""
        aimed = self.compressor(f"target.bytes={budget}")
        try:
            result, own = seconds(lambda: aimed.compress(image))
        except TargetError as error:
            return {"budget": budget, "refused": str(error)}
        report = result.report()
        same = np.array_equal(np.asarray(self.decompressor.decompress(result.stream)), np.asarray(result.image))
        row = {
            "budget": budget,
            "bytes": report["bytes"],
            "used": report["bytes"] / budget,
            "decodes": same,
            **{name: report[name] for name in SHOWN},
            "worse_than_untuned": report["task_loss_after"] > report["task_loss_before"],
            "notes": report.get("notes", []),
        }
        if self.cost:
            plain = self.compressor(f"quality={report['quality']}")
            row["cost"] = own / seconds(lambda: plain.compress(image))[1]
        return row


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All rows in one."""
    refused, rows = [row for row in rows if "refused" in row], [row for row in rows if "refused" not in row]
    used = [row["used"] for row in rows]
    costs = [row["cost"] for row in rows if "cost" in row]
    return {
        "files": len(rows),
        "photos": len({row["photo"] for row in rows}),
        "refused": len(refused),
        "within": sum(value <= 1 for value in used),
        "decode": sum(row["decodes"] for row in rows),
        "worse_than_untuned": sum(row["worse_than_untuned"] for row in rows),
        "used_mean": fmean(used),
        "used_least": min(used),
        **({"cost_mean": fmean(costs), "cost_median": median(costs), "cost_most": max(costs)} if costs else {}),
    }


def main() -> None:
    """Measure, as the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--sizes", default="0.5,1,1.7")
    parser.add_argument("--task", default="human")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--no-cost", action="store_true")
    parser.add_argument("--out", type=Path, help="file of lines that a stopped run goes on from")
    given = parser.parse_args()
    trial = Trial(given.task, given.steps, given.overrides, cost=not given.no_cost)
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out and given.out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["photo"], row["share"]) for row in rows}
    shares = [float(share) for share in given.sizes.split(",")]
    for photo in given.photos:
        if not (left := [share for share in shares if (photo.name, share) not in done]):
            continue
        image = middle(photo, given.crop)
        usual = trial.usual(image)
        for share in left:
            rows.append({"photo": photo.name, "share": share, **trial.row(image, int(share * usual))})
            print(line := json.dumps(rows[-1]), flush=True)
            if given.out:
                with given.out.open("a", encoding="utf-8") as file:
                    print(line, file=file)
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
