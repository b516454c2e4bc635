"""Read files that strangers may have made, thousands of them, made at random: nothing may crash, hang or eat memory.

    python scripts/hostile.py --count 10000 --seed 0
    python scripts/hostile.py --kind settings --count 1000
    python scripts/hostile.py --case 4711            # one of them, here, with its traceback

Each file is a valid one changed in some places, or built from nothing. It is read in a process of its own pool, under
limits: 5 seconds of computing, and 1 GiB more memory than before. What may happen is that a reader takes the file, or
that it raises one of taskodec's own errors. Anything else is counted, named, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

SECONDS, MEMORY, PATIENCE = 5, 2**30, 120
"""Of computing and of memory for each; and how long to wait for a process that does not compute."""

WEIGHTS = {
    **{"labels of objects": 8, "labels of masks": 20, "labels of classes": 4, "label pictures": 5},
    **{"settings": 20, "variants": 6, "adapters": 12, "exported": 8, "weights": 6, "training": 3, "plugins": 4},
    **{"rows": 3, "curve": 3, "summary": 3},
}
"""How often each kind comes."""

BAD = ("untyped", "crash", "time", "memory")


@dataclass(frozen=True)
class Outcome:
    """What became of a case; `detail` says more of a bad one."""

    number: int
    kind: str
    result: str
    detail: str = ""
    seconds: float = 0.0


class Cases:
    """Files by number, the same for the same seed."""

    def __init__(self, seeds: Path, seed: int, kinds: list[str]) -> None:
        from hostile_files import Seeds

        self.seeds, self.seed, self.kinds = Seeds(seeds), seed, kinds

    def write(self, number: int, folder: Path) -> str:
        """Write the files of a case; returns its kind."""
        from hostile_files import BINARIES
        from hostile_plugins import plugin
        from hostile_text import TEXTS
        from hostile_yaml import settings, variants

        rng = random.Random(f"{self.seed} {number}")
        kind = rng.choices(self.kinds, [WEIGHTS[kind] for kind in self.kinds])[0]
        if kind in BINARIES:
            files = BINARIES[kind](rng, self.seeds)
        elif kind in ("settings", "variants"):
            files = {f"{kind}.yaml": settings(rng) if kind == "settings" else variants(rng)}
        elif kind == "plugins":
            files = {"strange.py": plugin(rng)}
        else:
            name, make = TEXTS[kind]
            files = {name: make(rng)}
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return kind


def work(connection: Connection, seeds: Path, seed: int, kinds: list[str]) -> None:
    """A process of the pool: reads numbers, and answers with outcomes."""
    from hostile_readers import Readers

    _quiet()
    cases, readers = Cases(seeds, seed, kinds), Readers(seeds)
    base = _limit_memory()
    while (number := connection.recv()) is not None:
        folder = Path(tempfile.mkdtemp(prefix="case_", dir=seeds.parent))
        kind = cases.write(number, folder)  # a fault of its own ends the process, which counts as a crash
        connection.send(kind)
        result, detail, seconds = _tried(readers.by_kind[kind], folder)
        grown = _peak() - base
        if grown > MEMORY:
            result, detail = "memory", f"{grown / 2**20:.0f} MiB more than before"
        shutil.rmtree(folder, ignore_errors=True)
        connection.send(Outcome(number, kind, result, detail, seconds))
        if result == "memory":  # what it took stays in the peak
            return


def _tried(read: Any, folder: Path) -> tuple[str, str, float]:
    from taskodec.errors import TaskodecError

    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # computing alone counts, and its signal ends C code too
    try:
        read(folder)
        return "accepted", "", time.process_time() - started
    except TaskodecError as error:
        str(error)
        return "refused", "", time.process_time() - started
    except MemoryError:
        return "memory", traceback.format_exc(limit=-3), time.process_time() - started
    except BaseException:
        return "untyped", traceback.format_exc(limit=-4), time.process_time() - started
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _quiet() -> None:
    """No warnings, and no output of readers or of the libraries below them."""
    warnings.simplefilter("ignore")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_memory() -> int:
    """Set the limit, so that what wants far more fails before the machine does; returns what is in use."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        size = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return _peak()


def _peak() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used


class Worker:
    """A process of the pool, begun again when it dies."""

    def __init__(self, *about: Any) -> None:
        self.about = about
        self.number: int | None = None
        self.kind, self.since = "?", 0.0
        self._start()

    def _start(self) -> None:
        self.connection, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=work, args=(other, *self.about), daemon=True)
        self.process.start()
        other.close()

    def give(self, number: int) -> None:
        """A case to read."""
        self.number, self.kind, self.since = number, "?", time.monotonic()
        self.connection.send(number)

    def take(self) -> Outcome | None:
        """Its outcome, or None if there is none yet."""
        assert self.number is not None
        try:
            if not self.connection.poll():
                return self._late()
            told = self.connection.recv()
        except (EOFError, ConnectionError):
            return self._dead()
        if isinstance(told, str):
            self.kind = told
            return None
        if told.result == "memory":
            self.process.join()
            self._start()
        self.number = None
        return told  # type: ignore[no-any-return]

    def _dead(self) -> Outcome:
        self.process.join()
        code, number = self.process.exitcode, self.number
        result = "time" if code == -signal.SIGPROF else "crash"
        self.number = None
        self._start()
        assert number is not None
        return Outcome(number, self.kind, result, f"the process ended with {code}", float(SECONDS))

    def _late(self) -> Outcome | None:
        if time.monotonic() - self.since < PATIENCE:
            return None
        self.process.kill()
        self.process.join()
        assert self.number is not None
        outcome = Outcome(self.number, self.kind, "time", f"no answer within {PATIENCE} s", float(PATIENCE))
        self.number = None
        self._start()
        return outcome


def outcomes(count: int, seed: int, kinds: list[str], processes: int, seeds: Path) -> Iterator[Outcome]:
    """All cases, as they are done."""
    workers = [Worker(seeds, seed, kinds) for _ in range(min(processes, count))]
    waiting = iter(range(count))
    done = 0
    for worker in workers:
        worker.give(next(waiting))
    while done < count:
        busy = [worker for worker in workers if worker.number is not None]
        wait([worker.connection for worker in busy], timeout=5)
        for worker in busy:
            outcome = worker.take()
            if outcome is not None:
                done += 1
                yield outcome
                if (number := next(waiting, None)) is not None:
                    worker.give(number)
    for worker in workers:
        worker.process.terminate()


def main() -> None:
    """Print what went wrong, and the counts; exit code 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000, help="files to make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=WEIGHTS, help="only this kind; repeatable")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--case", type=int, help="only this one, in this process; it is left where it is printed")
    chosen = parser.parse_args()
    kinds = chosen.kind or list(WEIGHTS)
    with tempfile.TemporaryDirectory() as name:
        seeds = Path(name) / "seeds"
        seeds.mkdir()
        from hostile_readers import Readers, write_seeds

        warnings.simplefilter("ignore")
        write_seeds(seeds)
        if chosen.case is not None:
            folder = Path(tempfile.mkdtemp(prefix="case_"))
            kind = Cases(seeds, chosen.seed, kinds).write(chosen.case, folder)
            print(kind, folder)
            Readers(seeds).by_kind[kind](folder)
            return
        found: Counter[tuple[str, str]] = Counter()
        slowest = 0.0
        for outcome in outcomes(chosen.count, chosen.seed, kinds, chosen.processes, seeds):
            found[outcome.kind, outcome.result] += 1
            slowest = max(slowest, outcome.seconds)
            if outcome.result in BAD:
                print(f"case {outcome.number}, {outcome.kind}: {outcome.result}\n{outcome.detail}", flush=True)
    for kind in kinds:
        print(f"{kind}: {found[kind, 'accepted']} accepted, {found[kind, 'refused']} refused")
    bad = {result: sum(n for (_, name), n in found.items() if name == result) for result in BAD}
    print(f"{chosen.count} files, the slowest {slowest:.2f} s: " + ", ".join(f"{n} {name}" for name, n in bad.items()))
    sys.exit(1 if any(bad.values()) else 0)


if __name__ == "__main__":
    main()
