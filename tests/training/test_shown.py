import json
import os
import signal

import pytest
import torch

from taskodec.adapters.files import load_adapter
from taskodec.adapters.lora import build_svd_lora
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import WeightsError
from taskodec.images.tensors import load_image
from taskodec.isolation.pieces import whole_size
from taskodec.settings.model import PretrainSettings, StageSettings
from taskodec.training.adapter import pretrain
from taskodec.training.costs import relative_cost, validate


@pytest.fixture
def settings():
    return PretrainSettings(
        stages=(StageSettings(until=1, crop=32),),
        batch=4,
        steps=8,
        lr=1e-2,
        validate_every=2,
        validation_images=2,
        calibration_crops=2,
        checkpoint_minutes=60,
    )


@pytest.fixture
def images(request):
    return [request.config.rootpath / "docs" / "images" / "kodim23.png"]


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec, rank=2)


def state(path):
    return torch.load(path / "checkpoint.pt", weights_only=True)["ema"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Scaled(FunctionTask):
    """Sees pictures scaled to a shorter side of 64 pixels, and crops as parts of them; remembers both."""

    def __init__(self, scale=1.0, seen=None):
        super().__init__("scaled", self.distance)
        self.scale, self.seen_scales = scale, [] if seen is None else seen

    def for_crops(self, sizes):
        return Scaled(64 / min(sizes[0]), self.seen_scales)

    def distance(self, x_hat, x):
        self.seen_scales.append(self.scale)
        small = [torch.nn.functional.interpolate(v, scale_factor=self.scale, mode="area") for v in (x_hat, x)]
        return (small[0] - 0.5 * small[1]).square().mean()


def test_crops_of_pictures_of_several_sizes(tiny_codec, images, tmp_path, settings):
    def run(folder, sizes=(40, 64, 256), **more):
        task, sized = Scaled(), settings.model_copy(update={"sizes": sizes})
        told = []
        adapter = build_svd_lora(tiny_codec, rank=2, modulation=4)
        adapter.modulation.register_forward_pre_hook(lambda *_: told.append(whole_size()))
        return pretrain(tiny_codec, adapter, task, images, folder, sized, validation=images, **more), task, told

    def interrupt(step, total, info):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    whole, task, told = run(tmp_path / "whole")
    assert set(task.seen_scales) == {64 / 40, 1.0, 1 / 4}
    assert set(told) == {(48, 64), (64, 96), (256, 352)}  # padded, of pictures of 4:3
    assert whole_size() is None
    assert len({tuple(way.balance.lmbdas) for way in whole.ways}) == 3
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", progress=interrupt)
    again, _, _ = run(tmp_path / "broken", resume=True)
    assert same(state(tmp_path / "whole"), state(tmp_path / "broken"))
    assert [way.state() for way in again.ways] == [way.state() for way in whole.ways]
    with pytest.raises(WeightsError, match=r"run of pretrain.sizes \[40, 64, 256\]: resume it with these"):
        run(tmp_path / "broken", sizes=(40, 64), resume=True)
    kept = load_adapter(tmp_path / "whole" / "adapter.safetensors", tiny_codec)
    assert same(kept.state(), whole.best)
    assert kept.modulation.size is not None
    assert any(bool(value.any()) for value in kept.modulation.size[-1].parameters())


def test_validation_is_of_all_sizes(tiny_codec, adapter, images, tmp_path, settings):
    sized = settings.model_copy(update={"sizes": (64, 256), "steps": 2})
    run = pretrain(tiny_codec, adapter, Scaled(), images, tmp_path, sized, validation=images)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    (points,) = [line["validation"] for line in lines if "validation" in line]
    picture = load_image(images[0]).x
    top, left = (picture.shape[2] - 32) // 2, (picture.shape[3] - 32) // 2
    pictures = [picture[..., top : top + 32, left : left + 32]]
    with run.model.applied(tiny_codec):
        each = [validate(tiny_codec, way.task, way.balance, pictures) for way in run.ways]
    assert points[0]["loss"] == pytest.approx((each[0][0]["loss"] + each[1][0]["loss"]) / 2)
    relative = [relative_cost(figures, way.untuned) for figures, way in zip(each, run.ways, strict=True)]
    assert run.best_cost == pytest.approx(sum(relative) / 2)


def test_without_sizes_a_modulation_that_sees_them_is_told_that_of_the_data(tiny_codec, images, tmp_path, settings):
    told = []
    adapter = build_svd_lora(tiny_codec, rank=2, modulation=4)
    adapter.modulation.see_sizes(16)
    adapter.modulation.register_forward_pre_hook(lambda *_: told.append(whole_size()))
    pretrain(tiny_codec, adapter, Scaled(), images, tmp_path, settings, validation=images)
    assert set(told) == {(512, 688)}  # kodim23, and its shorter side times four thirds, padded
