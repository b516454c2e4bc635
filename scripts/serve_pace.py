"""How long the service takes at a part of its capacity: requests that come by the clock, whether or not others wait.

    python scripts/serve_pace.py docs/images/kodim23.png --size 384 --load 0.8 --count 400

One picture, untuned, by `taskodec serve` with one worker of one thread. First it is compressed here, for the engine's
own seconds; then by requests one after the other, whose rate is the capacity. Then requests come at `--load` times that
rate, once at equal distances and once at random (Poisson), each on its own. Beside what is measured is what a single
server with such arrivals and equal work can do at best. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2
import torch
from PIL import Image
from serve_load import Server

from taskodec.api.compressor import Compressor
from taskodec.settings.model import load_settings

ADDRESS = "/v1/compress?steps=0"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", type=int, default=384, help="side of the piece (default: %(default)s)")
    parser.add_argument("--load", type=float, default=0.8, help="part of the capacity (default: %(default)s)")
    parser.add_argument("--count", type=int, default=400, help="requests of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (default: %(default)s)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    buffer = io.BytesIO()
    with Image.open(chosen.picture) as opened:
        opened.convert("RGB").crop((0, 0, chosen.size, chosen.size)).save(buffer, "PNG")
    picture = buffer.getvalue()
    with tempfile.TemporaryDirectory() as name:
        os.environ["TMPDIR"] = name
        server = Server(Path(name), argparse.Namespace(timeout=60, queue=1000, workers=1, batch=1))
        try:
            asyncio.run(measure(f"http://127.0.0.1:{server.wait()}", picture, chosen))
        finally:
            server.process.terminate()
            server.process.wait(60)


async def measure(url: str, picture: bytes, chosen: argparse.Namespace) -> None:
    """The engine alone, the service one request after the other, and both kinds of arrivals."""
    compressor = Compressor(load_settings(flags={"ttft.steps": 0}))
    own = [seconds(lambda: compressor.compress(picture)) for _ in range(43)][3:]
    show("the engine alone", own, own)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32)
    async with httpx2.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        one = [await asked(client, picture) for _ in range(63)][3:]
        show("served, one after the other", one, own)
        work = statistics.median(one)
        gap = work / chosen.load
        rng = random.Random(chosen.seed)
        kinds = {
            "equal distances": [gap] * chosen.count,
            "at random": [rng.expovariate(1 / gap) for _ in range(chosen.count)],
        }
        for kind, gaps in kinds.items():
            times = await paced(client, picture, gaps)
            show(f"{chosen.load:.0%} load, {kind}", times, own)
            show("    at best, by arithmetic", list(queued(gaps, work)), own)


def seconds(call: object) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - begun


async def asked(client: httpx2.AsyncClient, picture: bytes) -> float:
    """Seconds of a request."""
    begun = time.perf_counter()
    answer = await client.post(ADDRESS, content=picture)
    answer.raise_for_status()
    return time.perf_counter() - begun


async def paced(client: httpx2.AsyncClient, picture: bytes, gaps: Sequence[float]) -> list[float]:
    """Seconds of requests that are sent so long after one another, from when each was due."""
    due, tasks = time.perf_counter(), []

    async def send(when: float) -> float:
        answer = await client.post(ADDRESS, content=picture)
        answer.raise_for_status()
        return time.perf_counter() - when

    for gap in gaps:
        due += gap
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(send(due)))
    return list(await asyncio.gather(*tasks))


def queued(gaps: Sequence[float], work: float) -> Iterator[float]:
    """Seconds from arrival to end where one after the other takes `work` (Lindley's recursion)."""
    wait = 0.0
    for gap in [*gaps[1:], 0.0]:
        yield wait + work
        wait = max(0.0, wait + work - gap)


def show(what: str, times: Sequence[float], own: Sequence[float]) -> None:
    """Median and 99th percentile, and how many times the engine's own median they are."""
    ordered, unit = sorted(times), statistics.median(own)
    high = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    middle = statistics.median(times)
    print(
        f"{what:32} median {middle:.4f} s ({middle / unit:.2f}), 99 % {high:.4f} s ({high / unit:.2f} times), "
        f"load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
