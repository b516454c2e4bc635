from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.delta import LARGEST
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.spike_slab import ABSOLUTE_STEP, decode_absolute, encode_absolute, spike_slab_tables
from taskodec.tuning.delta_rate import spike_slab_bits

vectors = st.lists(st.integers(-100, 100) | st.integers(-LARGEST, LARGEST), max_size=40)


def coded(values) -> SymbolEncoder:
    coder = SymbolEncoder()
    encode_absolute(np.array(values, dtype=np.int32), coder)
    return coder


def published_bits(values) -> float:
    """Van Rozendaal et al. 2021, section 3, over the bins: the mixture of two normal distributions."""

    def mass(q: float, deviation: float) -> float:
        a, b = ((q + side) * 5e-5 / deviation / math.sqrt(2) for side in (-0.5, 0.5))
        return (math.erf(b) - math.erf(a)) / 2

    return -sum(math.log2((mass(q, 0.05) + 1000 * mass(q, 5e-3 / 6)) / 1001) for q in values)


@settings(deadline=None)
@given(vectors)
def test_round_trip(values: list[int]) -> None:
    coder = coded(values)
    coder.encode_uniform(0xABC, 12)  # what follows in the payload must not be disturbed
    decoder = SymbolDecoder(coder.getvalue())
    assert decode_absolute(len(values), decoder).tolist() == values
    assert decoder.decode_uniform(12) == 0xABC
    assert decoder.checksum == coder.checksum


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_decode_or_are_called_damaged(data: bytes, count: int) -> None:
    try:
        values = decode_absolute(count, SymbolDecoder(data))
    except DamagedStreamError:
        return
    assert values.shape == (count,)
    assert np.abs(values.astype(np.int64)).max(initial=0) <= LARGEST


@pytest.mark.parametrize("deviation", [0.001, 0.01, 0.05, 0.1])
def test_cost_is_that_of_the_published_prior(deviation: float) -> None:
    values = np.round(np.random.default_rng(0).normal(0, deviation, 112) / ABSOLUTE_STEP).astype(int)
    assert coded(values).bits == pytest.approx(published_bits(values), rel=0.01)
    soft = spike_slab_bits(torch.from_numpy(values).double() * ABSOLUTE_STEP, ABSOLUTE_STEP)
    assert float(soft) == pytest.approx(published_bits(values), rel=1e-3)


def test_the_published_mistake() -> None:
    """Bins a hundred times finer than the prior's own: 2,000 to 2,450 bits for 112 values of its slab."""
    for seed in range(5):
        values = np.random.default_rng(seed).normal(0, 0.05, 112)
        assert 2000 < coded(np.round(values / ABSOLUTE_STEP).astype(int)).bits < 2450


def test_tables_never_change() -> None:
    """They are part of the stream's format."""
    assert (
        b"".join(tables.fingerprint for tables in spike_slab_tables()).hex()
        == "5d727336f852e968daa1b152148254c97970e4b78c9119cc"
    )


@pytest.mark.parametrize("values", [np.array([LARGEST + 1]), np.array([0.5]), np.array([[1]])])
def test_wrong_values_are_refused(values: np.ndarray) -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        encode_absolute(values, SymbolEncoder())


@pytest.mark.parametrize(("which", "symbols"), [(0, [2]), (1, [0, 73]), (2, [1, -1]), (2, [1, 2**20])])
def test_what_no_encoder_writes_is_damage(which: int, symbols: list[int]) -> None:
    classes, near, blocks = spike_slab_tables()
    coder = SymbolEncoder()
    coder.encode(np.array(symbols[:1]), np.array([0]), classes)
    if which == 1:
        coder.encode(np.array(symbols[1:]), np.array([0]), near)
    if which == 2:
        coder.encode_bits(np.array([0]), 1)
        coder.encode(np.array(symbols[1:]), np.array([0]), blocks)
    with pytest.raises(DamagedStreamError, match="singular values are damaged"):
        decode_absolute(1, SymbolDecoder(coder.getvalue()))
