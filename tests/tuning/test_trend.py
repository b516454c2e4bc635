import pytest
import torch

from taskodec.contracts.function_task import FunctionTask
from taskodec.settings.model import PhaseSettings
from taskodec.tuning.phases import Variables
from taskodec.tuning.run import Run
from taskodec.tuning.trend import Trend
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


def phase(lr_latents, steps=20):
    options = {"rounding": "mixed", "schedule": "constant", "average": 10, "backtrack": 0.3}
    return PhaseSettings(train=("latents",), steps=steps, lr_latents=lr_latents, **options)


@pytest.mark.parametrize(
    ("costs", "falling"),
    [
        ([], False),
        ([5.0], False),
        ([5.0, 4.0, 4.0], True),  # against the first, as long as there are no more
        ([5.0, 6.0], False),
        ([5.0, 5.0, 5.0, 4.0, 4.0, 4.0], True),
        ([5.0, 4.0, 6.0, 4.9, 3.9, 5.9], False),  # by less than their means are sure of
        ([9.0, 8.0, 7.0, 4.0, 4.0, 4.0, 5.0, 5.0, 5.0], False),  # what is long ago does not count
    ],
)
def test_costs_fall_if_their_mean_does_by_more_than_its_error(costs, falling):
    trend = Trend(3)
    for cost in costs:
        trend.stepped(torch.tensor(cost))
    assert trend.falling is falling


def test_a_trend_begins_anew():
    trend = Trend(2)
    for cost in (5.0, 5.0, 1.0, 1.0):
        trend.stepped(torch.tensor(cost))
    assert trend.falling
    trend.clear()
    trend.stepped(torch.tensor(0.5))
    assert not trend.falling


def test_the_error_is_that_of_the_mean_of_the_last_costs():
    trend = Trend(4)
    assert trend.error == 0
    for cost in (100.0, 7.0):
        trend.stepped(torch.tensor(cost))
    for cost in (1.0, 3.0, 1.0, 3.0):
        trend.stepped(torch.tensor(cost))
    assert trend.error == pytest.approx((4 / 3 / 4) ** 0.5)


def test_where_latents_have_far_to_go_the_newest_state_is_ahead_of_the_average(tiny_codec, photo, monkeypatch):
    tuner = Tuner(tiny_codec, None, mse, 2.0)
    ahead = tuner.tune(photo, [phase(0.02)])
    monkeypatch.setattr(Run, "steady", False)
    behind = tuner.tune(photo, [phase(0.02)])
    assert ahead.best.cost < behind.best.cost < ahead.untuned.cost
    steps = [check.steps for check in ahead.checks]
    assert steps == [check.steps for check in behind.checks] == [0, 5, 10, 15, 20]
    assert ahead.checks[-1].cost < behind.checks[-1].cost


def test_a_dear_look_does_not_stop_steps_that_gain(tiny_codec, photo, monkeypatch):
    looks = []

    def noisy(x_hat, x):
        accident = 0.0
        if not x_hat.requires_grad:
            looks.append(len(looks))
            accident = 1.0 if looks[-1] in (4, 5, 6, 7) else 0.0
        return (x_hat - x).square().mean() + accident

    tuner = Tuner(tiny_codec, None, FunctionTask("noisy", noisy, lmbda=2000.0), 2.0)
    gained = tuner.tune(photo, [phase(0.02)])
    monkeypatch.setattr(Trend, "falling", property(lambda self: False))
    looks.clear()
    stopped = tuner.tune(photo, [phase(0.02)])
    assert gained.best.cost < stopped.best.cost


@pytest.mark.parametrize(
    ("scatter", "views", "backs"),
    [
        (0.0, (), 4),  # every look is dearer than the first, and steps do not scatter
        (0.1, (), 0),
        (0.1, ("flip",), 4),  # steps scatter by what they are shown, looks do not
    ],
)
def test_a_look_that_is_dearer_by_chance_leads_nowhere(tiny_codec, photo, monkeypatch, scatter, views, backs):
    looks, signs, led = iter(range(1000)), iter([1.0, -1.0] * 50), []

    def loss(x_hat, x):
        extra = scatter * next(signs) if x_hat.requires_grad else 1e-3 * next(looks)
        return (x_hat - x).square().mean() + extra

    back = Variables.back
    monkeypatch.setattr(Trend, "falling", property(lambda self: False))
    monkeypatch.setattr(Variables, "back", lambda self, **options: led.append(1) or back(self, **options))
    Tuner(tiny_codec, None, FunctionTask("rising", loss, lmbda=2000.0, views=views), 2.0).tune(photo, [phase(1e-6)])
    assert len(led) == backs
