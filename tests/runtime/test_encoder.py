import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.coding.streams import read_latents
from taskodec.errors import ImageError, UsageError, WeightsError
from taskodec.export.folder import Form, export_codec
from taskodec.images.tensors import load_image, pad_to
from taskodec.runtime import Decoder, Encoder
from taskodec.stream.bitstream import Stream
from taskodec.stream.entropy import SymbolEncoder

IMAGES = Path(__file__).parents[2] / "docs" / "images"

SCRIPT = """
import sys
for name in ("torch", "PIL", "typer", "onnx", "compressai", "pydantic", "safetensors", "rich", "yaml", "pluggy"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from taskodec.runtime import Encoder
pixels = np.frombuffer(sys.stdin.buffer.read(), dtype=np.uint8).reshape(64, 96, 3)
sys.stdout.buffer.write(Encoder(sys.argv[1], threads=1).encode(pixels, 3))
"""


@pytest.fixture(scope="module")
def encoder(exported):
    return Encoder(exported)


@pytest.fixture
def pixels(photo):
    return (255 * photo[0].permute(1, 2, 0)).round().numpy().astype(np.uint8)


@pytest.mark.parametrize("size", [(64, 96), (33, 90), (1, 1), (64, 17)])
@pytest.mark.parametrize("quality", [0.0, 0.4375, 4.3125, 7.0])
def test_both_decoders_read_what_was_written(encoder, exported, small_lite, small_adapter, pixels, size, quality):
    pixels = pixels[: size[0], : size[1]]
    data = encoder.encode(pixels, quality)
    header = Stream.from_bytes(data).header
    assert (header.height, header.width, header.quality) == (*size, quality)
    assert header.adapter_fingerprint == small_adapter.fingerprint()
    y_hat, _ = read_latents(Stream.from_bytes(data), small_lite, small_adapter)
    assert np.array_equal(Decoder(exported).latents(data).y_hat, y_hat.numpy())
    padded = encoder._padded(pixels)
    written = encoder._write_latents(*encoder.latents(padded, quality), quality, SymbolEncoder())
    assert np.array_equal(written, y_hat.numpy())


def test_the_adapter_is_in_the_weights(encoder, small_lite, small_adapter, photo, pixels):
    y, z = encoder.latents(pixels[:, :64], 3.0)
    x = torch.from_numpy(pixels[:, :64].astype(np.float32) / 255).permute(2, 0, 1)[None]  # (H, W, 3) -> (1, 3, H, W)
    with torch.no_grad():
        plain = small_lite.analysis(x, 3.0)
        with attached(small_adapter, small_lite):
            adapted = small_lite.analysis(x, 3.0)
    torch.testing.assert_close(torch.from_numpy(y), adapted.y, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(torch.from_numpy(z), adapted.z, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(plain.y, adapted.y, atol=0.05)


def test_streams_are_those_of_torch(encoder, small_lite, small_adapter, written, pixels, photo):
    with attached(small_adapter, small_lite):
        ours, theirs = encoder.encode(pixels, 3), written(photo)
    assert abs(len(ours) - len(theirs)) < 8  # a latent may round otherwise
    assert Stream.from_bytes(ours).header.codec_fingerprint == Stream.from_bytes(theirs).header.codec_fingerprint


def test_an_adapter_that_changes_no_untuned_picture_is_not_named(small_lite, pixels, tmp_path):
    export_codec(small_lite, build_svd_lora(small_lite, rank=1).requires_grad_(False), tmp_path, Form(encoder=True))
    assert Stream.from_bytes(Encoder(tmp_path).encode(pixels)).header.adapter_fingerprint is None


def test_floats_and_greys_are_pictures_too(encoder, pixels):
    grey = pixels[..., 0]
    assert encoder.encode(grey, 3) == encoder.encode(np.repeat(grey[..., None], 3, axis=2), 3)
    assert encoder.encode(pixels.astype(np.float32) / np.float32(255), 3) == encoder.encode(pixels, 3)


def test_tiles_make_the_same_latents(exported, encoder):
    x = pad_to(load_image(IMAGES / "kodim23.png").x[:, :, :, :700], 64)
    pixels = x[0].permute(1, 2, 0).numpy()
    tiled = Encoder(exported, tile=512 * 640)
    calls = []
    analysis, tiled._analysis = tiled._analysis, lambda **inputs: calls.append(1) or analysis(**inputs)
    for found, expected in zip(tiled.latents(pixels, 3.0), encoder.latents(pixels, 3.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert len(calls) > 1


def test_it_needs_neither_torch_nor_anything_else(exported, encoder, pixels, tmp_path):
    call = [sys.executable, "-c", SCRIPT, exported]
    run = subprocess.run(call, input=pixels.tobytes(), check=True, capture_output=True, cwd=tmp_path)
    assert run.stdout == encoder.encode(pixels, 3)


def test_without_a_quality_the_middle_one(encoder, pixels):
    assert Stream.from_bytes(encoder.encode(pixels)).header.quality == 3
    assert encoder.quality(3.53) == 3.5


def test_what_is_wrong_says_so(exported, encoder, small_lite, tmp_path, pixels):
    with pytest.raises(UsageError, match=r"quality 7\.5 does not exist for codec 'lite'; valid: 0 to 7"):
        encoder.encode(pixels, 7.5)
    with pytest.raises(ImageError, match="shape"):
        encoder.encode(pixels[None], 3)
    with pytest.raises(ImageError, match="max_pixels"):
        Encoder(exported, max_pixels=64 * 96 - 1).encode(pixels, 3)
    export_codec(small_lite, None, tmp_path)
    with pytest.raises(WeightsError, match="decoder alone: export the codec with --encoder"):
        Encoder(tmp_path)


def test_latents_that_no_stream_can_hold(encoder):
    y = np.full((1, 16, 4, 4), np.nan, dtype=np.float32)
    with pytest.raises(WeightsError, match="no stream can hold"):
        encoder._write_latents(y, np.zeros((1, 8, 1, 1), dtype=np.float32), 3.0, SymbolEncoder())
