"""What the service adds to the work: a picture compressed here and by `taskodec serve`, in turns.

    python scripts/serve_overhead.py docs/images/kodim23.png --size 192 --rounds 40

Prints medians over the rounds, in each of which both have a turn, in random order; the server has one worker with
one thread, as many as there are here. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import torch
from PIL import Image
from serve_load import Server

from taskodec.api.compressor import Compressor
from taskodec.settings.model import load_settings


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", type=int, default=192, help="side of the piece (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    buffer = io.BytesIO()
    with Image.open(chosen.picture) as opened:
        opened.convert("RGB").crop((0, 0, chosen.size, chosen.size)).save(buffer, "PNG")
    compressor = Compressor(load_settings(flags={"ttft.steps": 0}))
    with tempfile.TemporaryDirectory() as name:
        os.environ["TMPDIR"] = name
        server = Server(Path(name), argparse.Namespace(timeout=60, queue=8, workers=1, batch=1))
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{server.wait()}", timeout=120) as client:
                here, served = measure(compressor, client, buffer.getvalue(), chosen.rounds)
        finally:
            server.process.terminate()
            server.process.wait(60)
    ratio = statistics.median(there / own for own, there in zip(here, served, strict=True))
    print(f"here {statistics.median(here):.4f} s, served {statistics.median(served):.4f} s, medians of {chosen.rounds}")
    print(f"served by here, median of the rounds: {ratio:.3f}")


def measure(
    compressor: Compressor, client: httpx2.Client, picture: bytes, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of each round, after three that do not count."""
    here, served = [], []

    def own() -> None:
        begun = time.perf_counter()
        streams.add(compressor.compress(picture).stream)
        here.append(time.perf_counter() - begun)

    def theirs() -> None:
        begun = time.perf_counter()
        streams.add(client.post("/v1/compress?steps=0", content=picture).content)
        served.append(time.perf_counter() - begun)

    streams: set[bytes] = set()
    turns = [own, theirs]
    for _ in range(rounds + 3):
        random.shuffle(turns)
        for turn in turns:
            turn()
    if len(streams) != 1:
        sys.exit("the streams differ")
    return here[3:], served[3:]


if __name__ == "__main__":
    main()
