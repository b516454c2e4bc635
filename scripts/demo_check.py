"""Decode streams in headless Chromium with the browser demo, and compare them with the Python runtime.

    python scripts/demo.py --out site/demo --ort node_modules/onnxruntime-web/dist
    python scripts/demo_check.py --site site/demo --images kodak --images coco --streams 100

Needs Chromium, and a site with onnxruntime-web in it. Streams are made from crops of the pictures: untuned, and tuned
for a few steps from the adapters `lite-cls` and `lite-human`. Exit code 1 if a latent differs, or pictures by more
than 55 dB. `--measure IMAGE` takes times in turn, browser and Python one after the other, each with one thread.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo import Handler
from torch import Tensor

import taskodec
from taskodec.export.check import NEEDED_PSNR
from taskodec.images.tensors import load_image
from taskodec.runtime import Decoder
from taskodec.runtime.exported import MANIFEST
from taskodec.settings import load_settings
from taskodec.stream.bitstream import Stream

PAGE = Path(__file__).with_name("demo_check.html")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = ((64, 64), (1, 1), (33, 190), (128, 192), (65, 64), (256, 256), (17, 3))
QUALITIES = (1.0, 2.0, 2.5625, 3.0, 4.25, 5.0, 6.9375, 7.0)
TUNED = {
    "ttft.send": "tuned",
    "ttft.keep": "last",
    "ttft.adapter_rate": False,
    "ttft.search": (),
}
"""So few steps gain nothing: what they change is sent all the same, and large steps change much."""

PHASE = {"train": ["latents", "decoder"], "lr": 0.1, "lr_latents": 0.1}

WAYS = ("change", "change", "change", "absolute")
KINDS = (None, "lite-cls", None, "lite-human", "svd-lora")


@dataclass
class Check:
    """Streams by name, and what was found: a line for each, times in turn, and how the page ended."""

    streams: dict[str, bytes]
    times: dict[str, int]
    decoders: dict[str | None, Decoder]
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    turns: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    end: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def decoder(self, name: str) -> Decoder:
        """The Python runtime for this stream."""
        adapter = Stream.from_bytes(self.streams[name]).header.adapter_fingerprint
        return self.decoders[adapter.hex()] if adapter else next(iter(self.decoders.values()))

    def turn(self, name: str, seconds: Sequence[float]) -> None:
        """Decode it here, after the browser did: to the latents, then the whole to 8 bits as there."""
        decoder, data = self.decoder(name), self.streams[name]
        start = time.perf_counter()
        decoder.latents(data)
        middle = time.perf_counter()
        decoder.decode(data)
        here = (middle - start, time.perf_counter() - middle)
        self.turns.setdefault(name, []).append((*seconds, *here))

    def compare(self, name: str, y_hat: np.ndarray) -> None:
        """A line of what differs."""
        decoder, data = self.decoder(name), self.streams[name]
        expected = decoder.latents(data).y_hat.reshape(-1)
        error = self.pixels[name].astype(float) - decoder.decode(data).reshape(-1)
        mse = float((error**2).mean())
        psnr = 10 * np.log10(255**2 / mse) if mse else 100.0
        wrong = int((y_hat != expected).sum()) if y_hat.shape == expected.shape else expected.size
        self.lines.append({"stream": name, "latents": expected.size, "wrong": wrong, "psnr": round(psnr, 2)})


class CheckHandler(Handler):
    """The site, the page that decodes, the streams, and where results go."""

    check: Check

    def do_GET(self) -> None:
        if self.path == "/check.html":
            self.answer(PAGE.read_bytes(), "text/html")
        elif self.path == "/check/list":
            listed = [{"name": name, "times": self.check.times.get(name, 1)} for name in self.check.streams]
            self.answer(json.dumps(listed).encode(), "application/json")
        elif self.path.startswith("/check/streams/"):
            self.answer(self.check.streams[self.path.rpartition("/")[2]], "application/octet-stream")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        _, _, what, *rest = self.path.split("/")
        if what == "turn":
            self.check.turn(rest[0], json.loads(body))
        elif what == "pixels":
            self.check.pixels[rest[0]] = np.frombuffer(body, dtype=np.uint8)
        elif what == "latents":
            self.check.compare(rest[0], np.frombuffer(body, dtype="<f4"))
            print(json.dumps(self.check.lines[-1]), flush=True)
        else:
            self.check.end = body.decode()
            self.check.ended.set()
        self.answer(b"", "text/plain")

    def answer(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def decoders(site: Path, threads: int = 1) -> dict[str | None, Decoder]:
    """The Python runtime on the site's own exported codecs, by the adapter's fingerprint."""
    found: dict[str | None, Decoder] = {}
    for about in json.loads((site / "models" / "index.json").read_text()):
        with tempfile.TemporaryDirectory() as folder:
            manifest = json.loads((site / "models" / f"{about['name']}.json").read_text())
            (Path(folder) / MANIFEST).write_text(json.dumps(manifest))
            for file, content in manifest["files"].items():
                stem, _, suffix = file.rpartition(".")
                shutil.copy(site / "models" / f"{stem}-{content['sha256'][:16]}.{suffix}", Path(folder) / file)
            found[about["adapter_fingerprint"]] = Decoder(folder, threads=threads)
    return found


def grey(x_hat: Tensor, x: Tensor) -> Tensor:
    """A loss that needs no network, and no more than one pixel."""
    return (x_hat.mean(dim=1) - x.mean(dim=1)).square().mean()


def make_streams(images: Sequence[Path], count: int, steps: int, keep: Path | None) -> Iterator[tuple[str, bytes]]:
    """Crops of all sizes at all qualities, of all kinds; names say what they are."""
    with tempfile.TemporaryDirectory() as folder:
        kept = keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for n in range(count):
            image, kind, quality = images[n % len(images)], KINDS[n % len(KINDS)], QUALITIES[n % len(QUALITIES)]
            crop = cropped(load_image(image).x, SIZES[n % len(SIZES)], rng)
            size = f"{crop.shape[2]}x{crop.shape[3]}"
            path = kept / f"{n:03d}-{image.stem}-{size}-q{quality:g}-{kind or 'untuned'}.tkd"
            if not path.exists():
                flags: dict[str, Any] = {"quality": quality, "task.lmbda": 1000.0, "ttft.steps": 0}
                if kind:
                    tuned = {"ttft.phases": [{**PHASE, "steps": steps}], "ttft.singular_values": WAYS[n % len(WAYS)]}
                    del flags["ttft.steps"]
                    flags |= {"adapter.name": kind, **TUNED, **tuned}
                path.write_bytes(taskodec.Compressor(load_settings(flags=flags), task=grey).compress(crop).stream)
            yield path.name, path.read_bytes()


def cropped(x: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """A random piece of (1, 3, H, W) of this size, or as much as there is."""
    height, width = (min(pair) for pair in zip(size, x.shape[2:], strict=True))
    top, left = (int(rng.integers(0, all_ - part + 1)) for part, all_ in zip((height, width), x.shape[2:], strict=True))
    return x[:, :, top : top + height, left : left + width]


def run_browser(chromium: str, site: Path, check: Check, limit: float) -> None:
    """Open the page in Chromium, and wait until it says that it is done."""
    handler = functools.partial(type("Bound", (CheckHandler,), {"check": check}), directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/check.html"
        call = [chromium, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", url]
        browser = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not check.ended.wait(limit):
                check.end = f"no end after {limit:g} seconds"
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--site", type=Path, required=True, help="folder that scripts/demo.py made, with --ort")
    parser.add_argument("--images", type=Path, action="append", default=[], help="folder of pictures; may be repeated")
    parser.add_argument("--streams", type=int, default=100, help="how many to make")
    parser.add_argument("--steps", type=int, default=3, help="of tuning")
    parser.add_argument("--keep", type=Path, help="folder of streams: those in it are taken, others put there")
    parser.add_argument("--measure", type=Path, help="a picture, decoded in turn with the Python runtime")
    parser.add_argument("--rounds", type=int, default=11, help="of --measure")
    parser.add_argument("--quality", type=float, default=3, help="of --measure")
    parser.add_argument("--chromium", default="chromium", help="the program")
    parser.add_argument("--limit", type=float, default=3600, help="seconds until the browser is given up")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = [path for folder in chosen.images for path in spread(folder)]
    streams = dict(make_streams(images, chosen.streams if images else 0, chosen.steps, chosen.keep))
    times = {}
    if chosen.measure:
        flags = {"quality": chosen.quality, "ttft.steps": 0}
        streams["measured.tkd"] = taskodec.compress(str(chosen.measure), settings=load_settings(flags=flags))
        times["measured.tkd"] = chosen.rounds
    check = Check(streams, times, decoders(chosen.site))
    run_browser(chosen.chromium, chosen.site, check, chosen.limit)
    sys.exit(report(check))


def spread(folder: Path) -> list[Path]:
    """Up to 32 pictures of a folder, evenly."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    return found[:: max(len(found) // 32, 1)][:32]


def report(check: Check) -> int:
    """Print the sums; the exit code."""
    wrong = sum(line["wrong"] for line in check.lines)
    lowest = min((line["psnr"] for line in check.lines), default=0.0)
    latents = sum(line["latents"] for line in check.lines)
    tuned = sum(Stream.from_bytes(data).header.has_delta for data in check.streams.values())
    print(f"{tuned} of the streams have singular values")
    print(
        f"{len(check.lines)} of {len(check.streams)} streams, {latents} latents, {wrong} differ, from {lowest:.1f} dB"
    )
    for name, turns in check.turns.items():
        if len(turns) > 2:
            rows = list(zip(*turns[1:], strict=True))  # the first turn warms up
            ratio = statistics.median(there / here for _, there, _, here in turns[1:])
            medians = ", ".join(f"{statistics.median(row):.3f}" for row in rows)
            print(f"{name}: seconds to latents and to the picture, browser, then Python: {medians}; ratio {ratio:.2f}")
    if check.end:
        print(f"error: the page ended with: {check.end}", file=sys.stderr)
    fine = not check.end and len(check.lines) == len(check.streams) and not wrong and lowest >= NEEDED_PSNR
    return 0 if fine else 1


if __name__ == "__main__":
    main()
