import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.contracts import FunctionTask
from taskodec.report.plain import closest, plain_near


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=60, unique=True), st.integers(0, 11_000))
def test_the_closest_of_sizes_that_grow(sizes, wanted):
    sizes = sorted(sizes)
    calls = []

    def bytes_at(level):
        calls.append(level)
        return sizes[int(level)]

    found = closest([float(i) for i in range(len(sizes))], wanted, bytes_at)
    assert abs(sizes[int(found)] - wanted) == min(abs(size - wanted) for size in sizes)
    assert len(calls) == len(set(calls)) <= 9


def test_the_plain_file_is_the_codecs_own(tiny_codec, photo, tiny_decompressor):
    task = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean())
    sizes = {}
    for wanted in (1, 10**9):
        plain = plain_near(tiny_codec, task, photo, 100.0, wanted)
        sizes[plain.bounded] = len(plain.candidate.coded.stream)
        assert plain.candidate.coded.adapter_fingerprint is None
        decoded = tiny_decompressor.decompress(plain.candidate.coded.stream)
        assert decoded.size == (96, 64)
    assert sizes["smallest"] < sizes["largest"]
    plain = plain_near(tiny_codec, task, photo, 100.0, sizes["largest"])
    assert (plain.bounded, len(plain.candidate.coded.stream)) == ("", sizes["largest"])


def test_a_codec_of_one_quality(tiny_codec, photo, monkeypatch):
    monkeypatch.setattr(tiny_codec, "qualities", (2.0,))
    monkeypatch.setattr(tiny_codec, "continuous", False)
    task = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean())
    plain = plain_near(tiny_codec, task, photo, 100.0, 500)
    assert (plain.quality, plain.bounded) == (2.0, "only")


@pytest.mark.parametrize("wanted", [5, 50])
def test_sizes_that_do_not_grow(wanted):
    sizes = {1.0: 40, 2.0: 10, 3.0: 60, 4.0: 30}
    found = closest(list(sizes), wanted, sizes.__getitem__)
    assert found in sizes
