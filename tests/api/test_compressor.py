import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import taskodec
from taskodec.api.compressor import Compressor, compress, decompress
from taskodec.api.decompressor import Decompressor
from taskodec.errors import (
    DamagedStreamError,
    ImageError,
    MismatchError,
    SettingsError,
    StreamError,
    UnsupportedStreamError,
    UsageError,
)
from taskodec.settings.model import load_settings
from taskodec.stream.bitstream import Stream

FEW = ["ttft.steps=4", "quality=2"]


def softer(x_hat, x):
    pool = torch.nn.functional.avg_pool2d
    return (pool(x_hat, 4) - pool(x, 4)).square().mean()


@pytest.fixture(scope="module")
def result():
    from pathlib import Path

    from taskodec.images.tensors import load_image

    x = load_image(Path(__file__).parents[2] / "docs" / "images" / "kodim23.png").x[..., 128:190, 192:285]
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
            "ttft.phases=[{train: [decoder], steps: 20, lr: 0.02}]",
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


def test_images_too_large_to_tune(photo):
    small = load_settings(overrides=["limits.max_tuning_pixels=1000"])
    with pytest.raises(ImageError, match=r"max_tuning_pixels.*--steps 0"):
        Compressor(small).compress(photo)
    untuned = load_settings(overrides=["limits.max_tuning_pixels=1000", "ttft.steps=0"])
    assert Compressor(untuned).compress(photo).tuned.best.name == "untuned"


def test_calls_that_make_no_sense(photo):
    with pytest.raises(SettingsError, match="not both"):
        compress(photo, quality=2, settings=load_settings())
    with pytest.raises(UsageError, match=r"quality 9 does not exist .*to 7"):
        compress(photo, quality=9)
    with pytest.raises(UsageError, match="lite"):
        compress(photo, codec="lyte")


def tiny_settings(*overrides):
    return load_settings(overrides=["codec=tiny", "ttft.steps=2", *overrides])


def test_what_was_used_is_reported(tiny_registry, photo):
    result = Compressor(tiny_settings("quality=2.53", "task.lmbda=5"), tiny_registry, task=softer).compress(photo)
    report = result.report()
    assert (report["codec"], report["task"], report["quality"]) == ("tiny", "softer", 2.5)
    assert report["settings"]["quality"] == Stream.from_bytes(result.stream).header.quality == 2.5
    task = {"name": "softer", "options": {}, "shares": {}, "lmbda": 5, "lmbdas": {}, "lmbda_scale": 1}
    assert report["settings"]["task"] == task
    assert report["settings"]["ttft"]["steps"] == 2
    assert report["notes"] == ["quality 2.53 rounded to 2.5: streams hold multiples of 1/16"]
    again = (
        Compressor(tiny_settings("adapter.options.path=x", "ttft.preset=latents"), tiny_registry)
        .compress(photo)
        .report()
    )
    assert (again["task"], again["settings"]["adapter"]["options"]) == ("human", {"path": "x"})
    # no adapter is in the stream, so nothing of it is missing
    assert (again["adapter"], again.get("notes")) == (None, None)


def test_a_function_has_no_options_whatever_the_preset_of_the_named_task_says(tiny_registry, photo):
    report = Compressor(tiny_settings("task.name=cls"), tiny_registry, task=softer).compress(photo).report()
    assert (report["task"], report["settings"]["task"]["options"]) == ("softer", {})


def test_codecs_without_an_adapter_have_their_latents_tuned(tiny_registry, photo, monkeypatch, tiny_codec):
    monkeypatch.setattr(type(tiny_codec), "adapter_layers", lambda self, side: {})
    assert "notes" not in Compressor(tiny_settings("ttft.preset=latents"), tiny_registry).compress(photo).report()
    result = Compressor(tiny_settings(), tiny_registry).compress(photo)
    assert result.report()["steps"] == 2
    assert "only latents are tuned, codec 'tiny' cannot have an adapter" in result.notes[0]
    for wrong in ("ttft.preset=paper", "adapter.options.rank=2"):
        with pytest.raises(UsageError, match="at least one layer"):
            Compressor(tiny_settings(wrong), tiny_registry)


def test_the_published_preset_writes_streams_that_decode(tiny_registry, photo):
    settings = tiny_settings("ttft.preset=paper", "ttft.steps=3")
    result = Compressor(settings, tiny_registry).compress(photo)
    assert Stream.from_bytes(result.stream).header.absolute
    assert np.array_equal(
        np.asarray(Decompressor(settings, tiny_registry).decompress(result.stream)), np.asarray(result.image)
    )


DECODE = """
import sys
import taskodec
taskodec.decompress("photo.tkd").save("decoded.png")
needless = {"taskodec.tasks.human", "taskodec.tasks.features", "taskodec.plugins.networks.imagenet", "timm"}
print(*sorted(needless & set(sys.modules)), *(name for name in sys.modules if name.startswith("taskodec_file")))
"""


def test_decoding_in_a_new_process_without_the_task(photo, tmp_path):
    loss = tmp_path / "darker.py"
    loss.write_text("def loss(x_hat, x):\n    return (x_hat - 0.7 * x).square().mean()\n")
    phases = "ttft.phases=[{train: [decoder], steps: 20, lr: 0.02}]"
    settings = load_settings(overrides=[phases, "quality=1", "task.lmbda=3000", f"task.name={loss}:loss"])
    result = Compressor(settings).compress(photo)
    assert result.tuned.best.name == "decoder"
    (tmp_path / "photo.tkd").write_bytes(result.stream)
    loss.unlink()
    call = [sys.executable, "-W", "error::FutureWarning", "-c", DECODE]
    run = subprocess.run(call, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.split() == []
    with Image.open(tmp_path / "decoded.png") as decoded:
        assert np.array_equal(np.asarray(decoded), np.asarray(result.image))


def test_a_codec_that_is_loaded_already(tiny_registry, photo, tiny_codec):
    settings = load_settings(overrides=["codec.name=tiny", "ttft.steps=0", "quality=2.5"])
    compressor = Compressor(settings, tiny_registry, codec=tiny_codec)
    assert compressor.codec is tiny_codec
    assert compressor.compress(photo).stream == Compressor(settings, tiny_registry).compress(photo).stream
    with pytest.raises(UsageError, match="quality 9 does not exist"):
        Compressor(settings.model_copy(update={"quality": 9}), tiny_registry, codec=tiny_codec)
