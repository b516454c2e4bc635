"""Kill runs over a folder at random moments, go on with --skip-existing, and compare with a run that nobody disturbed.

    python scripts/kill_test.py --count 50 --seed 0

The folder has crops of docs/images/kodim23.png. The commands take turns: compress, decompress, taskodec-encode and
taskodec-decode, the last two with a codec that is exported first. Each run is killed (SIGKILL) after a random number of
its reports and a random part of the time that a file takes. What is there then must be what the undisturbed run has,
file by file; once the same call with --skip-existing is through, the folders must be equal, with nothing besides.
The exit code is 1 if any is not.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "kodim23.png"
TASKODEC = [sys.executable, "-m", "taskodec"]
ENCODE = [sys.executable, "-c", "from taskodec.runtime.cli import encode; encode()"]
DECODE = [sys.executable, "-c", "from taskodec.runtime.cli import main; main()"]


@dataclass(frozen=True)
class Command:
    """A call without its output, what it makes of the folder, and the seconds that each file takes."""

    name: str
    call: list[str]
    undisturbed: dict[str, bytes]
    seconds: float


def make_crops(folder: Path, count: int, rng: random.Random) -> None:
    """Small crops of the picture, of several sizes."""
    folder.mkdir()
    with Image.open(PICTURE) as picture:
        for number in range(count):
            width, height = 32 * rng.randint(1, 6), 32 * rng.randint(1, 6)
            left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
            picture.crop((left, top, left + width, top + height)).save(folder / f"{number:02}.png")


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def undisturbed(name: str, call: list[str], out: Path) -> Command:
    """The command, after a run of it that nobody disturbs."""
    process = subprocess.Popen([*call, "-o", f"{out}/", "--json"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    moments = [time.monotonic() for _ in process.stdout]
    if process.wait():
        raise SystemExit(f"{name} failed by itself")
    return Command(name, call, content(out), (moments[-1] - moments[0]) / max(1, len(moments) - 1))


def kill_once(command: Command, out: Path, rng: random.Random) -> int:
    """Run the command and kill it; how many files were there."""
    process = subprocess.Popen([*command.call, "-o", f"{out}/", "--json"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(rng.randrange(len(command.undisturbed))):
        process.stdout.readline()
    time.sleep(rng.random() * command.seconds)
    process.kill()
    process.communicate()
    return sum(not name.startswith(".") for name in content(out))


def faults(command: Command, out: Path, there: int) -> list[str]:
    """What is wrong after the kill, which left so many files, or after going on."""
    found = [
        f"{name} is there and is not what it should be"
        for name, data in content(out).items()
        if not name.startswith(".") and command.undisturbed.get(name) != data
    ]
    call = [*command.call, "-o", f"{out}/", "--skip-existing", "--json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        found.append(f"going on ended with {done.returncode}: {done.stderr.strip()}")
    if (skipped := done.stdout.count('"skipped": true')) != there:
        found.append(f"going on skipped {skipped} files of {there}")
    if content(out) != command.undisturbed:
        found.append("the folder is not that of the undisturbed run")
    return found


def commands(folder: Path, crops: int, steps: int, rng: random.Random) -> list[Command]:
    """All four, each on what the one before it makes."""
    make_crops(folder / "in", crops, rng)
    export = [*TASKODEC, "export", "--codec", "lite", "--plain", "--encoder", "--quiet", "-o", str(folder / "lite")]
    subprocess.run(export, check=True)
    calls = {
        "compress": ([*TASKODEC, "compress", str(folder / "in"), "--steps", str(steps)], "streams"),
        "decompress": ([*TASKODEC, "decompress", str(folder / "streams")], "pictures"),
        "taskodec-encode": ([*ENCODE, str(folder / "lite"), str(folder / "in")], "encoded"),
        "taskodec-decode": ([*DECODE, str(folder / "lite"), str(folder / "encoded")], "decoded"),
    }
    return [undisturbed(name, call, folder / out) for name, (call, out) in calls.items()]


def main() -> None:
    """All kills, and what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="kills (50)")
    parser.add_argument("--seed", type=int, default=0, help="of crops and moments (0)")
    parser.add_argument("--crops", type=int, default=12, help="pictures in the folder (12)")
    parser.add_argument("--steps", type=int, default=2, help="of tuning, for compress (2)")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    wrong, kept = [], Counter[int]()
    with tempfile.TemporaryDirectory() as place:
        ready = commands(Path(place), chosen.crops, chosen.steps, rng)
        for number in range(chosen.count):
            command, out = ready[number % len(ready)], Path(place) / f"killed-{number}"
            count = kill_once(command, out, rng)
            kept[count] += 1
            found = faults(command, out, count)
            wrong += [f"kill {number + 1}, {command.name}: {fault}" for fault in found]
            print(
                f"kill {number + 1}, {command.name}: {count} of {chosen.crops} files there, {found or 'fine'}",
                flush=True,
            )
    print("kills by the files that were there:", dict(sorted(kept.items())))
    print("\n".join(wrong) or f"{chosen.count} kills, all folders equal to undisturbed ones")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
