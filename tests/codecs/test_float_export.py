import numpy as np
import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.codecs.tic.codec import TIC
from taskodec.errors import UsageError
from taskodec.export.check import check_parity
from taskodec.export.folder import Form, export_codec
from taskodec.runtime import Decoder, Encoder

FAMILIES = {
    "bmshj2018-factorized": "factorized",
    "bmshj2018-hyperprior": "hyperprior",
    "mbt2018-mean": "hyperprior",
}
"""CompressAI's codecs that can be exported, with their recipes."""


def of_compressai(name):
    """A codec around a CompressAI network of few channels."""
    from taskodec.codecs.compressai import models as compressai_models

    loader = getattr(compressai_models, name.replace("-", "_"))
    sizes = (8, 8) if name in ("mbt2018", "mbt2018-mean-vbr") else (8, 12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return loader.family(name, loader.architecture(*sizes), (3.0,), (0.01,)).eval().requires_grad_(False)


def lively(codec, h_s=100.0):
    """Latents, scales and means of random networks are next to nothing."""
    for name, factor in (("g_a", 100.0), ("h_a", 30.0), ("h_s", h_s)):
        if hasattr(codec, name):
            layer = [part for part in codec.get_submodule(name).modules() if hasattr(part, "stride")][-1]
            layer.weight.mul_(factor)
    return codec.use_guard("portable")


def check(codec, adapter, folder, x):
    """Parity of pictures of two sizes; the streams must say something."""
    manifest = export_codec(codec, adapter, folder, Form(encoder=True))
    decoder, encoder = Decoder(folder), Encoder(folder)
    for piece in (x, x[:, :, :50, :30]):
        parities = list(check_parity(codec, adapter, decoder, piece, codec.qualities, encoder=encoder))
        assert [(p.encoder, p.tuned) for p in parities] == [("torch", False), ("torch", True), ("onnx", False)]
        assert all(p.fine and p.psnr > 70 for p in parities), parities
    assert float(codec.analysis(x, 3.0).y.abs().max()) > 2
    return manifest, decoder


@pytest.mark.compressai
@pytest.mark.parametrize("name", FAMILIES)
def test_codecs_in_floats_are_decoded_by_the_same_symbols(name, photo, tmp_path):
    small = lively(of_compressai(name))
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    manifest, _ = check(small, build_svd_lora(small, rank=2).requires_grad_(False), tmp_path, x)
    assert manifest.recipe == FAMILIES[name]
    assert manifest.encode_with == ({} if FAMILIES[name] == "factorized" else {"guard": "portable"})


def test_tic(photo, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = lively(TIC(N=16, M=16).eval().requires_grad_(False), h_s=10.0)
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    _, decoder = check(codec, build_svd_lora(codec, rank=2).requires_grad_(False), tmp_path, x)
    for size in ((4, 4), (8, 12), (20, 12)):  # y of pictures of several sizes; no window mask may be baked in
        y_hat = torch.randn(1, 16, *size, generator=torch.Generator().manual_seed(0))
        zeros = np.zeros_like(decoder._exported.arrays["singular_values"])
        found = decoder.synthesis(y_hat=y_hat.numpy(), singular_values=zeros)[0]
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), codec.g_s(y_hat), rtol=1e-4, atol=1e-4)


@pytest.mark.compressai
@pytest.mark.parametrize(("name", "message"), [("mbt2018", "lite"), ("mbt2018-mean-vbr", "tables of z")])
def test_the_others_are_refused_with_an_alternative(name, message, tmp_path):
    with pytest.raises(UsageError, match=f"cannot be exported: .*{message}"):
        export_codec(of_compressai(name), None, tmp_path)
