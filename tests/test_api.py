import numpy as np
import pytest
import torch

import taskodec
from taskodec.api import Compressor, Decompressor, compress, decompress
from taskodec.bitstream import Stream
from taskodec.errors import (
    DamagedStreamError,
    MismatchError,
    SettingsError,
    StreamError,
    UnsupportedStreamError,
    UsageError,
)
from taskodec.settings import load_settings

FEW = ["ttft.steps=4", "quality=2"]


def softer(x_hat, x):
    pool = torch.nn.functional.avg_pool2d
    return (pool(x_hat, 4) - pool(x, 4)).square().mean()


@pytest.fixture(scope="module")
def result():
    from pathlib import Path

    from taskodec.images import load_image

    x = load_image(Path(__file__).parents[1] / "docs" / "images" / "kodim23.png").x[..., 128:190, 192:285]
    return Compressor(load_settings(overrides=FEW), task=softer).compress(x)


def test_the_picture_is_the_one_that_was_judged(result):
    decoded = np.asarray(decompress(result.stream))
    assert decoded.shape == (62, 93, 3)
    assert np.array_equal(decoded, np.asarray(result.image))


def test_report_is_about_the_file(result):
    report = result.report()
    assert report["bytes"] == len(result.stream)
    assert report["bpp"] == pytest.approx(8 * len(result.stream) / (62 * 93))
    parts = report["bpp_latent"] + report["bpp_adapter"] + report["bpp_header"]
    assert parts == pytest.approx(report["bpp"])
    assert report["cost_after"] <= report["cost_before"]
    assert report["cost_after"] == pytest.approx(report["lmbda"] * report["task_loss_after"] + report["bpp"])
    assert report["steps"] == 4
    assert report["psnr"] > 20


def test_three_lines(photo, tmp_path):
    taskodec.register_task("softer-for-test", softer)
    stream = taskodec.compress(photo, task="softer-for-test", quality=1, steps=2)
    image = taskodec.decompress(stream)
    assert image.size == (96, 64)
    path = tmp_path / "a.tkd"
    path.write_bytes(stream)
    assert np.array_equal(np.asarray(taskodec.decompress(path)), np.asarray(image))


def test_more_quality_more_bytes(photo):
    sizes = [len(compress(photo, quality=q, steps=0)) for q in (1, 3, 6)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 2


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 2), (63, 64)])
def test_any_size(size):
    x = torch.rand(1, 3, *size)
    image = decompress(compress(x, quality=7, steps=2))
    assert image.size == size[::-1]


def test_what_a_decoder_refuses(result):
    with pytest.raises(DamagedStreamError):
        decompress(result.stream[:-1])
    with pytest.raises(StreamError, match="cannot be read"):
        decompress("no such file.tkd")
    with pytest.raises(UnsupportedStreamError, match="pixels"):
        Decompressor(load_settings(overrides=["limits.max_pixels=1000"])).decompress(result.stream)


def test_an_adapter_that_is_not_here(result):
    stream = Stream.from_bytes(result.stream)
    from dataclasses import replace

    other = Stream(replace(stream.header, adapter_fingerprint=b"none"), stream.payload)
    with pytest.raises(MismatchError, match="6e6f6e65"):
        decompress(other.to_bytes())
    hostile = replace(other.header, metadata={"adapter": "svd-lora", "rank": "many"})
    with pytest.raises(MismatchError, match="cannot be made"):
        decompress(Stream(hostile, stream.payload).to_bytes())


def test_adapter_options_travel_when_they_must(photo):
    settings = load_settings(
        overrides=[
            "adapter.options.rank=2",
            "ttft.phases=[{train: [decoder], steps: 20, lr: 0.1}]",
            "quality=1",
            "task.lmbda=3000",
        ]
    )

    def darker(x_hat, x):
        return (x_hat - 0.7 * x).square().mean()

    result = Compressor(settings, task=darker).compress(photo)
    assert result.tuned.best.name == "decoder"
    assert Stream.from_bytes(result.stream).header.metadata == {"adapter": "svd-lora", "rank": 2}
    assert np.array_equal(np.asarray(decompress(result.stream)), np.asarray(result.image))


def test_calls_that_make_no_sense(photo):
    with pytest.raises(SettingsError, match="not both"):
        compress(photo, quality=2, settings=load_settings())
    with pytest.raises(UsageError, match="1 to 7"):
        compress(photo, quality=9)
    with pytest.raises(UsageError, match="lite"):
        compress(photo, codec="lyte")
