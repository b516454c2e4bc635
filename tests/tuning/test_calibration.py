import pytest
import torch

from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError
from taskodec.tasks.human import Human
from taskodec.tuning.calibration import Balance, measure_balance, rate_and_loss, smooth_slopes
from taskodec.tuning.ttft import Tuner

MSE = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean())


@pytest.fixture
def crops(photo):
    return torch.cat([photo[..., :32, :32], photo[..., 32:64, 32:64]])


def test_weights_are_the_slopes_of_the_smoothed_curve(tiny_codec, crops):
    x = crops[:1]
    balance = measure_balance(tiny_codec, MSE, x)
    assert balance.qualities == tiny_codec.qualities
    slopes = smooth_slopes([rate_and_loss(tiny_codec, MSE, x, x, quality) for quality in balance.qualities])
    for quality, lmbda, slope, cost in zip(balance.qualities, balance.lmbdas, slopes, balance.costs, strict=True):
        bpp, loss = rate_and_loss(tiny_codec, MSE, x, x, quality)
        assert lmbda == pytest.approx(slope or bpp / loss)
        assert cost == pytest.approx(lmbda * loss + bpp)


def test_the_balance_is_that_of_the_mean_over_the_crops(tiny_codec, crops):
    balance = measure_balance(tiny_codec, MSE, crops, lmbda=7.0)
    assert balance.lmbdas == (7.0,) * 4
    for quality, cost in zip(balance.qualities, balance.costs, strict=True):
        points = [rate_and_loss(tiny_codec, MSE, x[None], x[None], quality) for x in crops]
        assert cost == pytest.approx(sum(7 * loss + bpp for bpp, loss in points) / 2)


def test_a_task_keeps_its_own_weights(tiny_codec, crops):
    expected = tuple(tiny_codec.lmbda(quality) * 255**2 for quality in tiny_codec.qualities)
    assert measure_balance(tiny_codec, Human(), crops).lmbdas == pytest.approx(expected)


def test_weights_may_be_given_by_quality(tiny_codec, crops):
    plain = measure_balance(tiny_codec, Human(), crops).lmbdas
    mixed = measure_balance(tiny_codec, Human(), crops, {2.0: 7.0, 4.0: 9.0}).lmbdas
    assert mixed == (plain[0], 7.0, plain[2], 9.0)


def test_a_scale_multiplies_every_weight_wherever_it_is_from(tiny_codec, crops):
    for task, lmbda in ((Human(), None), (MSE, None), (MSE, 7.0)):
        plain, scaled = (measure_balance(tiny_codec, task, crops, lmbda, scale) for scale in (1.0, 0.25))
        assert scaled.lmbdas == pytest.approx([weight / 4 for weight in plain.lmbdas])
        assert all(less < more for less, more in zip(scaled.costs, plain.costs, strict=True))


def test_between_qualities_lies_a_power_law():
    balance = Balance((1.0, 2.0), (1.0, 4.0), (0.5, 2.0))
    asked = torch.tensor([1.0, 1.5, 2.0])
    assert balance.lmbda(asked).tolist() == pytest.approx([1, 2, 4])
    assert balance.cost(asked).tolist() == pytest.approx([0.5, 1, 2])


def test_a_loss_of_zero_gives_no_weight(tiny_codec, crops):
    with pytest.raises(TaskError, match=r"set task\.lmbda"):
        measure_balance(tiny_codec, FunctionTask("none", lambda x_hat, x: 0 * x_hat.mean()), crops)


def test_slopes_of_a_power_law_and_of_a_noisy_one():
    rates = [0.1 * 1.5**i for i in range(7)]
    losses = [0.02 / rate for rate in rates]  # loss = 0.02 / rate, so -d rate / d loss = rate**2 / 0.02
    expected = [rate**2 / 0.02 for rate in rates]
    assert smooth_slopes(list(zip(rates, losses, strict=True))) == pytest.approx(expected)
    noisy = [loss * factor for loss, factor in zip(losses, [1, 1.1, 0.9, 1.08, 1.02, 0.95, 1], strict=True)]
    assert smooth_slopes(list(zip(rates, noisy, strict=True))) == pytest.approx(expected, rel=0.25)


def test_a_loss_that_rises_with_the_rate_has_no_slope():
    assert smooth_slopes([(0.1, 1.0), (0.2, 2.0), (0.4, 4.0)]) == [None] * 3
    assert smooth_slopes([(0.1, 1.0), (0.2, 0.5)]) == [None] * 2
    assert smooth_slopes([(0.1, 1.0), (0.2, 0.5), (0.4, 0.0)]) == [None] * 3


@pytest.mark.parametrize(
    "state",
    [
        {"qualities": [1.0], "lmbdas": [1.0]},
        {"qualities": [1.0], "lmbdas": [1.0], "costs": [1.0, 2.0]},
        {"qualities": [1.0], "lmbdas": [0.0], "costs": [1.0]},
        {"qualities": [1.0], "lmbdas": ["x"], "costs": [1.0]},
        {"qualities": [float("nan")], "lmbdas": [1.0], "costs": [1.0]},
    ],
)
def test_a_balance_of_a_file_that_cannot_be(state):
    with pytest.raises((KeyError, ValueError)):
        Balance.of(state)


def test_a_balance_comes_back():
    balance = Balance((1.0, 2.0), (0.5, 0.25), (3.0, 2.0))
    assert Balance.of(balance.state()) == balance


def test_a_loss_of_zero_has_no_weight(tiny_codec, photo):
    tiny_codec.continuous = False
    task = FunctionTask("flat", lambda x_hat, x: (x_hat * 0).sum())
    with pytest.raises(TaskError, match=r"set task\.lmbda"):
        Tuner(tiny_codec, None, task, 2.0).tune(photo, [])
