"""What a decoder makes of streams, whole and damaged ones."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.errors import DamagedStreamError, MismatchError, StreamError, UsageError
from taskodec.hooks.specs import CodecSpec
from taskodec.settings.model import load_settings
from taskodec.stream.bitstream import Stream


def tiny_settings(*overrides):
    return load_settings(overrides=["codec=tiny", "ttft.steps=2", *overrides])


@pytest.fixture
def tuned_stream(tiny_registry, photo):
    """A stream with everything in it: metadata, a delta, z and y."""
    options = ["adapter.options.rank=2", "quality=1", "task.lmbda=3000", "ttft.steps=20"]
    phases = "ttft.phases=[{train: [decoder], steps: 20, lr: 0.02}]"
    result = Compressor(
        tiny_settings(*options, phases), tiny_registry, task=lambda x_hat, x: (x_hat - 0.7 * x).square().mean()
    ).compress(photo)
    stream = Stream.from_bytes(result.stream)
    assert stream.header.has_delta
    return stream


json_values = st.none() | st.booleans() | st.integers() | st.integers(1, 8) | st.floats(allow_nan=False) | st.text()
options = st.dictionaries(
    st.sampled_from(["adapter", "rank", "alpha", "seed", "decoder_layers", "encoder_layers", "codec", "path"]),
    json_values | st.lists(json_values, max_size=3) | st.sampled_from(["svd-lora", "lora", "*", "g_s.0", 10**400]),
)


@property_settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_a_stream_says_there_is_a_picture_or_a_stream_error(tiny_registry, tuned_stream, data):
    """All of it behind a CRC32 that fits, and mostly with fingerprints that do."""
    header, payload = tuned_stream.header, bytearray(tuned_stream.payload)
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    changes = {
        "index_checksum": st.integers(0, 65535),
        "quality": st.integers(0, 4096).map(lambda q: q / 16),
        "width": st.integers(1, 200),
        "height": st.integers(1, 200),
        "metadata": options.filter(lambda value: "Infinity" not in repr(value) and "inf" not in repr(value)),
        "has_delta": st.booleans(),
        "absolute": st.booleans(),
        "codec": st.sampled_from(["tiny", "other"]),
    }
    chosen = data.draw(st.sets(st.sampled_from(sorted(changes)), max_size=3))
    try:
        changed = replace(header, **{name: data.draw(changes[name]) for name in sorted(chosen)})
    except UsageError:  # no encoder can write it
        return
    stream = Stream(changed, bytes(payload[: data.draw(st.integers(0, len(payload)))])).to_bytes()
    decoder = Decompressor(tiny_settings("limits.max_pixels=40000"), tiny_registry)
    with contextlib.suppress(StreamError):
        assert decoder.decompress(stream).size == (changed.width, changed.height)
    assert decoder.decompress(tuned_stream.to_bytes()).size == (96, 64)  # nothing stays behind


def test_qualities_are_checked_however_warm_the_codec_is(tiny_registry, tuned_stream):
    decoder = Decompressor(tiny_settings(), tiny_registry)
    decoder.decompress(tuned_stream.to_bytes())
    for quality in (0, 4.0625, 200):
        other = Stream(replace(tuned_stream.header, quality=quality), tuned_stream.payload)
        with pytest.raises(MismatchError, match=f"quality {quality:g}"):
            decoder.decompress(other.to_bytes())


def test_a_picture_that_is_not_finite_is_damage(tiny_registry, tuned_stream, tiny_codec, monkeypatch):
    synthesis = tiny_codec.synthesis
    monkeypatch.setattr(tiny_codec, "synthesis", lambda y_hat, quality: synthesis(y_hat, quality) * torch.nan)
    with pytest.raises(DamagedStreamError, match="NaN"):
        Decompressor(tiny_settings(), tiny_registry).decompress(tuned_stream.to_bytes())


def test_a_shared_decompressor_loads_a_codec_once(tiny_registry, tiny_codec, make_compressor, pieces):
    loaded = []
    tiny_registry.codecs._entries["tiny"] = (CodecSpec("tiny", lambda quality: loaded.append(1) or tiny_codec), "tests")
    stream = make_compressor("ttft.steps=0").compress(pieces[0]).stream
    loaded.clear()
    decoder = Decompressor(load_settings(overrides=["codec=tiny"]), tiny_registry)
    with ThreadPoolExecutor(4) as pool:
        pictures = [np.asarray(picture) for picture in pool.map(decoder.decompress, [stream] * 12)]
    assert len(loaded) == 1
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
