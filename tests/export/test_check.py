from dataclasses import replace

import numpy as np
import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.codecs.lite.loading import load_lite
from taskodec.export.check import check_parity
from taskodec.export.folder import Form, export_codec
from taskodec.images.tensors import pad_to
from taskodec.runtime import Decoder


@pytest.fixture
def decoder(exported):
    return Decoder(exported)


@pytest.fixture
def x(photo):
    return torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")


def test_an_exported_decoder_passes(small_lite, small_adapter, decoder, x):
    parities = list(check_parity(small_lite, small_adapter, decoder, x, [0.0, 7.0]))
    assert [(p.quality, p.tuned) for p in parities] == [(0.0, False), (0.0, True), (7.0, False), (7.0, True)]
    assert all(p.fine and p.latents == 16 * 4 * 8 and not p.shift for p in parities)


def test_another_picture_fails(small_lite, small_adapter, decoder, x):
    synthesis, decoder.synthesis = decoder.synthesis, lambda **inputs: [synthesis(**inputs)[0] + np.float32(0.01)]
    assert not any(p.fine or p.wrong for p in check_parity(small_lite, small_adapter, decoder, x, [3.0]))


def test_other_latents_fail(small_lite, small_adapter, decoder, x):
    read, decoder._read_latents = decoder._read_latents, lambda *arguments: np.nextafter(read(*arguments), 1e9)
    parities = list(check_parity(small_lite, small_adapter, decoder, x, [3.0]))
    assert [p.wrong for p in parities] == [p.latents for p in parities]
    assert not any(p.fine for p in parities)


def test_what_the_decoder_refuses_fails(small_lite, decoder, x):
    other = build_svd_lora(small_lite, rank=3).requires_grad_(False)
    plain, tuned = check_parity(small_lite, other, decoder, x, [3.0])
    assert plain.fine
    assert not tuned.fine
    assert "needs adapter" in tuned.error


@pytest.mark.parametrize(("precision", "share"), [("float16", 0.85), ("int8", 0.75)])
def test_weights_in_fewer_bits_lose_little(small_lite, small_adapter, exported, x, tmp_path, precision, share):
    """Most of a small codec's file is its graph."""
    export_codec(small_lite, small_adapter, tmp_path, Form(precision=precision))
    for name in ("hyper", "context"):
        assert (tmp_path / f"{name}.onnx").read_bytes() == (exported / f"{name}.onnx").read_bytes()
    assert (tmp_path / "synthesis.onnx").stat().st_size < share * (exported / "synthesis.onnx").stat().st_size
    parities = list(check_parity(small_lite, small_adapter, Decoder(tmp_path), x, [3.0]))
    assert all(p.fine and not p.exact and not p.wrong for p in parities)
    assert all(abs(p.lost) < 0.1 and p.psnr < 100 for p in parities)
    assert not replace(parities[0], lost=0.31).fine


def test_8_bits_do_not_show_with_the_shipped_weights(photo, tmp_path):
    """At the highest quality, where the picture is best; with 8 bits to the last filter they lost a third of a dB."""
    lite = load_lite().requires_grad_(False)
    export_codec(lite, None, tmp_path, Form(precision="int8"))
    (parity,) = check_parity(lite, None, Decoder(tmp_path), pad_to(photo, lite.stride), [7.0])
    assert parity.psnr > 52
    assert abs(parity.lost) < 0.05
