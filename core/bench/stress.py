"""Whether coding gives the same from threads, tasks of an event loop and processes as it gives one after the other.

Every piece of work is done once alone; its bytes, or its picture, are what all others must give. Compressors and the
decompressor are shared by all threads, and sent to every process.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import torch

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.isolation.faults import described
from taskodec.stream.bitstream import Stream

__all__ = ["WAYS", "Coders", "Outcome", "Work", "in_processes", "in_tasks", "in_threads", "kinds_of_streams", "mixed"]

Picture = npt.NDArray[np.uint8]
"""(H, W, 3)."""


@dataclass(frozen=True, eq=False)
class Work:
    """A stream to decode or, with a `coder`, a picture to encode, and the SHA-256 of what must come out."""

    given: bytes | Picture
    expected: bytes
    coder: str = ""


@dataclass
class Outcome:
    """What came of work that was done in one way: how often it was as expected, another one, or an error."""

    seconds: float = 0.0
    right: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def fine(self) -> bool:
        """Whether all of it was as expected."""
        return not self.wrong and not self.errors


@dataclass(frozen=True)
class Coders:
    """What is shared: compressors by name, and a decompressor that knows nothing of them."""

    compressors: Mapping[str, Compressor]
    decompressor: Decompressor

    def plan(self, pictures: Sequence[Picture]) -> list[Work]:
        """Every picture by every compressor, and the decoding of every stream: done once, one after the other."""
        works = []
        for name, compressor in self.compressors.items():
            for picture in pictures:
                stream = compressor.compress(picture).stream
                works.append(Work(picture, hashlib.sha256(stream).digest(), name))
                works.append(Work(stream, self._decoded(stream)))
        return works

    def do(self, work: Work) -> str | None:
        """Do a piece of work: None if it is as expected, else what is wrong."""
        try:
            if isinstance(work.given, bytes):
                found = self._decoded(work.given)
            else:
                found = hashlib.sha256(self.compressors[work.coder].compress(work.given).stream).digest()
        except Exception as error:  # whatever goes wrong is what is looked for
            return described(error)
        return None if found == work.expected else WRONG

    def _decoded(self, stream: bytes) -> bytes:
        return hashlib.sha256(np.asarray(self.decompressor.decompress(stream)).tobytes()).digest()


WRONG = "not what it is alone"

Way = Callable[[Coders, Sequence[Work], int], Outcome]


def mixed(works: Sequence[Work], decodings: int, encodings: int, seed: int = 0) -> list[Work]:
    """So many of each kind, in an order of the seed."""
    decoded, encoded = ([work for work in works if bool(work.coder) is wanted] for wanted in (False, True))
    repeated = [*islice(cycle(decoded), decodings), *islice(cycle(encoded), encodings)]
    random.Random(seed).shuffle(repeated)
    return repeated


def in_threads(coders: Coders, works: Sequence[Work], threads: int) -> Outcome:
    """In a pool of so many threads."""
    start = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        return _summed(pool.map(coders.do, works), start)


def in_tasks(coders: Coders, works: Sequence[Work], threads: int) -> Outcome:
    """By tasks of an event loop: every other piece in the loop's own thread, the rest in so many of an executor."""
    start = time.monotonic()
    return _summed(asyncio.run(_served(coders, works, threads)), start)


async def _served(coders: Coders, works: Sequence[Work], threads: int) -> list[str | None]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as pool:

        async def serve(number: int, work: Work) -> str | None:
            await asyncio.sleep(0)
            return await loop.run_in_executor(pool, coders.do, work) if number % 2 else coders.do(work)

        return await asyncio.gather(*(serve(number, work) for number, work in enumerate(works)))


def in_processes(coders: Coders, works: Sequence[Work], processes: int) -> Outcome:
    """In so many processes, each of which makes the coders anew from what they were made of."""
    start, context = time.monotonic(), multiprocessing.get_context("spawn")
    at_once = max(1, min(16, len(works) // (4 * processes)))
    with ProcessPoolExecutor(processes, context, _begin, (coders, torch.get_num_threads())) as pool:
        return _summed(pool.map(_do, works, chunksize=at_once), start)


WAYS: Mapping[str, Way] = {"threads": in_threads, "asyncio": in_tasks, "processes": in_processes}

_here: list[Coders] = []
"""Of this process, if it is one of a pool."""


def _begin(coders: Coders, threads: int) -> None:
    torch.set_num_threads(threads)  # by which pictures may differ in their last bits
    _here.append(coders)


def _do(work: Work) -> str | None:
    return _here[0].do(work)


def _summed(found: Iterable[str | None], start: float) -> Outcome:
    outcome = Outcome()
    for fault in found:
        outcome.right += fault is None
        outcome.wrong += fault == WRONG
        if fault not in (None, WRONG):
            outcome.errors[str(fault)] += 1
    outcome.seconds = time.monotonic() - start
    return outcome


def kinds_of_streams(works: Sequence[Work]) -> Counter[str]:
    """How many streams of each kind are decoded."""
    headers = [Stream.from_bytes(work.given).header for work in works if isinstance(work.given, bytes)]
    return Counter(
        "no adapter" if header.adapter_fingerprint is None else "changes" if header.has_delta else "adapter as it is"
        for header in headers
    )
