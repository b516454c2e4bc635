from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.delta import (
    LARGEST,
    STEPS,
    decode_delta,
    delta_bits,
    encode_delta,
    gate_tables,
    value_tables,
)
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

small = st.integers(-3, 3) | st.just(0)
anything = st.integers(-LARGEST, LARGEST)


@st.composite
def vectors(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    """Groups and integers for them, not all zero; some groups are closed."""
    groups = draw(st.lists(st.integers(1, 6), min_size=1, max_size=12))
    element = draw(st.sampled_from([small, st.integers(-40, 40), anything]))
    parts = [draw(st.just([0] * n) | st.lists(element, min_size=n, max_size=n)) for n in groups]
    values = np.concatenate([np.array(part, dtype=np.int64) for part in parts])
    if not values.any():
        values[draw(st.integers(0, len(values) - 1))] = draw(st.sampled_from([-1, 1]))
    return values, groups


def coded(values: np.ndarray, groups: list[int], step_index: int = 9) -> SymbolEncoder:
    coder = SymbolEncoder()
    encode_delta(values, groups, step_index, coder)
    return coder


@settings(deadline=None)
@given(vectors(), st.integers(0, len(STEPS) - 1))
def test_round_trip(vector: tuple[np.ndarray, list[int]], step_index: int) -> None:
    values, groups = vector
    coder = coded(values, groups, step_index)
    coder.encode_uniform(0xABC, 12)  # what follows in the payload must not be disturbed
    decoder = SymbolDecoder(coder.getvalue())
    found, step = decode_delta(groups, decoder)
    assert found.dtype == np.int32
    assert found.tolist() == values.tolist()
    assert step == STEPS[step_index]
    assert decoder.decode_uniform(12) == 0xABC
    assert decoder.checksum == coder.checksum


@settings(deadline=None)
@given(vectors())
def test_cost_is_what_the_coder_writes(vector: tuple[np.ndarray, list[int]]) -> None:
    values, groups = vector
    coder = coded(values, groups)
    assert coder.bits == pytest.approx(delta_bits(values, groups), abs=1e-6)
    assert 8 * len(coder.getvalue()) <= delta_bits(values, groups) + 16


@settings(deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(1, 6), min_size=1, max_size=40))
def test_any_bytes_decode_or_are_called_damaged(data: bytes, groups: list[int]) -> None:
    try:
        values, step = decode_delta(groups, SymbolDecoder(data))
    except DamagedStreamError:
        return
    assert values.shape == (sum(groups),)
    assert np.abs(values).max() <= LARGEST
    assert step in STEPS


@settings(deadline=None, max_examples=50)
@given(vectors(), st.data())
def test_flipped_bits_are_other_values_or_damage(vector: tuple[np.ndarray, list[int]], data: st.DataObject) -> None:
    values, groups = vector
    stream = bytearray(coded(values, groups).getvalue())
    bit = data.draw(st.integers(0, 8 * len(stream) - 1))
    stream[bit // 8] ^= 1 << bit % 8
    for damaged in (bytes(stream), bytes(stream[: bit // 8])):
        try:
            found, _ = decode_delta(groups, SymbolDecoder(damaged))
        except DamagedStreamError:
            continue
        assert found.shape == values.shape


def test_sparse_vectors_are_cheap() -> None:
    groups = [4] * 28
    one = np.zeros(112, dtype=np.int64)
    one[50] = -1
    assert delta_bits(one, groups) < 12 + 12
    assert delta_bits(one, groups) < delta_bits(np.eye(28, 4, dtype=np.int64).ravel() * 2, groups)


def test_cost_tracks_the_entropy_of_laplacian_values() -> None:
    """Within 5 % of the best two-sided geometric code over a wide range of scales."""
    rng = np.random.default_rng(1)
    for ratio in (0.2, 0.5, 0.8, 0.93):
        values = rng.geometric(1 - ratio, 4000) - rng.geometric(1 - ratio, 4000)
        counts = np.unique(values, return_counts=True)[1] / 4000
        entropy = -4000 * float((counts * np.log2(counts)).sum())
        assert entropy < delta_bits(values, [4000]) < 1.05 * entropy


def test_no_values_cost_nothing() -> None:
    assert delta_bits(np.zeros(6, dtype=int), [2, 4]) == 0.0
    with pytest.raises(UsageError, match="all zeros"):
        encode_delta(np.zeros(6, dtype=int), [2, 4], 0, SymbolEncoder())


@pytest.mark.parametrize(
    ("values", "groups", "said"),
    [
        ([1, 2, 3], [2, 2], r"\(3,\).*\(4,\)"),
        ([1, 2], [2, 0], "groups"),
        ([1.0, 2.0], [2], "float64"),
        ([LARGEST + 1, 0], [2], "larger step"),
        ([0, -LARGEST - 1], [2], "larger step"),
    ],
)
def test_wrong_vectors_are_refused(values: list[int], groups: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        delta_bits(np.array(values), groups)
    with pytest.raises(UsageError, match=said):
        encode_delta(np.array(values), groups, 0, SymbolEncoder())


@pytest.mark.parametrize("step_index", [-1, len(STEPS)])
def test_step_must_exist(step_index: int) -> None:
    with pytest.raises(UsageError, match="0 to 31"):
        encode_delta(np.array([1]), [1], step_index, SymbolEncoder())


def test_steps_fall_by_the_square_root_of_two() -> None:
    assert STEPS[0] == 1.0
    assert STEPS[31] < 1e-4
    np.testing.assert_allclose(np.array(STEPS[1:]) / STEPS[:-1], 0.5**0.5)


def test_tables_never_change() -> None:
    """They are part of the stream's format."""
    prints = gate_tables().fingerprint + value_tables().fingerprint
    assert prints.hex() == "af1d6104fac0def16971b568d105ba2f"


@pytest.mark.parametrize(("gate", "value"), [(2, 1), (1, LARGEST + 1)])
def test_what_no_encoder_writes_is_damage(gate: int, value: int) -> None:
    coder = SymbolEncoder()
    for number, bits in ((0, 5), (0, 3), (0, 4)):
        coder.encode_uniform(number, bits)
    coder.encode(np.array([gate]), np.array([0]), gate_tables())
    coder.encode(np.array([value]), np.array([0]), value_tables())
    with pytest.raises(DamagedStreamError, match="adapter values are damaged"):
        decode_delta([1], SymbolDecoder(coder.getvalue()))
