"""What Ray costs, and what two workers gain: the same pictures by one process and by Ray's workers, in turns.

    python scripts/ray_speed.py --workers 1 --side 384     # what Ray adds to a picture of about 0.1 s
    python scripts/ray_speed.py --workers 2 --side 384     # what two workers gain

The pictures are crops of docs/images/kodim23.png, untuned unless --steps says so. Both compute with one thread, and a
worker has one processor. In each round both have a turn, in random order. Seconds are those from the first result to
the last, so that they are without what starts once: Python, PyTorch, the network, and the cluster. What that took is
printed apart. The exit code is 1 if any file differs. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ray_test import ENVIRONMENT, TASKODEC, content, make_crops


@dataclass(frozen=True)
class Turn:
    """Seconds until the first result, and from there to the last, for each picture."""

    start: float
    each: float


def timed(call: list[str]) -> Turn:
    """Run a call to its end, and look at when its reports come."""
    begun = time.monotonic()
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        moments = [time.monotonic() for line in process.stdout if line.startswith("{")]
    if process.returncode or len(moments) < 2:
        sys.exit(f"{' '.join(call)} ended with {process.returncode} after {len(moments)} results")
    return Turn(moments[0] - begun, (moments[-1] - moments[0]) / (len(moments) - 1))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--pictures", type=int, default=80, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=384, help="of each, in pixels (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=0, help="of tuning (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of crops and turns (default: %(default)s)")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    ray = ["--engine", "ray", "--set", f"ray.workers={chosen.workers}"]
    turns: dict[str, list[Turn]] = {"here": [], "ray": []}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_crops(place / "in", chosen.pictures, chosen.side, rng, smallest=chosen.side)
        call = [*TASKODEC, "compress", str(place / "in"), "-r", "--steps", str(chosen.steps), "--json", "--quiet", "-o"]
        for number in range(chosen.rounds):
            for who in rng.sample(sorted(turns), 2):
                shutil.rmtree(place / who, ignore_errors=True)
                turns[who].append(timed([*call, str(place / who), *(ray if who == "ray" else [])]))
            if content(place / "here") != content(place / "ray"):
                sys.exit("the files differ")
            own, there = turns["here"][-1].each, turns["ray"][-1].each
            load = os.getloadavg()[0]
            print(
                f"round {number + 1}: here {own:.4f} s, Ray {there:.4f} s, {there / own:.3f}; load {load:.1f}",
                flush=True,
            )
    show(turns["here"], turns["ray"], chosen.workers)


def show(here: list[Turn], ray: list[Turn], workers: int) -> None:
    """The medians."""
    ratio = statistics.median(there.each / own.each for own, there in zip(here, ray, strict=True))
    own, there = (statistics.median(turn.each for turn in turns) for turns in (here, ray))
    print(f"a picture: one process {own:.4f} s, Ray with {workers} workers {there:.4f} s, medians of {len(here)}")
    print(f"Ray by one process, median of the rounds: {ratio:.3f}, so {1 / ratio:.2f} times as fast")
    own, there = (statistics.median(turn.start for turn in turns) for turns in (here, ray))
    print(f"until the first result: one process {own:.1f} s, Ray {there:.1f} s, cluster and workers with it")


if __name__ == "__main__":
    main()
