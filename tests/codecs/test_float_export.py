import numpy as np
import pytest
import torch
from compressai import models

from taskodec.adapters.lora import build_svd_lora
from taskodec.codecs.compressai.families import Autoregressive, Factorized, Hyperprior, ScaleHyperprior
from taskodec.codecs.compressai.vbr import VariableHyperprior
from taskodec.codecs.tic.codec import TIC
from taskodec.errors import UsageError
from taskodec.export.check import check_parity
from taskodec.export.folder import Form, export_codec
from taskodec.runtime import Decoder, Encoder

FAMILIES = {
    "bmshj2018-factorized": (Factorized, models.FactorizedPrior),
    "bmshj2018-hyperprior": (ScaleHyperprior, models.ScaleHyperprior),
    "mbt2018-mean": (Hyperprior, models.MeanScaleHyperprior),
}


def lively(codec, h_s=100.0):
    """Latents, scales and means of random networks are next to nothing."""
    for name, factor in (("g_a", 100.0), ("h_a", 30.0), ("h_s", h_s)):
        if hasattr(codec, name):
            layer = [part for part in codec.get_submodule(name).modules() if hasattr(part, "stride")][-1]
            layer.weight.mul_(factor)
    return codec.use_guard("portable")


@pytest.fixture(scope="module", params=FAMILIES)
def small(request):
    family, architecture = FAMILIES[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return lively(family(request.param, architecture(8, 12), (3.0,), (0.01,)).eval().requires_grad_(False))


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


def test_codecs_in_floats_are_decoded_by_the_same_symbols(small, photo, tmp_path):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    manifest, _ = check(small, build_svd_lora(small, rank=2).requires_grad_(False), tmp_path, x)
    assert manifest.recipe == ("factorized" if isinstance(small, Factorized) else "hyperprior")
    assert manifest.encode_with == ({} if isinstance(small, Factorized) else {"guard": "portable"})


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


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (
            lambda: Autoregressive("mbt2018", models.JointAutoregressiveHierarchicalPriors(8, 8), (3.0,), (0.01,)),
            "lite",
        ),
        (
            lambda: VariableHyperprior("mbt2018-mean-vbr", models.MeanScaleHyperpriorVbr(8, 8), (3.0,), (0.01,)),
            "tables of z",
        ),
    ],
)
def test_the_others_are_refused_with_an_alternative(codec, message, tmp_path):
    with pytest.raises(UsageError, match=f"cannot be exported: .*{message}"):
        export_codec(codec(), None, tmp_path)
