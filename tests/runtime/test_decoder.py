import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.coding.singular_values import Absolute, Delta
from taskodec.coding.streams import decoded_picture, read_latents
from taskodec.errors import (
    DamagedStreamError,
    MismatchError,
    UnsupportedStreamError,
    UsageError,
)
from taskodec.images.metrics import psnr
from taskodec.images.tensors import load_image, to_pil
from taskodec.runtime import Decoder
from taskodec.stream.bitstream import Stream

IMAGES = Path(__file__).parents[2] / "docs" / "images"

SCRIPT = """
import sys
for name in ("torch", "PIL", "typer", "onnx", "compressai", "pydantic", "safetensors", "rich", "yaml", "pluggy"):
    sys.modules[name] = None  # importing it fails
from taskodec.runtime import Decoder
import taskodec.runtime.cli
pixels = Decoder(sys.argv[1], threads=1).decode(open(sys.argv[2], "rb").read())
sys.stdout.buffer.write(pixels.tobytes())
"""


@pytest.fixture(scope="module")
def decoder(exported):
    return Decoder(exported)


def made_up_delta(adapter):
    values = np.random.default_rng(0).integers(-8, 9, sum(adapter.delta_groups))
    return Delta(values.astype(np.int32), 8)


def made_up_values(adapter):
    own = adapter.singular_values()
    return Absolute.of(torch.linspace(-0.5, 0.5, len(own)), own)


def by_torch(codec, adapter, data):
    """y_hat and the picture, as taskodec itself decodes the stream."""
    stream = Stream.from_bytes(data)
    header = stream.header
    y_hat, delta = read_latents(stream, codec, adapter)
    with torch.no_grad():
        if header.adapter_fingerprint is None:
            return y_hat, decoded_picture(codec, y_hat, header.quality, (header.height, header.width))
        with attached(adapter, codec):
            adapter.set_delta(delta.tensor(y_hat) if delta else None)
            x_hat = decoded_picture(codec, y_hat, header.quality, (header.height, header.width))
            adapter.set_delta(None)
            return y_hat, x_hat


@pytest.mark.parametrize("size", [(64, 96), (33, 90), (1, 1), (64, 17)])
@pytest.mark.parametrize("kind", ["untuned", "pretrained", "tuned"])
@pytest.mark.parametrize("quality", [0.0, 0.4375, 4.3125, 7.0])
def test_every_stream_is_decoded_as_by_torch(decoder, small_lite, small_adapter, written, photo, size, kind, quality):
    x = photo[:, :, : size[0], : size[1]]
    adapter = None if kind == "untuned" else small_adapter
    data = written(x, quality, adapter, made_up_delta(small_adapter) if kind == "tuned" else None)
    y_hat, x_hat = by_torch(small_lite, small_adapter, data)
    decoded = decoder.latents(data)
    assert np.array_equal(decoded.y_hat, y_hat.numpy())
    assert decoded.y_hat.any()
    assert psnr(torch.from_numpy(decoder.picture(decoded)), x_hat) > 90
    different = np.abs(decoder.decode(data).astype(int) - np.asarray(to_pil(x_hat)))
    assert different.max() <= 1


def test_the_singular_values_reach_the_picture(decoder, small_adapter, written, photo):
    streams = [
        written(photo, adapter=None),
        written(photo),
        written(photo, delta=made_up_delta(small_adapter)),
    ]
    pictures = [decoder.picture(decoder.latents(data)) for data in streams]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert psnr(torch.from_numpy(pictures[one]), torch.from_numpy(pictures[other])) < 60


def test_singular_values_themselves_are_decoded_to_the_last_bit(decoder, small_lite, small_adapter, written, photo):
    data = written(photo, delta=made_up_values(small_adapter))
    decoded = decoder.latents(data)
    expected = small_adapter.singular_values() + made_up_values(small_adapter).tensor(torch.zeros(1))
    assert np.array_equal(decoded.singular_values, expected.numpy())
    y_hat, x_hat = by_torch(small_lite, small_adapter, data)
    assert np.array_equal(decoded.y_hat, y_hat.numpy())
    assert psnr(torch.from_numpy(decoder.picture(decoded)), x_hat) > 90


def test_tiles_make_the_same_picture(exported, decoder, small_adapter, written):
    x = load_image(IMAGES / "kodim23.png").x[:, :, :500, :700]
    data = written(x, delta=made_up_delta(small_adapter))
    tiled = Decoder(exported, tile=384 * 384)
    calls = []
    synthesis, tiled.synthesis = tiled.synthesis, lambda **inputs: calls.append(1) or synthesis(**inputs)
    decoded = decoder.latents(data)
    assert psnr(torch.from_numpy(tiled.picture(decoded)), torch.from_numpy(decoder.picture(decoded))) > 90
    assert len(calls) > 3


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_many_streams_come_in_their_order_and_few_at_a_time(decoder, written, photo, jobs):
    streams = [written(photo[:, :, : 8 * n], adapter=None) for n in range(1, 5)]
    taken = []

    def taking():
        for data in streams:
            taken.append(data)
            yield data

    for number, pixels in enumerate(decoder.decode_many(taking(), jobs)):
        assert np.array_equal(pixels, decoder.decode(streams[number]))
        assert len(taken) <= number + jobs
    assert number == 3


def test_a_damaged_one_of_many_streams_ends_them_where_it_is(decoder, written, photo):
    good = written(photo, adapter=None)
    pictures = decoder.decode_many([good, good[:-1], good], jobs=2)
    assert np.array_equal(next(pictures), decoder.decode(good))
    with pytest.raises(DamagedStreamError):
        next(pictures)


def test_wild_latents_are_decoded_alike(decoder, small_lite, written, photo):
    data = written(photo * 1e4 - 3e3, adapter=None)
    assert np.array_equal(decoder.latents(data).y_hat, by_torch(small_lite, None, data)[0].numpy())


def test_it_needs_neither_torch_nor_anything_else(exported, small_lite, small_adapter, written, photo, tmp_path):
    data = written(photo, delta=made_up_delta(small_adapter))
    (tmp_path / "in.tkd").write_bytes(data)
    call = [sys.executable, "-c", SCRIPT, exported, tmp_path / "in.tkd"]
    run = subprocess.run(call, check=True, capture_output=True, cwd=tmp_path)
    pixels = np.frombuffer(run.stdout, dtype=np.uint8).reshape(64, 96, 3)
    x_hat = by_torch(small_lite, small_adapter, data)[1]
    assert np.abs(pixels.astype(int) - np.asarray(to_pil(x_hat))).max() <= 1


def test_streams_of_others_are_refused(decoder, small_lite, written, photo):
    other = build_svd_lora(small_lite, rank=3, seed=1)
    for branch in other.branches("decoder").values():
        branch.w_lora_S.data.fill_(0.1)
    with pytest.raises(MismatchError, match=f"adapter {other.fingerprint().hex()}.*export the codec with"):
        decoder.decode(written(photo, adapter=other.requires_grad_(False)))
    changed = copy.deepcopy(small_lite)
    changed.g_s.idct.bias.add_(1e-3)
    with pytest.raises(MismatchError, match="made with weights"):
        decoder.decode(written(photo, adapter=None, codec=changed))


def test_damaged_and_huge_streams_are_refused(exported, decoder, written, photo):
    data = written(photo, adapter=None)
    with pytest.raises(DamagedStreamError):
        decoder.decode(data[:-6])
    with pytest.raises(UnsupportedStreamError, match="max_pixels"):
        Decoder(exported, max_pixels=6000).decode(data)


def test_a_provider_that_is_not_here(exported):
    with pytest.raises(UsageError, match=r"no NoProvider; valid: .*CPUExecutionProvider"):
        Decoder(exported, providers=["NoProvider"])
