"""How long `taskodec --help` and `import taskodec` take: medians over new processes.

    python scripts/startup.py --runs 11

`--help` counts from the start of the process to its end, the import alone within an interpreter that runs already.
CPU seconds are those of the process; on a busy machine they say more than seconds by the clock (0 on Windows, which
does not tell them). The exit code is 1 if a median by the clock is above its bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

COMMAND = "from taskodec.cli.main import main; main(['--help'])"
IMPORT = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import taskodec
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
BOUNDS = {"taskodec --help": 0.3, "import taskodec": 0.05}
"""Seconds by the clock."""


def timed_help() -> tuple[float, float]:
    """Seconds by the clock and of the CPU for the command in a new process, the interpreter's start included."""
    wall, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", COMMAND], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - wall, cpu


def timed_import() -> tuple[float, float]:
    """Seconds by the clock and of the CPU for the import in a new process."""
    done = subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True)
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu


def main() -> int:
    """Measure in turns, after one of each that fills the caches of the disk; the exit code."""
    parser = argparse.ArgumentParser(description="Time the start of the command line and the import of the package.")
    parser.add_argument("--runs", type=int, default=11, help="processes of each kind (default: 11)")
    runs = parser.parse_args().runs
    kinds = {"taskodec --help": timed_help, "import taskodec": timed_import}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for turn in range(runs + 1):
        for name, measure in kinds.items():
            seconds = measure()
            if turn:
                found[name].append(seconds)
    slow = False
    for name, pairs in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
        fine = wall <= BOUNDS[name]
        slow |= not fine
        verdict = "" if fine else f"  above {BOUNDS[name]:g} s"
        print(f"{name}: {wall:.3f} s, {cpu:.3f} s of the CPU, medians of {runs}{verdict}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
