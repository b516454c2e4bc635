"""Whether streams decode alike whatever computes the networks: threads, libraries, precisions, runtimes.

Every image is encoded once, as the machine is set, and decoded under each runtime. What is compared are the tables
that encoder and decoder choose for every symbol, and the symbols.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.bench.tables import Table
from taskodec.console.progress import Progress
from taskodec.contracts import Codec
from taskodec.errors import StreamError
from taskodec.export.graphs import OnnxFunction, check_onnx, export_graph
from taskodec.images.tensors import pad_to
from taskodec.isolation.ambient import in_clean_state
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.tables import IntArray

__all__ = ["RUNTIMES", "Agreement", "as_json", "check_agreement", "tables"]

Function = Callable[..., Any]


@dataclass
class Agreement:
    """What happened under one runtime: counts over all streams. `mean_shift` is the largest difference of y_hat."""

    runtime: str
    streams: int = 0
    indexes: int = 0
    wrong_indexes: int = 0
    wrong_symbols: int = 0
    failed: int = 0
    mean_shift: float = 0.0


class _Encoder(SymbolEncoder):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[IntArray, IntArray]] = []

    def encode(self, symbols: IntArray, indexes: IntArray, tables: Tables) -> None:
        super().encode(symbols, indexes, tables)
        self.log.append((np.array(indexes), np.array(symbols)))


class _Decoder(SymbolDecoder):
    """Compares what it is asked for, and what it reads, with what an encoder wrote."""

    def __init__(self, data: bytes, log: Sequence[tuple[IntArray, IntArray]], result: Agreement) -> None:
        super().__init__(data)
        self.log, self.result = iter(log), result

    def decode(self, indexes: IntArray, tables: Tables) -> Any:
        expected, written = next(self.log, (np.zeros(0), np.zeros(0)))
        self.result.indexes += indexes.size
        self.result.wrong_indexes += _different(indexes, expected)
        symbols = super().decode(indexes, tables)
        self.result.wrong_symbols += _different(symbols, written)
        return symbols


def _different(found: IntArray, expected: IntArray) -> int:
    if found.size != expected.size:
        return max(found.size, expected.size)
    return int((found.reshape(-1) != expected.reshape(-1)).sum())


def _in_precision(dtype: torch.dtype) -> Callable[[nn.Module], Function]:
    def make(network: nn.Module) -> Function:
        other = copy.deepcopy(network).to(dtype)
        return lambda *inputs: other(*(value.to(dtype) for value in inputs))

    return make


def _compiled(network: nn.Module) -> Function:
    function: Function = torch.compile(copy.deepcopy(network), dynamic=True)
    return function


def _onnx(optimise: bool) -> Callable[[nn.Module], Function]:
    def make(network: nn.Module) -> Function:
        single, functions = copy.deepcopy(network).float(), list[OnnxFunction]()

        def call(*inputs: Tensor) -> Any:
            values = [value.float() for value in inputs]
            if not functions:
                functions.append(OnnxFunction(export_graph(single, values), optimise=optimise))
            return functions[0](*values)

        return call

    return make


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration")  # oneDNN talks of GPUs that are not meant here
        with torch.backends.mkldnn.flags(enabled=False):
            yield


REPLACEMENTS: dict[str, Callable[[nn.Module], Function]] = {
    "float32": _in_precision(torch.float32),
    "float64": _in_precision(torch.float64),
    "torch.compile": _compiled,
    "onnxruntime": _onnx(True),
    "onnxruntime, not optimised": _onnx(False),
}
"""Runtimes that compute the codec's coding networks in another way."""

SETTINGS: dict[str, Callable[[], Any]] = {
    "1 thread": lambda: _threads(1),
    "2 threads": lambda: _threads(2),
    "without oneDNN": _without_onednn,
}
"""Runtimes that are a setting of PyTorch's."""

RUNTIMES = (*SETTINGS, *REPLACEMENTS)


class _Runtime:
    """One way to compute a codec's networks; what takes time to make is made once."""

    def __init__(self, name: str, codec: Codec) -> None:
        self.result = Agreement(name)
        self.networks = codec.coding_networks()
        make = REPLACEMENTS.get(name)
        self.functions = {part: make(network) for part, network in self.networks.items()} if make else {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.result.runtime in SETTINGS:
                stack.enter_context(SETTINGS[self.result.runtime]())
            for name, function in self.functions.items():
                stack.enter_context(_replaced(self.networks[name], function))
            yield

    def decode(self, codec: Codec, quality: float, size: tuple[int, int], coded: tuple[_Encoder, Tensor]) -> None:
        """Decode one stream and count what differs."""
        encoder, y_hat = coded
        self.result.streams += 1
        decoder = _Decoder(encoder.getvalue(), encoder.log, self.result)
        try:
            with self.applied():
                decoded = codec.decode(size, quality, decoder)
        except StreamError:
            self.result.failed += 1
            return
        self.result.failed += decoder.checksum != encoder.checksum
        self.result.mean_shift = max(self.result.mean_shift, float((decoded - y_hat).abs().max()))


@contextmanager
def _replaced(network: nn.Module, function: Function) -> Iterator[None]:
    """Let the network be computed by a function; results come back in the precision of the inputs."""

    def forward(*inputs: Tensor) -> Any:
        outputs = function(*inputs)
        if isinstance(outputs, tuple):
            return tuple(output.to(inputs[0].dtype) for output in outputs)
        return outputs.to(inputs[0].dtype)

    network.forward = forward  # on the instance, where calling a module looks first
    try:
        yield
    finally:
        del network.forward


@in_clean_state
@torch.no_grad()
def check_agreement(
    codec: Codec,
    images: Sequence[Callable[[], Tensor]],
    qualities: Sequence[float],
    runtimes: Sequence[str] = RUNTIMES,
    progress: Progress | None = None,
) -> list[Agreement]:
    """Encode each image (1, 3, H, W) at each quality, decode under every runtime, and count what differs.

    `images` are loaded one at a time. UsageError if a network cannot be exported, or a package for it is missing.
    """
    if any(name.startswith("onnx") for name in runtimes):
        check_onnx()
    every = [_Runtime(name, codec) for name in runtimes]
    done, total = 0, len(images) * len(qualities) * len(every)
    for load in images:
        x = pad_to(load(), codec.stride)
        for quality in qualities:
            encoder = _Encoder()
            y_hat = codec.encode(codec.analysis(x, quality), quality, encoder)
            for runtime in every:
                runtime.decode(codec, quality, (x.shape[2], x.shape[3]), (encoder, y_hat))
                done += 1
                if progress is not None:
                    progress(done, total, {"wrong": float(sum(r.result.wrong_indexes for r in every))})
    return [runtime.result for runtime in every]


def as_json(results: Mapping[str, Sequence[Agreement]]) -> dict[str, Any]:
    """Every codec's counts as plain values."""
    return {"codecs": {name: [asdict(result) for result in rows] for name, rows in results.items()}}


def tables(results: Mapping[str, Sequence[Agreement]]) -> list[Table]:
    """A table for every codec."""
    header = ("runtime", "streams", "tables chosen", "wrong", "wrong symbols", "streams failed", "shift of y_hat")
    return [Table(name, header, [_cells(result) for result in rows]) for name, rows in results.items()]


def _cells(result: Agreement) -> tuple[str, ...]:
    counts = (result.streams, result.indexes, result.wrong_indexes, result.wrong_symbols, result.failed)
    return (result.runtime, *map(str, counts), f"{result.mean_shift:.1g}")
