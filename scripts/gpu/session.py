"""All that a borrowed GPU does, bounded by the clock: tests, training, weights. Runs in a pack of `pack.py`.

    python PACK/project/scripts/gpu/session.py OUT --seconds 660

An environment is made from the pack's wheels with no index, on top of what the machine has. One minute goes to the
tests of `tests/gpu`, whose output is OUT/tests.txt; training lasts until `--reserve` seconds before the end, with a
checkpoint each minute, then `finish`, validation, and the weights: OUT/run is a run folder as `taskodec train` writes
it, and goes on anywhere with --resume. OUT/session.json says what took how long, whatever happened.

`--device cpu --steps 20` rehearses it where there is no GPU: what was not rehearsed will fail there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PACK = Path(__file__).resolve().parents[3]
LOOK = 10
"""Seconds of training after which its speed is said."""


class Session:
    """The clock, what has been done by it, and the report of that."""

    def __init__(self, out: Path, seconds: float, report: str = "session.json") -> None:
        self.report = out / report
        self.out, self.begun, self.seconds = out, time.monotonic(), seconds
        self.done: dict[str, object] = {}

    def left(self) -> float:
        """Seconds until the end."""
        return self.seconds - (time.monotonic() - self.begun)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the session; how long it took is in the report, and the report on disk."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.done[f"{name}_seconds"] = round(time.monotonic() - start, 1)
            self.say(f"{name}: {self.done[f'{name}_seconds']} s, {self.left():.0f} s are left")

    def say(self, text: str) -> None:
        """A line on standard output, and the report as it stands."""
        print(text, flush=True)
        self.report.write_text(json.dumps(self.done, indent=1) + "\n", encoding="utf-8")

    def run(self, command: Sequence[str], log: str, most: float, **environment: str) -> int:
        """A command with its output in a file; its exit code, or 124 for one that was ended after `most` seconds."""
        with (self.out / log).open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=PACK / "project"
            )
            try:
                return process.wait(max(1.0, most))
            except subprocess.TimeoutExpired:
                process.terminate()  # `taskodec train` writes its checkpoint then
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                return 124


def main() -> None:
    """Do it all; the exit code is that of the training."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out.resolve()
    session = Session(out, args.seconds)
    with session.part("install"):
        python = make_environment(out / "venv", args.machine_packages)
    with session.part("tests"):
        code = session.run(
            [str(python), "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", "tests/gpu"],
            "tests.txt",
            args.tests,
            TASKODEC_TEST_DEVICE=args.device,
        )
        session.done["tests_exit_code"] = code
    with session.part("training"):
        code = train(session, python, args)
        session.done["training_exit_code"] = code
    session.say((out / "train.txt").read_text(encoding="utf-8", errors="replace")[-600:])
    sys.exit(code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder for results")
    parser.add_argument("--seconds", type=float, default=660, help="that all of it may take")
    parser.add_argument("--reserve", type=float, default=60, help="seconds for finish, validation and weights")
    parser.add_argument("--tests", type=float, default=90, help="seconds that the tests may take")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--steps", type=int, help="train so many steps, not by the clock: for rehearsals")
    parser.add_argument("--recipe", default="taskodec:train/lite-gpu", help="configuration of the training")
    parser.add_argument("--set", action="append", default=[], help="settings for the training; repeatable")
    parser.add_argument("--init", type=Path, help="weights to start from")
    parser.add_argument("--machine-packages", type=Path, help="folder of what the machine has, if its Python lacks it")
    return parser.parse_args()


def make_environment(folder: Path, machine: Path | None) -> Path:
    """The Python of an environment with the pack's wheels, over the packages that this one has."""
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(folder)], check=True)
        if machine is not None:
            version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
            site = folder / "lib" / version / "site-packages"
            (site / "machine.pth").write_text(f"{machine.resolve()}\n", encoding="utf-8")
    python = folder / "bin" / "python"
    wheels = sorted(str(path) for path in (PACK / "wheels").glob("*.whl"))
    pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, *wheels], check=True)
    return python


def train(session: Session, python: Path, args: argparse.Namespace) -> int:
    """Training to the end of the clock, with its speed said after ten seconds."""
    run = session.out / "run"
    budget = session.left() - args.reserve
    if args.steps is None and budget < 60:
        session.say(f"{budget:.0f} s are left for training: nothing is trained")
        return 1
    command = [str(python), "-m", "taskodec", "train", "--config", args.recipe, "-o", str(run), "--quiet"]
    command += ["--data", str(PACK / "train"), "--validation", str(PACK / "validation")]
    command += ["--time-budget", f"{budget:.0f}"] if args.steps is None else ["--steps", str(args.steps)]
    command += ["--init", str(args.init.resolve())] if args.init else []
    once = [] if args.steps is None else [f"train.validate_every={args.steps}"]
    for text in (f"device={args.device}", *once, *args.set):
        command += ["--set", text]
    watcher = subprocess.Popen([str(python), __file__, "--watch", str(run)], stdout=sys.stdout)
    try:
        return session.run(command, "train.txt", session.left() - 5)
    finally:
        watcher.terminate()


def watch(run: Path) -> None:
    """Say how fast a run is, once: pixels a second, and what a minute of that comes to."""
    while True:
        time.sleep(1)
        try:
            line = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
            settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))["train"]
        except (OSError, IndexError):
            continue
        entry = json.loads(line)
        if entry["seconds"] >= LOOK:
            pixels = entry["step"] * settings["batch"] * settings["stages"][0]["crop"] ** 2
            rate = pixels / entry["seconds"]
            print(f"{entry['step']} steps in {entry['seconds']} s: {rate / 1e6:.1f} Mpixel/s,", end=" ")
            print(f"{60 * rate / 1e9:.2f} gigapixel and {60 * entry['step'] / entry['seconds']:.0f} steps a minute")
            return


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watch"]:
        watch(Path(sys.argv[2]))
    else:
        main()
