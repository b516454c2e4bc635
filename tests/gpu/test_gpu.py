"""What a GPU must do as a CPU does: `lite` with its own weights, on either side of a stream, and in training.

Skipped where there is none. `TASKODEC_TEST_DEVICE=cpu` runs them all the same, on the CPU, as a rehearsal.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import taskodec
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.api.loading import load_codec
from taskodec.contracts import Codec
from taskodec.hooks.registry import default_registry
from taskodec.images.tensors import load_image
from taskodec.settings.model import CodecSettings, Settings, StageSettings, TrainSettings, load_settings
from taskodec.stream.bitstream import Stream
from taskodec.training.codec import train

DEVICE = os.environ.get("TASKODEC_TEST_DEVICE", "cuda")
PHOTO = Path(__file__).parents[2] / "docs" / "images" / "kodim23.png"

pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU; TASKODEC_TEST_DEVICE=cpu rehearses"
)


def settings(device: str, **flags: object) -> Settings:
    return load_settings(flags={"device": device, **flags})


@pytest.fixture
def lite() -> Codec:
    return load_codec(default_registry(), CodecSettings(name="lite"), 3.0)


@pytest.fixture
def x() -> torch.Tensor:
    """A 256x256 piece of a photograph."""
    return load_image(PHOTO).x[:, :, 128:384, 256:512].clone()


def image_of(x: torch.Tensor) -> np.ndarray:
    return (x[0].permute(1, 2, 0) * 255).round().byte().numpy()


@torch.no_grad()
def test_a_codec_moves_there_and_back(lite: Codec, x: torch.Tensor) -> None:
    here = lite(x, 3.0, "hard")
    there = lite.to(DEVICE)(x.to(DEVICE), 3.0, "hard")
    assert {p.device.type for p in lite.parameters()} == {DEVICE}
    error = (there.x_hat.cpu() - here.x_hat).abs()
    assert float(error.mean()) < 1e-3  # a symbol on the edge may fall to the other side
    bits = [sum(float(-part.log2().sum()) for part in output.likelihoods.values()) for output in (here, there)]
    assert bits[1] == pytest.approx(bits[0], rel=1e-2)
    again = lite.to("cpu")(x, 3.0, "hard")
    assert torch.equal(again.x_hat, here.x_hat)


@torch.no_grad()
def test_channels_last_changes_the_layout_alone(lite: Codec, x: torch.Tensor) -> None:
    codec, there = lite.to(DEVICE), x.to(DEVICE)
    plain = codec.synthesis(codec.analysis(there, 3.0).y.round(), 3.0)
    codec.to(memory_format=torch.channels_last)
    there = there.to(memory_format=torch.channels_last)
    last = codec.synthesis(codec.analysis(there, 3.0).y.round(), 3.0)
    assert float((last - plain).abs().mean()) < 1e-3


def test_bf16_has_a_gradient_and_the_same_loss(lite: Codec, x: torch.Tensor) -> None:
    codec, there = lite.to(DEVICE).train(), x.to(DEVICE)
    losses = []
    for enabled in (False, True):
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=enabled):
            output = codec(there, 3.0, "ste")
        loss = (output.x_hat.float() - there).square().mean()
        loss.backward()
        losses.append(float(loss.detach()))
        gradients = [p.grad for name, p in codec.named_parameters() if name.startswith("g_") and p.grad is not None]
        assert gradients
        assert all(bool(g.isfinite().all()) for g in gradients)
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize("quality", [1.0, 3.5, 7.0])
@pytest.mark.parametrize(("encoder", "decoder"), [(DEVICE, "cpu"), ("cpu", DEVICE), (DEVICE, DEVICE)])
def test_streams_go_from_device_to_device(x: torch.Tensor, quality: float, encoder: str, decoder: str) -> None:
    """Networks that decide on tables are integers: no symbol may come out otherwise on another device."""
    flags = {"quality": quality, "ttft.steps": 0}
    result = Compressor(settings(encoder, **flags)).compress(image_of(x))
    pictures = [
        np.asarray(Decompressor(settings(device)).decompress(result.stream), dtype=int) for device in (decoder, "cpu")
    ]
    difference = np.abs(pictures[0] - pictures[1])
    assert difference.max() <= 2
    assert difference.mean() < 0.05


def test_tuning_there_gives_a_stream_for_here(x: torch.Tensor) -> None:
    image = image_of(x)
    flags = {"task.name": "human", "task.options.metric": "mse"}
    untuned = Compressor(settings(DEVICE, **flags, **{"ttft.steps": 0})).compress(image)
    tuned = Compressor(settings(DEVICE, **flags, **{"ttft.steps": 8})).compress(image)
    pictures = [
        np.asarray(taskodec.decompress(each.stream, settings=settings("cpu")), dtype=int) for each in (untuned, tuned)
    ]
    lmbda = 0.0035 * 255**2  # of quality 3
    costs = [
        lmbda * np.square((picture - image) / 255).mean() + 8 * len(each.stream) / (256 * 256)
        for picture, each in zip(pictures, (untuned, tuned), strict=True)
    ]
    assert costs[1] <= costs[0] * 1.001


def test_images_are_tuned_together_there(x: torch.Tensor) -> None:
    images = [image_of(x), image_of(x.flip(3)), image_of(x.flip(2))]
    compressor = Compressor(settings(DEVICE, **{"task.name": "human", "ttft.steps": 4}))
    results = compressor.compress_batch(images)
    for image, result in zip(images, results, strict=True):
        assert not isinstance(result, Exception), result
        assert Stream.from_bytes(result.stream).header
        picture = np.asarray(Decompressor(settings("cpu")).decompress(result.stream), dtype=int)
        assert 10 * np.log10(255**2 / np.square(picture - image).mean()) > 25


def test_a_run_that_began_there_ends_here(lite: Codec, tmp_path: Path) -> None:
    stages = (StageSettings(until=0.5, crop=64, bf16=True), StageSettings(until=1, crop=128))
    run = TrainSettings(stages=stages, batch=4, steps=4, cache_on_device=True, checkpoint_minutes=60)
    first = train(lite.to(DEVICE), [PHOTO], tmp_path, run.model_copy(update={"steps": 3}), fresh=False)
    assert all(bool(value.isfinite().all()) for value in load_file(first).values())
    steps = []
    train(
        lite.to("cpu"), [PHOTO], tmp_path, run, resume=True, fresh=False, progress=lambda step, *_: steps.append(step)
    )
    assert steps == [4]


def test_recorded_steps_are_those_that_are_not(tmp_path: Path) -> None:
    """Graphs, in two stages of other crops and precision, come to the weights that single kernels come to."""
    stages = (
        StageSettings(until=0.5, crop=64, rounding="ste"),
        StageSettings(until=1, crop=128, rounding="ste", bf16=True),
    )
    found = []
    for graphs in (False, True):
        run = TrainSettings(stages=stages, batch=4, steps=6, cache_on_device=True, cuda_graphs=graphs, lr=1e-4)
        codec = load_codec(default_registry(), CodecSettings(name="lite"), 3.0).to(DEVICE)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "no CUDA graph")
            found.append(load_file(train(codec, [PHOTO], tmp_path / str(graphs), run, fresh=False)))
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-2, atol=2e-4), name
