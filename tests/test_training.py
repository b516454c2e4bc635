import json

import pytest
import torch
from compressai.entropy_models import GaussianConditional
from safetensors.torch import load_file
from torch import nn

from taskodec.cli_train import train as train_command
from taskodec.errors import SettingsError, UsageError, WeightsError
from taskodec.images import save_image
from taskodec.settings import TrainSettings
from taskodec.training import batch_at, learning_rate, parameter_groups, rd_loss, train

IMAGES = "docs/images"


@pytest.fixture
def settings():
    return TrainSettings(
        crop=32, late_crop=64, late_share=0.25, batch=4, steps=8, lr=1e-3, validate_every=4, checkpoint_minutes=60
    )


@pytest.fixture
def images(request):
    return [request.config.rootpath / "docs" / "images" / "kodim23.png"]


def test_training_lowers_the_loss(tiny_codec, images, tmp_path, settings):
    seen = []
    settings = settings.model_copy(update={"steps": 120, "lr": 1e-2, "late_share": 0.0})
    train(tiny_codec, images, tmp_path, settings, progress=lambda step, total, info: seen.append(info["loss"]))
    assert len(seen) == 120
    assert sum(seen[-20:]) < 0.7 * sum(seen[:20])


def test_a_resumed_run_ends_like_an_unbroken_one(tiny_codec, images, tmp_path, settings):
    start = {k: v.clone() for k, v in tiny_codec.state_dict().items()}
    whole = load_file(train(tiny_codec, images, tmp_path / "whole", settings))

    class Stopped(Exception):
        pass

    def stop_at_five(step, total, info):
        if step == 5:
            raise Stopped

    tiny_codec.load_state_dict(start)
    often = settings.model_copy(update={"checkpoint_minutes": 1e-9})
    with pytest.raises(Stopped):
        train(tiny_codec, images, tmp_path / "broken", often, progress=stop_at_five)
    resumed = load_file(train(tiny_codec, images, tmp_path / "broken", settings, resume=True))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_log_weights_and_settings_are_written(tiny_codec, images, tmp_path, settings):
    weights = train(tiny_codec, images, tmp_path / "run", settings, validation=images, resolved={"a": 1})
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    points = [line["validation"] for line in lines if "validation" in line]
    assert len(points) == 2
    assert [p["quality"] for p in points[0]] == list(tiny_codec.qualities)
    assert json.loads((tmp_path / "run" / "settings.json").read_text()) == {"a": 1}
    assert set(load_file(weights)) == {name for name, _ in tiny_codec.named_parameters()}
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "checkpoint.pt",
        "log.jsonl",
        "settings.json",
        "weights.safetensors",
    ]


def test_resuming_a_finished_run_only_writes_its_weights(tiny_codec, images, tmp_path, settings):
    finished = []
    tiny_codec.finish = lambda x: finished.append(x.shape)
    weights = train(tiny_codec, images, tmp_path, settings)
    before = load_file(weights)
    weights.unlink()
    steps = []
    assert (
        train(tiny_codec, images, tmp_path, settings, resume=True, progress=lambda *args: steps.append(args)) == weights
    )
    after = load_file(weights)
    assert steps == []
    assert finished == [(16, 3, 64, 64)] * 2
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class Measured(nn.Module):
    """A part with a buffer that `finish` sets, as `lite` has, and a cache of CompressAI's."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ranges", torch.zeros(3))
        self.prior = GaussianConditional([1.0, 2.0])


def test_buffers_that_finish_sets_are_saved(tiny_codec, images, tmp_path, settings):
    tiny_codec.measured = Measured()
    tiny_codec.finish = lambda x: tiny_codec.measured.ranges.fill_(5)
    saved = load_file(train(tiny_codec, images, tmp_path, settings))
    assert torch.equal(saved["measured.ranges"], torch.full((3,), 5.0))
    assert saved.keys() == {"measured.ranges"} | {name for name, _ in tiny_codec.named_parameters()}


def test_a_run_from_before_a_buffer_goes_on(tiny_codec, images, tmp_path, settings):
    train(tiny_codec, images, tmp_path, settings)
    tiny_codec.register_buffer("ranges", torch.zeros(3))
    tiny_codec.finish = lambda x: tiny_codec.ranges.fill_(5)
    longer = settings.model_copy(update={"steps": 10})
    steps = []
    saved = load_file(
        train(tiny_codec, images, tmp_path, longer, resume=True, progress=lambda step, *_: steps.append(step))
    )
    assert steps == [9, 10]
    assert torch.equal(saved["ranges"], torch.full((3,), 5.0))
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == 10


@pytest.mark.parametrize("change", ["codec", "groups", "file"])
def test_what_cannot_be_resumed_is_a_weights_error(tiny_codec, images, tmp_path, settings, change):
    train(tiny_codec, images, tmp_path, settings)
    if change == "codec":
        tiny_codec.g_a.append(nn.Conv2d(8, 8, 1))
    elif change == "groups":
        settings = settings.model_copy(update={"lr_scales": {"g_a.*": 0.1}})
    else:
        (tmp_path / "checkpoint.pt").write_bytes(b"cut off")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt (does not fit|is no checkpoint)"):
        train(tiny_codec, images, tmp_path, settings, resume=True)


def test_small_images_serve_runs_of_small_crops(tiny_codec, photo, tmp_path, settings):
    save_image(photo[..., :40, :40], tmp_path / "small.png")
    early = settings.model_copy(update={"steps": 1, "late_share": 0.0})
    assert train(tiny_codec, [tmp_path / "small.png"], tmp_path / "a", early).exists()
    with pytest.raises(UsageError, match="both sides of 64 pixels"):
        train(tiny_codec, [tmp_path / "small.png"], tmp_path / "b", settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_device_is_not_ignored(images, tmp_path):
    with pytest.raises(SettingsError, match="device"):
        train_command(data=images, output=tmp_path / "run", overrides=["device=cuda"], quiet=True)


def test_runs_are_not_overwritten_and_not_invented(tiny_codec, images, tmp_path, settings):
    with pytest.raises(WeightsError, match="nothing to resume"):
        train(tiny_codec, images, tmp_path, settings, resume=True)
    train(tiny_codec, images, tmp_path, settings)
    with pytest.raises(UsageError, match="--resume"):
        train(tiny_codec, images, tmp_path, settings)


def test_fixed_rate_codecs_are_refused(tiny_codec, images, tmp_path, settings):
    tiny_codec.continuous = False
    with pytest.raises(UsageError, match="one fixed rate"):
        train(tiny_codec, images, tmp_path, settings)


def test_every_level_is_in_the_loss(tiny_codec, photo):
    x = photo.repeat(2, 1, 1, 1)
    loss, parts = rd_loss(tiny_codec, x, torch.tensor([1.0, 4.0]))
    assert loss.requires_grad
    assert parts["bpp"].shape == parts["mse"].shape == (2,)
    assert float(parts["bpp"][1]) > float(parts["bpp"][0])


def test_schedule(settings, tiny_codec, images):
    long = settings.model_copy(update={"steps": 1000, "final_lr": 1e-6})
    rates = [learning_rate(step, long) for step in range(1000)]
    assert rates.index(max(rates)) in range(8, 12)
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-6, rel=0.1)


def test_learning_rates_by_name(tiny_codec, settings):
    groups = parameter_groups(tiny_codec, settings.model_copy(update={"lr_scales": {"g_a.0.*": 0.1, "g_a.*": 2.0}}))
    sizes = {group["scale"]: len(group["params"]) for group in groups}
    named = [name for name, _ in tiny_codec.named_parameters()]
    assert sizes == {0.1: 2, 2.0: 2, 1.0: len(named) - 4 - sum(name.endswith("quantiles") for name in named)}


def test_late_crops_are_larger_and_fewer(tiny_codec, settings, images):
    from taskodec.datasets import CropDataset

    dataset = CropDataset(images, 64)
    early, quality = batch_at(dataset, 0, settings, tiny_codec)
    late, _ = batch_at(dataset, 7, settings, tiny_codec)
    assert early.shape == (4, 3, 32, 32)
    assert late.shape == (2, 3, 64, 64)
    assert ((quality >= 1) & (quality <= 4)).all()
    assert quality.max() - quality.min() > 1.5
