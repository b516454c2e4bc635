"""Code from threads, tasks of an event loop and processes at once, and compare all of it with what it is alone.

    python scripts/stress.py docs/images/kodim23.png --decodings 10000 --encodings 80 --threads 8

Compressors of `lite`, all shared: untuned; with `svd-lora`, tuned, its changes of the singular values always sent;
with the shipped `lite-cls`, untuned and tuned for `cls`; and a loss that draws from PyTorch's own generator. The exit
code is 1 if a picture or a stream is another one, or an error is raised. (docs/limits.md)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.bench.stress import WAYS, Coders, Outcome, Picture, kinds_of_streams, mixed
from taskodec.settings.model import load_settings


def noisy(x_hat: Tensor, x: Tensor) -> Tensor:
    """A loss on random pixels: it has a seed only if tuning gives it one."""
    chosen = torch.rand(x.shape[-2:]) < 0.5
    return ((x_hat - 0.8 * x).square() * chosen).mean()


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan the work alone, do it in all ways, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="a picture that pieces are cut from")
    parser.add_argument("--sizes", default="64x64,48x80", help="width and height of pieces (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=2, help="of each size (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="of tuning (default: %(default)s)")
    parser.add_argument("--decodings", type=int, default=400, help="in each way (default: %(default)s)")
    parser.add_argument("--encodings", type=int, default=40, help="in each way (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="that work at once (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="that work at once (default: %(default)s)")
    parser.add_argument("--ways", default=",".join(WAYS), help="in which work is done (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    coders = make_coders(chosen.steps)
    works = coders.plan(list(pieces(chosen.image, chosen.sizes, chosen.pieces)))
    for kind, count in sorted(kinds_of_streams(works).items()):
        print(f"{count} streams, {kind}", flush=True)
    repeated = mixed(works, chosen.decodings, chosen.encodings, chosen.seed)
    fine = True
    for way in chosen.ways.split(","):
        workers = chosen.processes if way == "processes" else chosen.threads
        outcome = WAYS[way](coders, repeated, workers)
        show(f"{workers} {way}" if way != "asyncio" else f"asyncio, {workers} threads", outcome)
        fine = fine and outcome.fine
    sys.exit(0 if fine else 1)


def make_coders(steps: int) -> Coders:
    """The compressors, by name, and a decompressor."""
    tuned = [f"ttft.steps={steps}", "ttft.keep=last", "ttft.send=tuned", "ttft.search=[]", "quality=2"]
    changes = "ttft.phases=[{train: [encoder, decoder, latents], steps: 4, lr: 0.05, lr_latents: 0.1, rounding: mixed}]"
    settings = {
        "untuned": ["ttft.steps=0", "quality=3"],
        "svd-lora": [*tuned, changes, "adapter=svd-lora"],
        "lite-cls": ["ttft.steps=0", "task=cls", "quality=2"],
        "lite-cls, tuned": [*tuned, changes, "task=cls"],
        "random loss": [*tuned, changes, "adapter=svd-lora", "task.lmbda=3000"],
    }
    compressors = {
        name: Compressor(load_settings(overrides=overrides), task=noisy if name == "random loss" else None)
        for name, overrides in settings.items()
    }
    return Coders(compressors, Decompressor())


def pieces(image: Path, sizes: str, count: int) -> list[Picture]:
    """So many pieces of each size, spread over the picture."""
    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    found = []
    for width, height in (map(int, size.split("x")) for size in sizes.split(",")):
        for number in range(count):
            top = (pixels.shape[0] - height) * (number + 1) // (count + 1)
            left = (pixels.shape[1] - width) * (number + 1) // (count + 1)
            found.append(pixels[top : top + height, left : left + width].copy())
    return found


def show(way: str, outcome: Outcome) -> None:
    """A line of counts, and the errors."""
    failed = outcome.errors.total()
    print(f"{way}: {outcome.right} right, {outcome.wrong} wrong, {failed} refused, {outcome.seconds:.0f} s", flush=True)
    for message, count in outcome.errors.most_common(5):
        print(f"  {count} times: {message}", flush=True)


if __name__ == "__main__":
    main()
