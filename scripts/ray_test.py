"""Kill workers and drivers of runs on a local Ray cluster, go on, and compare with one process that nobody disturbed.

    python scripts/ray_test.py --count 20 --pictures 200 --seed 0
    python scripts/ray_test.py --count 0 --memory 10000

The pictures are crops of docs/images/kodim23.png. Each time `compress --engine ray` runs with two workers; after a
random number of reports one of them is killed (SIGKILL), after some more the driver. What is there then must be what
one process has made. Then the same call goes on with --skip-existing, loses a worker again, and must end with the
folder of the one process, nothing besides. --memory measures memory (RSS) of driver and workers over so many small
pictures. The exit code is 1 if anything differs; scripts/ray_speed.py is for seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "kodim23.png"
TASKODEC = [sys.executable, "-m", "taskodec"]
RAY = ["--engine", "ray", "--set", "ray.workers=2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "RAY_USAGE_STATS_ENABLED": "0"}


def make_crops(folder: Path, count: int, side: int, rng: random.Random, smallest: int | None = None) -> None:
    """Small crops of the picture, of sides up to `side` and from half of it, or `smallest`; in folders of a hundred."""
    with Image.open(PICTURE) as picture:
        for number in range(count):
            place = folder / f"{number // 100:03}"
            place.mkdir(parents=True, exist_ok=True)
            width, height = (rng.randint(smallest or max(16, side // 2), side) for _ in range(2))
            left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
            picture.crop((left, top, left + width, top + height)).save(place / f"{number:05}.png")


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process has started, and those that these have, by their names."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found, parents = {}, {pid}
    while parents:
        new = {int(row[0]): row[2] for row in rows if int(row[1]) in parents and int(row[0]) not in found}
        found |= new
        parents = set(new)
    return found


def workers(pid: int) -> list[int]:
    """The processes of a driver's actors."""
    return [child for child, name in descendants(pid).items() if name.startswith("ray::Actor")]


def rss(pid: int) -> float:
    """Memory of a process in MiB, without what it shares through files."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in text.splitlines() if line.startswith("RssAnon")).split()[1]) / 1024


def watched(call: list[str], at: dict[int, Callable[[int], None]]) -> tuple[int, list[dict[str, object]]]:
    """Run a call and do something to its process after so many reports; exit code and reports."""
    reports: list[dict[str, object]] = []
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                reports.append(json.loads(line))
                at.get(len(reports), int)(process.pid)
    return process.returncode, reports


def kill_worker(rng: random.Random, killed: list[int]) -> Callable[[int], None]:
    """What kills one of a driver's workers."""

    def kill(pid: int) -> None:
        if found := workers(pid):
            killed.append(rng.choice(found))
            os.kill(killed[-1], signal.SIGKILL)

    return kill


def await_end(pids: set[int]) -> None:
    """Wait until what a killed driver has started is gone, up to a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.2)


def disturbed(call: list[str], out: Path, undisturbed: dict[str, bytes], rng: random.Random) -> tuple[list[str], str]:
    """Kill a worker and the driver, go on without one worker more; what is wrong, and what was done."""
    count, killed, left = len(undisturbed), list[int](), set[int]()

    def kill_driver(pid: int) -> None:
        left.update(descendants(pid))
        os.kill(pid, signal.SIGKILL)

    first = rng.randint(1, max(1, count // 2))
    second = rng.randint(first + 1, max(first + 1, count - 1))
    watched(call, {first: kill_worker(rng, killed), second: kill_driver})
    await_end(left)
    there = {name: data for name, data in content(out).items() if not name.rpartition("/")[2].startswith(".")}
    faults = [f"{name} is there and is not what it should be" for name in there if undisturbed.get(name) != there[name]]
    third = rng.randint(len(there) + 1, count) if len(there) < count else count
    code, reports = watched([*call, "--skip-existing"], {third: kill_worker(rng, killed)})
    skipped = sum("skipped" in report for report in reports)
    faults += [f"going on ended with {code}"] if code else []
    faults += [f"going on skipped {skipped} files of {len(there)}"] if skipped != len(there) else []
    faults += ["the folder is not that of the undisturbed run"] if content(out) != undisturbed else []
    done = f"worker killed at {first}, driver at {second} ({len(there)} files there), {len(killed)} workers in all"
    return faults, done


def measure_memory(place: Path, count: int, rng: random.Random) -> bool:
    """Memory of driver and workers early and at the end; whether it is flat, within a twentieth and 16 MiB."""
    make_crops(place / "small", count, 32, rng)
    seen: dict[int, tuple[float, float]] = {}

    def look(pid: int) -> None:
        done = moments.pop(0)
        seen[done] = (rss(pid), max(rss(worker) for worker in workers(pid)))
        print(f"memory after {done} pictures: driver {seen[done][0]:.0f}, worker {seen[done][1]:.0f} MiB", flush=True)

    moments = [count // 10 * tenth for tenth in range(1, 10)] + [count - 1]
    call = [
        *TASKODEC,
        "compress",
        str(place / "small"),
        "-r",
        "-o",
        str(place / "made"),
        "--steps",
        "0",
        "--json",
        *RAY,
    ]
    code, reports = watched(call, dict.fromkeys(moments, look))
    first, last = seen[min(seen)], seen[max(seen)]
    flat = all(after <= 1.05 * before + 16 for before, after in zip(first, last, strict=True))
    print(f"{len(reports)} reports, exit code {code}, memory {'flat' if flat else 'NOT flat'}")
    return flat and code == 0 and len(reports) == count


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="times that a worker and the driver are killed (20)")
    parser.add_argument("--pictures", type=int, default=200, help="pictures of a run (200)")
    parser.add_argument("--side", type=int, default=96, help="largest side of them, in pixels (96)")
    parser.add_argument("--steps", type=int, default=0, help="of tuning (0)")
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="measure memory over N small pictures")
    parser.add_argument("--seed", type=int, default=0, help="of crops and moments (0)")
    chosen = parser.parse_args()
    rng, wrong = random.Random(chosen.seed), list[str]()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_crops(place / "in", chosen.pictures, chosen.side, rng)
        call = [*TASKODEC, "compress", str(place / "in"), "-r", "--steps", str(chosen.steps), "--json", "-o"]
        if chosen.count:
            watched([*call, str(place / "alone")], {})
            undisturbed = content(place / "alone")
            print(f"one process: {len(undisturbed)} files, load {os.getloadavg()[0]:.1f}", flush=True)
        for number in range(chosen.count):
            out = place / f"killed-{number}"
            faults, done = disturbed([*call, str(out), *RAY], out, undisturbed, rng)
            wrong += [f"time {number + 1}: {fault}" for fault in faults]
            print(f"time {number + 1}: {done}: {faults or 'fine'}, load {os.getloadavg()[0]:.1f}", flush=True)
        if chosen.memory:
            wrong += (
                [] if measure_memory(place, chosen.memory, rng) else ["memory is not flat, or pictures are missing"]
            )
    print("\n".join(wrong) or "all equal to the undisturbed run")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
