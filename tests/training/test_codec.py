import copy
import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from taskodec.cli.train import train as train_command
from taskodec.contracts import Latents
from taskodec.errors import ImageError, SettingsError, UsageError, WeightsError
from taskodec.images.tensors import save_image
from taskodec.settings.model import StageSettings, TrainSettings
from taskodec.training.codec import train, validate
from taskodec.training.losses import rd_loss

SMALL = (StageSettings(until=1, crop=32),)


@pytest.fixture
def settings():
    stages = ({"until": 0.75, "crop": 32}, {"until": 1, "crop": 64})
    return TrainSettings(stages=stages, batch=4, steps=8, lr=1e-3, validate_every=4, checkpoint_minutes=60)


@pytest.fixture
def images(request):
    return [request.config.rootpath / "docs" / "images" / "kodim23.png"]


def test_training_lowers_the_loss(tiny_codec, images, tmp_path, settings):
    seen = []
    settings = settings.model_copy(update={"steps": 120, "lr": 1e-2, "stages": SMALL})
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
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith("events.")) == [
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
    """A part with a buffer that `finish` sets, as `lite` has, and a cache."""

    not_weights = frozenset({"table"})

    def __init__(self):
        super().__init__()
        self.register_buffer("ranges", torch.zeros(3))
        self.register_buffer("table", torch.ones(2))


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
    early = settings.model_copy(update={"steps": 1, "stages": SMALL})
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


def test_a_codec_of_one_level_is_trained_for_that(tiny_codec, images, tmp_path, settings):
    tiny_codec.continuous, tiny_codec.qualities = False, (2.0,)
    seen: list[float] = []
    lmbda = tiny_codec.lmbda
    tiny_codec.lmbda = lambda quality: (seen.append(quality), lmbda(quality))[1]
    train(tiny_codec, images, tmp_path, settings)
    assert set(seen) == {2.0}


def test_codecs_with_levels_and_nothing_between_them_are_refused(tiny_codec, images, tmp_path, settings):
    tiny_codec.continuous = False
    with pytest.raises(UsageError, match="nothing between them"):
        train(tiny_codec, images, tmp_path, settings)


def test_every_level_is_in_the_loss(tiny_codec, photo):
    x = photo.repeat(2, 1, 1, 1)
    loss, parts = rd_loss(tiny_codec, x, torch.tensor([1.0, 4.0]))
    assert loss.requires_grad
    assert parts["bpp"].shape == parts["mse"].shape == (2,)
    assert float(parts["bpp"][1]) > float(parts["bpp"][0])


def test_rounding_is_chosen(tiny_codec, photo):
    def loss(rounding):
        return rd_loss(tiny_codec, photo, torch.tensor([3.0]), rounding)[0].item()

    assert len({loss(rounding) for rounding in ("noise", "ste", "mixed")}) == 3
    assert loss("ste") == loss("ste")
    assert loss("mixed") != loss("mixed")


@pytest.mark.parametrize("rounding", ["noise", "ste"])
def test_every_stage_has_its_rounding_and_precision(tiny_codec, images, tmp_path, settings, rounding):
    stages = (StageSettings(until=0.5, crop=32, rounding=rounding, bf16=True), StageSettings(until=1, crop=64))
    seen = []
    forward = tiny_codec.forward

    def watched(x, quality, chosen):
        if tiny_codec.training:
            seen.append((tuple(x.shape), chosen, torch.is_autocast_enabled("cpu")))
        return forward(x, quality, chosen)

    tiny_codec.forward = watched
    train(tiny_codec, images, tmp_path, settings.model_copy(update={"steps": 2, "stages": stages}))
    assert seen == [((4, 3, 32, 32), rounding, True), ((2, 3, 64, 64), "mixed", False)]


def test_validation_is_the_mean_over_the_images(tiny_codec, pictures):
    paths = sorted(pictures.iterdir())
    both = validate(tiny_codec, paths, (1.0, 3.0))
    each = [validate(tiny_codec, [path], (1.0, 3.0)) for path in paths]
    for i, point in enumerate(both):
        for key in ("bpp", "psnr"):
            assert point[key] == pytest.approx((each[0][i][key] + each[1][i][key]) / 2, rel=1e-5)


def test_the_limit_of_pictures_holds(tiny_codec, images, pictures, tmp_path, settings):
    data = [pictures / "one.png"]
    with pytest.raises(ImageError, match=r"kodim23\.png is 768x512 pixels: the limit is 393215 in all"):
        train(tiny_codec, data, tmp_path / "a", settings, validation=images, max_pixels=768 * 512 - 1)
    train(tiny_codec, data, tmp_path / "b", settings, validation=images, max_pixels=768 * 512)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_at_a_checkpoint(tiny_codec, images, tmp_path, settings, number):
    start = {k: v.clone() for k, v in tiny_codec.state_dict().items()}
    whole = load_file(train(tiny_codec, images, tmp_path / "whole", settings))
    tiny_codec.load_state_dict(start)

    def interrupt(step, total, info):
        if step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 3 of 8.* --resume"):
        train(tiny_codec, images, tmp_path / "run", settings, progress=interrupt)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 3
    resumed = load_file(train(tiny_codec, images, tmp_path / "run", settings, resume=True))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_change_nothing(tiny_codec, images, tmp_path, settings):
    start = {k: v.clone() for k, v in tiny_codec.state_dict().items()}
    alone = load_file(train(tiny_codec, images, tmp_path / "alone", settings))
    tiny_codec.load_state_dict(start)
    helped = load_file(
        train(tiny_codec, images, tmp_path / "helped", settings.model_copy(update={"workers": 2, "cache_mb": 0}))
    )
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_pictures_that_vanish_end_a_run_with_an_error(tiny_codec, picture, tmp_path, settings):
    def remove(step, total, info):
        picture.unlink(missing_ok=True)

    no_cache = settings.model_copy(update={"cache_mb": 0})
    with pytest.warns(UserWarning, match="passed over"), pytest.raises(UsageError, match=r"100 pictures .*photo\.png"):
        train(tiny_codec, [picture], tmp_path / "run", no_cache, progress=remove)


def test_the_entropy_model_computes_in_32_bits(tiny_codec, photo):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        latents = tiny_codec.analysis(photo, 2.0)
        likelihoods = tiny_codec(photo, 2.0, "ste").likelihoods
    exact = tiny_codec.entropy(Latents(latents.y.float(), latents.z.float()), 2.0, "ste").likelihoods
    assert latents.z.dtype == torch.bfloat16
    assert all(torch.equal(likelihoods[name], exact[name]) for name in ("y", "z"))


def test_by_the_clock_a_run_ends_with_its_seconds(tiny_codec, images, tmp_path, settings, clock, monkeypatch):
    """Steps take two seconds each: eight steps would be sixteen of them."""
    monkeypatch.setattr("taskodec.training.codec.time.monotonic", clock)
    timed = settings.model_copy(update={"time_budget": 10.0})
    sizes = []

    def loss(codec, x, *others):
        clock.now += 2
        sizes.append(x.shape[-1])
        return rd_loss(codec, x, *others)

    monkeypatch.setattr("taskodec.training.losses.rd_loss", loss)
    train(tiny_codec, images, tmp_path / "a", timed, validation=images)
    assert sizes == [32, 32, 32, 32, 64]
    lines = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation" in line] == [4, 5]
    sizes.clear()
    longer = timed.model_copy(update={"time_budget": 16.0})
    train(tiny_codec, images, tmp_path / "a", longer, resume=True)
    assert sizes == [32, 64, 64]


def test_crops_cut_on_the_device_are_the_same(tiny_codec, images, tmp_path, settings):
    start = copy.deepcopy(tiny_codec)
    usual = load_file(train(tiny_codec, images, tmp_path / "a", settings))
    there = settings.model_copy(update={"cache_on_device": True})
    other = load_file(train(start, images, tmp_path / "b", there))
    assert all(torch.equal(usual[name], other[name]) for name in usual)
    with pytest.raises(UsageError, match="workers: processes cannot cut crops on the device"):
        train(start, images, tmp_path / "c", there.model_copy(update={"workers": 2}))
