"""Load on `taskodec serve`, a part of it hostile: nothing may crash, come late, or be another picture.

    python scripts/serve_load.py --requests 10000 --hostile 0.2 --kills 20
    python scripts/serve_load.py --requests 2000 --hostile 0 --kills 0      # what memory does when nothing goes wrong

Starts a server on a free port of 127.0.0.1, with `lite` and with tasks that hang and that kill their process, and sends
good requests, whose answers were computed by the library before, one after the other, and hostile ones. Meanwhile so
many workers are killed with SIGKILL, at moments spread over the run. The exit code is 1 if an answer is another than
it must be, later than the time-outs and a second, or is none, or if the server has faults in its log or is gone. Good
requests that a killed worker took along are sent again, and counted, as are those that found the queue full.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import torch
import yaml
from serve_load_kinds import HOSTILE, PLUGIN, Client, Good, Seen, known_answers

BODY_TIMEOUT = 4.0

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "kodim23.png"


@dataclass
class Tally:
    """What came of all requests; an answer after `limit` seconds is late."""

    limit: float
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    again: Counter[int] = field(default_factory=Counter)
    memory: dict[int, tuple[int, int]] = field(default_factory=dict)
    killed: int = 0

    def add(self, seen: Seen) -> None:
        """Count an answer."""
        self.seen[seen.kind, seen.status] += 1
        self.seconds[seen.kind].append(seen.seconds)
        if seen.problem:
            self.wrong.append(f"{seen.kind}: {seen.problem}")
        if seen.seconds > self.limit:
            self.late.append(f"{seen.kind}: {seen.seconds:.2f} s, status {seen.status}")

    @property
    def done(self) -> int:
        """How many requests have been answered."""
        return self.seen.total()


class Server:
    """A server, its port and its processes."""

    def __init__(self, folder: Path, chosen: argparse.Namespace) -> None:
        (folder / "faulty.py").write_text(PLUGIN, encoding="utf-8")
        limits = {
            "max_body": 2**20,
            "body_timeout": chosen.timeout / 2,
            "timeout": chosen.timeout,
            "queue": chosen.queue,
        }
        tasks = {"tasks": ["human", "hang", "die"], "workers": chosen.workers, "threads": 1, "batch": chosen.batch}
        (folder / "serve.yaml").write_text(yaml.safe_dump({"serve": {"port": 0, **limits, **tasks}}), encoding="utf-8")
        self.log = folder / "log"
        call = [sys.executable, "-m", "taskodec", "serve", "--config", "serve.yaml", "--plugin", "faulty.py"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(call, cwd=folder, stderr=log)

    def lines(self) -> list[dict[str, object]]:
        """The log."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def wait(self) -> int:
        """Wait until it listens and has workers: its port."""
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the server has ended: {self.log.read_text(encoding='utf-8')}")
            begun = [line for line in self.lines() if line.get("event") == "start"] if self.log.stat().st_size else []
            if begun:
                url = str(begun[0]["url"])
                with httpx2.Client(base_url=url, timeout=300) as client:
                    while client.get("/readyz").json()["workers"] < 1:
                        time.sleep(0.2)
                return int(url.rpartition(":")[2])
            time.sleep(0.2)

    def workers(self) -> list[int]:
        """The numbers of the worker processes: what the fork server has made."""
        return [pid for child in _children(self.process.pid) for pid in _children(child)]

    def memory(self) -> tuple[int, int]:
        """MiB of the server alone, and with its workers."""
        own = _resident(self.process.pid)
        return own, own + sum(map(_resident, self.workers()))


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted({int(number) for path in tasks for number in _read(str(path)).split()})


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _resident(pid: int) -> int:
    lines = [line for line in _read(f"/proc/{pid}/status").decode().splitlines() if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) // 1024 if lines else 0


@asynccontextmanager
async def client_of(port: int, seed: int, chosen: argparse.Namespace) -> AsyncIterator[Client]:
    """A client with connections of its own."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=2 * chosen.timeout + 30) as http:
        yield Client(http, port, random.Random(seed), 2 * chosen.timeout + 30)


async def one(client: Client, goods: list[Good], hostile: float, tally: Tally) -> None:
    """One request of whatever kind, until it has an answer that counts."""
    pictures = [good for good in goods if good.kind.startswith("compress")]
    streams = [good for good in goods if good.kind == "decompress"]
    kind, good = None, goods[0]
    if client.rng.random() < hostile:
        kind = client.rng.choices(list(HOSTILE), list(HOSTILE.values()))[0]
    else:
        good = client.rng.choice(goods)
    while True:
        try:
            if kind is None:
                seen = await client.good(good)
            else:
                seen = await kind(client, client.rng.choice(pictures), client.rng.choice(streams))
        except Exception as error:
            tally.lost.append(f"{type(error).__name__}: {error}")
            return
        again = seen.status == 429 or (seen.status == 502 and seen.kind != "task that kills")
        if not again or (seen.problem and seen.status != 502):
            tally.add(seen)
            return
        tally.again[seen.status] += 1
        if seen.seconds > tally.limit:
            tally.late.append(f"{seen.kind}: {seen.seconds:.2f} s, status {seen.status}")
        await asyncio.sleep(1)


async def load(server: Server, port: int, goods: list[Good], chosen: argparse.Namespace, tally: Tally) -> None:
    """All requests from all clients, and the kills."""
    left = iter(range(chosen.requests))
    end = time.perf_counter() + 60 * chosen.minutes

    async def send(number: int) -> None:
        async with client_of(port, chosen.seed + number, chosen) as client:
            for _ in left:
                await one(client, goods, chosen.hostile, tally)
                if time.perf_counter() > end:
                    return

    async def watch() -> None:
        rng = random.Random(chosen.seed)
        moments = sorted(rng.sample(range(chosen.requests // 50, chosen.requests), chosen.kills))
        marks = [100, *range(1000, chosen.requests, 1000)]
        while True:
            await asyncio.sleep(0.2)
            if marks and tally.done >= marks[0]:
                tally.memory[marks.pop(0)] = server.memory()
                print(f"{tally.done} requests, {tally.memory[max(tally.memory)]} MiB", flush=True)
            if moments and tally.done >= moments[0] and (workers := server.workers()):
                moments.pop(0)
                os.kill(rng.choice(workers), signal.SIGKILL)
                tally.killed += 1

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(send(number) for number in range(chosen.clients)))
    watching.cancel()


def show(tally: Tally, server: Server, seconds: float, code: int, temporary: list[str]) -> bool:
    """Print what came of it; whether all is as it must be."""
    for (kind, status), count in sorted(tally.seen.items()):
        times = sorted(tally.seconds[kind])
        middle, high = times[len(times) // 2], times[min(len(times) - 1, int(0.99 * len(times)))]
        print(f"{count:6} {kind:20} {status or '-'}   median {middle:.3f} s, 99 % {high:.3f} s, most {times[-1]:.3f} s")
    faults = [line for line in server.lines() if line.get("event") == "fault" or line.get("level") == "CRITICAL"]
    ends = Counter(str(line["reason"]) for line in server.lines() if line.get("event") == "worker")
    rate, again = tally.done / seconds, dict(tally.again)
    print(f"{tally.done} answered in {seconds:.0f} s, {rate:.1f} a second; sent again, by status: {again}")
    print(f"workers that ended: {dict(ends)}; killed from outside: {tally.killed}")
    print(f"MiB of the server, and with its workers: {tally.memory}")
    bad = {"wrong": tally.wrong, "late": tally.late, "without an answer": tally.lost, "faults": faults}
    for name, found in bad.items():
        print(f"{len(found)} {name}" + "".join(f"\n    {str(each)[:300]}" for each in found[:5]))
    print(f"exit code of the server {code}, files left: {temporary}")
    return not any(bad.values()) and code == 0 and not temporary


def main() -> None:
    """Run the load, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--hostile", type=float, default=0.2, help="share of hostile ones (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="of workers, by SIGKILL (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=600, help="after which none is sent (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--queue", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="tuned together; more than 1 changes bytes (default: 1)")
    parser.add_argument("--steps", type=int, default=2, help="of the tuned ones (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=10, help="seconds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    goods = known_answers(PICTURE, chosen.steps)
    tally = Tally(2 * chosen.timeout + BODY_TIMEOUT + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = str(folder)
        server = Server(folder, chosen)
        try:
            port = server.wait()
            begun = time.perf_counter()
            asyncio.run(load(server, port, goods, chosen, tally))
            seconds = time.perf_counter() - begun
            tally.memory[tally.done] = server.memory()
        finally:
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(120)
        left = [path.name for path in folder.glob("taskodec-serve-*")]
        fine = show(tally, server, seconds, code, left)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
