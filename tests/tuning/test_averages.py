from dataclasses import replace

import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.contracts.function_task import FunctionTask
from taskodec.settings.model import PhaseSettings, TTFTSettings
from taskodec.tuning.averages import Averages
from taskodec.tuning.gains import why_untuned
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


def phase(steps=20, lr_latents=0.3, **options):
    train = options.pop("train", ("latents",))
    options = {"rounding": "mixed", "schedule": "constant", "average": 10, "backtrack": 0.3, **options}
    return PhaseSettings(train=train, steps=steps, lr_latents=lr_latents, **options)


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec)


def test_the_average_is_of_all_values_and_then_of_the_last_ones():
    v = torch.zeros(1)
    averages = Averages([v], 4)
    for value in (2.0, 4.0, 6.0):
        v.fill_(value)
        averages.stepped()
    with averages.applied():
        assert v.item() == pytest.approx(3)  # of 0, 2, 4 and 6
    assert v.item() == 6
    v.fill_(11.0)
    averages.stepped()
    with averages.applied():
        assert v.item() == pytest.approx(3 + (11 - 3) / 4)


def test_the_way_back_is_to_the_marked_average_and_averages_begin_anew():
    v = torch.zeros(1)
    averages = Averages([v], 10)
    v.fill_(2.0)
    averages.stepped()
    averages.mark()
    v.fill_(50.0)
    averages.stepped()
    averages.back()
    assert v.item() == 1
    v.fill_(3.0)
    averages.stepped()
    with averages.applied():
        assert v.item() == 2


def test_averages_begin_anew_with_the_values_of_now():
    v = torch.zeros(1)
    averages = Averages([v], 10)
    v.fill_(2.0)
    averages.stepped()
    averages.anew()
    averages.mark()
    v.fill_(4.0)
    averages.stepped()
    with averages.applied():
        assert v.item() == 3
    averages.back()
    assert v.item() == 2


@pytest.mark.parametrize("lr", [30.0, 100.0])
def test_steps_that_are_far_too_large_find_their_size(tiny_codec, adapter, photo, lr):
    tuner = Tuner(tiny_codec, adapter, mse, 2.0)
    tuned = tuner.tune(photo, [phase(60, lr)])
    assert tuned.best.cost < tuned.untuned.cost
    stubborn = tuner.tune(photo, [phase(60, lr, backtrack=1.0)])
    assert tuned.best.cost < stubborn.best.cost


def test_a_variable_that_is_left_out_stays_as_it_is():
    first, second = torch.zeros(2), torch.zeros(3)
    averages = Averages([first, second], 4)
    first += 1
    averages.stepped()
    averages.forget(first)
    second += 2
    averages.stepped()
    averages.back()
    assert torch.equal(first, torch.ones(2))
    assert torch.equal(second, torch.zeros(3))  # as it was marked at first


@pytest.mark.parametrize("train", [("latents", "decoder"), ("encoder",), ("latents", "encoder", "decoder")])
def test_each_image_of_a_pass_goes_its_own_way(tiny_codec, adapter, photo, train):
    phases = [phase(20, 2.0, train=train, lr=0.02)]
    tuner = Tuner(tiny_codec, adapter, mse, 2.0)
    pictures = [photo, photo.flip(3).contiguous() * 0.5]
    together = tuner.tune_many(pictures, phases)
    for picture, one in zip(pictures, together, strict=True):
        alone = tuner.tune(picture, phases)
        assert one.best.cost == pytest.approx(alone.best.cost, rel=5e-3)
        assert one.best.cost <= one.untuned.cost
        assert one.steps == alone.steps == 20


def test_averages_and_patches_together(tiny_codec, adapter, photo):
    tuned = Tuner(tiny_codec, adapter, mse, 2.0, switches=TTFTSettings(patch=32)).tune(photo, [phase(20)])
    assert tuned.best.cost < tuned.untuned.cost


def test_the_same_twice(tiny_codec, adapter, photo):
    tuner = Tuner(tiny_codec, adapter, mse, 2.0)
    first, second = (tuner.tune(photo, [phase(15, 3.0)]).best.coded.stream for _ in range(2))
    assert first == second


def test_nothing_gained_is_explained(tiny_codec, adapter, photo):
    tuned = Tuner(tiny_codec, adapter, mse, 2.0, lmbda=2.0).tune(photo, [phase(2, 500.0, backtrack=1.0)])
    assert tuned.best is tuned.untuned
    assert "more steps" in why_untuned(tuned, 2)
    assert "dearer" not in why_untuned(tuned, 2)  # the state that it began with was the best
    dearer = replace(tuned, tried=1.013 * tuned.best.cost)
    assert "in 2 of 2 steps (the cheapest by 1.3% dearer), because" in why_untuned(dearer, 2)
    plain = replace(tuned, best=replace(tuned.untuned, name="plain"))
    assert "without the adapter" in why_untuned(plain, 2)
    assert "--adapter svd-lora" in why_untuned(plain, 2)
    assert why_untuned(tuned, 0) is None
    assert "time budget" in why_untuned(replace(tuned, steps=0), 2)
    assert "roots" in why_untuned(replace(tuned, diverged=True), 2)
    assert "raise task.lmbda_scale" in why_untuned(replace(tuned, lmbda=1e-6), 2)
    aimed = why_untuned(replace(tuned, lmbda=1e-6, reached=900.0), 2)
    assert "more steps" in aimed
    assert "lmbda_scale" not in aimed  # the search has set the weight
    heavy = replace(tuned.untuned, cost=2 * tuned.untuned.loss * 1.001)
    assert "lower task.lmbda_scale" in why_untuned(replace(tuned, untuned=heavy, best=heavy), 2)
    without = replace(tuned.untuned, loss=0.0)
    assert "is 0 already" in why_untuned(replace(tuned, untuned=without, best=without), 2)


def test_something_gained_needs_no_explanation(tiny_codec, adapter, photo):
    assert why_untuned(Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [phase(20)]), 20) is None
