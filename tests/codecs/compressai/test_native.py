"""CompressAI's own models as anchors of speed."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from compressai import zoo
from PIL import Image
from torch.nn import functional as F

from taskodec.codecs.compressai.native import NativeAnchor, bmshj2018_hyperprior, mbt2018_mean
from taskodec.coding.stages import Staged, record
from taskodec.errors import ImageError, UsageError
from taskodec.hooks.specs import Anchor
from taskodec.images.tensors import load_image, to_pil

LOADERS = {"bmshj2018_hyperprior": bmshj2018_hyperprior, "mbt2018_mean": mbt2018_mean}
SIDES = {"encode": {"g_a", "h_a", "h_s", "coder"}, "decode": {"h_s", "coder", "g_s"}}


@pytest.fixture(scope="module")
def anchors() -> dict[str, NativeAnchor]:
    return {name: load() for name, load in LOADERS.items()}


@pytest.fixture
def picture(photo: torch.Tensor) -> Image.Image:
    """Of a size that is no multiple of 64."""
    return to_pil(photo[..., :50, :70])


@pytest.mark.parametrize("name", LOADERS)
def test_it_is_an_anchor_with_stages(name: str, anchors: dict[str, NativeAnchor]) -> None:
    one = anchors[name]
    assert isinstance(one, Anchor)
    assert isinstance(one, Staged)
    assert one.qualities == (3,)
    assert "random weights of seed 0" in one.version


@pytest.mark.parametrize("name", LOADERS)
def test_it_codes_as_compressai_does(name: str, anchors: dict[str, NativeAnchor], picture: Image.Image) -> None:
    """The same network made by hand, with CompressAI's centred padding of zeros, gives the same strings and picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(zoo, name)(quality=3).eval()
    net.update(force=True)
    x = load_image(picture).x
    with torch.no_grad():
        coded = net.compress(F.pad(x, (29, 29, 7, 7)))
        x_hat = net.decompress(coded["strings"], coded["shape"])["x_hat"][..., 7:57, 29:99]
    data = anchors[name].encode(picture, 3)
    (y,), (z,) = coded["strings"]
    assert data[20:-4] == y + z
    assert struct.unpack_from("<5I", data) == (70, 50, 1, 2, len(y))
    np.testing.assert_array_equal(np.asarray(anchors[name].decode(data)), np.asarray(to_pil(x_hat)))


def test_loading_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    mbt2018_mean()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", LOADERS)
def test_its_stages_cover_both_sides(name: str, anchors: dict[str, NativeAnchor], picture: Image.Image) -> None:
    one = anchors[name]
    with record(one.stages()) as spans:
        data = one.encode(picture, 3)
        assert {span.stage.part for span in spans} == SIDES["encode"]
        spans.clear()
        one.decode(data)
        assert {span.stage.part for span in spans} == SIDES["decode"]


def test_bytes_that_are_not_whole_never_reach_the_decoder(
    anchors: dict[str, NativeAnchor], picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = anchors["mbt2018_mean"]
    data = one.encode(picture, 3)
    monkeypatch.setattr(one.net, "decompress", lambda *_: pytest.fail("was called"))
    flipped = bytes([*data[:30], data[30] ^ 1, *data[31:]])
    for damaged in (b"", data[:3], data[:-1], flipped, struct.pack("<I", zlib.crc32(b""))):
        with pytest.raises(ImageError, match="no readable compressai-mbt2018-mean file"):
            one.decode(damaged)


def test_other_qualities_are_refused(anchors: dict[str, NativeAnchor], picture: Image.Image) -> None:
    with pytest.raises(UsageError, match="quality 4 is not valid for compressai-mbt2018-mean; valid: 3"):
        anchors["mbt2018_mean"].encode(picture, 4)
