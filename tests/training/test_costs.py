import math

import pytest
import torch

from taskodec.contracts import Latents
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError, TaskodecError
from taskodec.training.costs import Terms, task_cost
from taskodec.tuning.calibration import Balance
from taskodec.tuning.views import RandomView


def dark(x_hat, x):
    """Nothing that the codec was made for, so that an adapter has much to win."""
    return (x_hat - 0.5 * x).square().mean()


TASK = FunctionTask("dark", dark)


def test_savings_count_alike_at_every_cost(tiny_codec, photo):
    x = photo[..., :32, :32].repeat(2, 1, 1, 1)
    quality = torch.tensor([1.0, 4.0])
    balance = Balance((1.0, 4.0), (10.0, 1000.0), (2.0, 8.0))
    objective, (relative, loss, bpp) = task_cost(tiny_codec, TASK, balance, x, quality, Terms("ste"))
    each = [task_cost(tiny_codec, TASK, balance, x[i : i + 1], quality[i : i + 1], Terms("ste")) for i in (0, 1)]
    for (one, (share, own_loss, own_bpp)), lmbda, unit in zip(each, balance.lmbdas, balance.costs, strict=True):
        cost = float(lmbda * own_loss + own_bpp)
        assert one.item() == pytest.approx(math.log(cost), rel=1e-5)
        assert float(share) == pytest.approx(cost / unit, rel=1e-5)
    assert objective.item() == pytest.approx((each[0][0].item() + each[1][0].item()) / 2, rel=1e-5)
    for mean, index in ((relative, 0), (loss, 1), (bpp, 2)):
        assert float(mean) == pytest.approx(float(each[0][1][index] + each[1][1][index]) / 2, rel=1e-5)


@pytest.mark.parametrize(("objective", "units"), [("cost", (1, 1)), ("relative-cost", (2, 8))])
def test_the_costs_themselves_may_be_minimised(tiny_codec, photo, objective, units):
    x = photo[..., :32, :32].repeat(2, 1, 1, 1)
    balance = Balance((1.0, 4.0), (10.0, 1000.0), (2.0, 8.0))
    quality = torch.tensor([1.0, 4.0])
    minimised, _ = task_cost(tiny_codec, TASK, balance, x, quality, Terms("ste", objective))
    parts = [(x[i : i + 1], quality[i : i + 1]) for i in (0, 1)]
    each = [task_cost(tiny_codec, TASK, balance, *part, Terms("ste"))[0].exp() for part in parts]
    assert minimised.item() == pytest.approx((each[0] / units[0] + each[1] / units[1]).item() / 2, rel=1e-5)


def test_fidelity_is_a_share_of_the_codecs_own_trade_off(tiny_codec, photo):
    x, quality = photo[..., :32, :32], torch.tensor([2.0])
    balance = Balance((1.0, 4.0), (10.0, 1000.0), (2.0, 8.0))
    mse = (tiny_codec(x, 2.0, "ste").x_hat.clamp(0, 1) - x).square().mean().item()
    without, share = (task_cost(tiny_codec, TASK, balance, x, quality, Terms("ste", "cost", f))[0] for f in (0, 0.3))
    assert (share - without).item() == pytest.approx(0.3 * tiny_codec.lmbda(2.0) * 255**2 * mse, rel=1e-4)


def test_the_task_is_shown_views_of_both_pictures(tiny_codec, photo):
    x, quality = photo[..., :32, :32].repeat(2, 1, 1, 1), torch.tensor([2.0, 2.0])
    seen = []

    def loss(x_hat, original):
        seen.append(original)
        return (x_hat - original).square().mean()

    balance = Balance((1.0, 4.0), (10.0, 1000.0), (2.0, 8.0))
    views = [RandomView(mirrored=True), RandomView(right=0.25)]
    task_cost(tiny_codec, FunctionTask("mine", loss), balance, x, quality, Terms("ste", views=views))
    for view, original in zip(views, seen, strict=True):
        assert torch.equal(original, view(x[:1]))


def test_a_negative_loss_is_refused(tiny_codec, photo):
    task = FunctionTask("reward", lambda x_hat, x: -1 - (x_hat - x).square().mean())
    balance = Balance((1.0, 4.0), (10.0, 1000.0), (2.0, 8.0))
    with pytest.raises(TaskError, match="add a constant"):
        task_cost(tiny_codec, task, balance, photo[..., :32, :32], torch.tensor([2.0]))


def test_divergence_is_said(tiny_codec, photo):
    tiny_codec.analysis = lambda x, quality: Latents(x.new_full((1, 8, 2, 2), float("nan")), x.new_zeros(1, 4, 2, 2))
    with pytest.raises(TaskodecError, match=r"lower pretrain\.lr"):
        task_cost(
            tiny_codec,
            TASK,
            Balance((1.0, 4.0), (1.0, 1.0), (1.0, 1.0)),
            photo[..., :32, :32],
            torch.tensor([2.0]),
        )
