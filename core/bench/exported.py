"""What an exported decoder costs: seconds against the codec itself, and bytes against the weights.

Both sides take turns A B A B … on one stream, in one process, with one thread each, so that whatever else the machine
does meets both. Seconds are those of the CPU, which other processes do not add to; figures are medians over rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taskodec.adapters.lora import LowRankAdapter, merged
from taskodec.bench.speed import torch_threads
from taskodec.coding.singular_values import Delta
from taskodec.coding.streams import StreamWriter, decoded_picture, quantize_quality, read_latents
from taskodec.contracts import Adapter, Codec
from taskodec.export.graphs import OnnxFunction, export_graph
from taskodec.images.tensors import pad_to, to_pil
from taskodec.isolation.ambient import in_clean_state
from taskodec.runtime import Decoder
from taskodec.stream.bitstream import Stream

__all__ = ["Costs", "measure_costs"]

ROUNDS = 11
LARGEST, STEP = 8, 8
"""The made-up delta has integers up to ±8, in steps of 2^-4."""


@dataclass(frozen=True)
class Costs:
    """Medians of CPU seconds, loading left out, and sizes.

    `decode` is by the runtime, `torch_decode` by the codec with its adapter in use; both are of the stages `latents`
    and the rest, from the stream's bytes to 8-bit pixels. `synthesis` has singular values as its input, `merged` has
    them in its weights; None without an adapter. `sizes` are (bytes of the file, bytes of the numbers in it).
    """

    pixels: int
    rounds: int
    decode: float
    latents: float
    torch_decode: float
    torch_latents: float
    synthesis: float
    merged: float | None
    sizes: Mapping[str, tuple[int, int]]

    def report(self) -> dict[str, Any]:
        """All of it, and the ratios."""
        ratios = {"decode_of_torch": self.decode / self.torch_decode}
        if self.merged is not None:
            ratios["singular_values_of_merged"] = self.synthesis / self.merged
        sizes = {name: {"bytes": size, "of_weights": size / held} for name, (size, held) in self.sizes.items()}
        return {**vars(self), "sizes": sizes, **ratios}


@in_clean_state
@torch.no_grad()
def measure_costs(codec: Codec, adapter: Adapter | None, folder: Path, x: Tensor, quality: float) -> Costs:
    """Decode one stream of x (1, 3, H, W), with a made-up delta if there is an adapter, by both."""
    data, delta = _stream(codec, adapter, x, quantize_quality(quality))
    decoder = Decoder(folder, threads=1)
    decoded = decoder.latents(data)
    inputs = decoder.inputs(decoded)
    with torch_threads(1), _tuned(codec, adapter, delta):
        calls: dict[str, Callable[[], object]] = {
            "decode": lambda: decoder.decode(data),
            "torch_decode": lambda: _by_torch(codec, adapter, data),
            "latents": lambda: decoder.latents(data),
            "torch_latents": lambda: read_latents(Stream.from_bytes(data), codec, adapter),
            "synthesis": lambda: decoder.synthesis(y_hat=decoded.y_hat, **inputs),
        }
        if isinstance(adapter, LowRankAdapter):
            plain = _merged_synthesis(codec, adapter)
            tensors = [torch.from_numpy(decoded.y_hat)] + [torch.from_numpy(inputs["gain"])] * ("gain" in inputs)
            calls["merged"] = lambda: plain(*tensors)
        seconds = _alternate(calls)
    files = [path for path in sorted(folder.iterdir()) if path.suffix == ".onnx"]
    return Costs(
        pixels=x.shape[2] * x.shape[3],
        rounds=ROUNDS,
        merged=seconds.pop("merged", None),
        sizes={path.name: (path.stat().st_size, _held(path)) for path in files},
        **seconds,
    )


def _alternate(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU seconds of each, after one to warm up."""
    laps: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            laps[name].append(time.process_time() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in laps.items()}


def _stream(codec: Codec, adapter: Adapter | None, x: Tensor, quality: float) -> tuple[bytes, Delta | None]:
    delta = None
    if adapter is not None and adapter.delta_groups:
        values = np.random.default_rng(0).integers(-LARGEST, LARGEST + 1, sum(adapter.delta_groups))
        delta = Delta(values.astype(np.int32), STEP)
    latents = codec.analysis(pad_to(x, codec.stride), quality)
    size = (x.shape[2], x.shape[3])
    return StreamWriter(codec, adapter, quality, size).write(latents, delta).stream, delta


@contextmanager
def _tuned(codec: Codec, adapter: Adapter | None, delta: Delta | None) -> Iterator[None]:
    """The adapter in use, with this delta."""
    if adapter is None:
        yield
        return
    with adapter.applied(codec):
        adapter.set_delta(None if delta is None else delta.tensor(next(codec.parameters())))
        yield


def _by_torch(codec: Codec, adapter: Adapter | None, data: bytes) -> object:
    """From bytes to pixels, with the adapter in use and set already."""
    stream = Stream.from_bytes(data)
    y_hat, _ = read_latents(stream, codec, adapter)
    header = stream.header
    return np.asarray(to_pil(decoded_picture(codec, y_hat, header.quality, (header.height, header.width))))


def _merged_synthesis(codec: Codec, adapter: LowRankAdapter) -> OnnxFunction:
    """The exported synthesis of a copy whose weights have the adapter as it is set."""
    network = merged(codec, adapter).export_parts().networks["synthesis"]
    names = (tuple(network.inputs), tuple(network.outputs))
    return OnnxFunction(export_graph(network.module.eval(), tuple(network.inputs.values()), names), threads=1)


def _held(path: Path) -> int:
    """Bytes of the numbers in a graph."""
    import onnx
    from onnx import numpy_helper

    return sum(numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)
