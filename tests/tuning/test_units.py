"""What the parts of a joint task weigh."""

import pytest
import torch
from joint_losses import dark, joint_of, red, stepped

from taskodec.contracts import FunctionTask, JointTask, Part
from taskodec.errors import TaskError
from taskodec.settings.model import PhaseSettings
from taskodec.settings.ttft import TTFTSettings
from taskodec.tuning.calibration import Balance, measure_balance
from taskodec.tuning.checks import checked_loss, checked_losses
from taskodec.tuning.task_calls import metrics_of, on_device, prepared
from taskodec.tuning.ttft import Tuner
from taskodec.tuning.units import balance_of, in_units, joint_weights, like, prepared_for, prepared_in_units

PHASE = PhaseSettings(train=("latents",), steps=8, lr=0.5, rounding="mixed")
WITHOUT_SEARCH = TTFTSettings(search=())


def test_own_weights_are_taken_and_slopes_stand_in_for_those_that_are_missing():
    task = joint_of(dark, red, stepped, shares=[1, 1, 2])
    assert joint_weights(task, [2.0, 4.0, 8.0], [None] * 3) == (0.5, 1.0, 4.0)
    assert joint_weights(task, [None] * 3, [2.0, 4.0, 8.0]) == (0.5, 1.0, 4.0)
    # dark is worth a tenth of its slope, so the others are too
    assert joint_weights(task, [2.0, None, None], [20.0, 40.0, 80.0]) == pytest.approx((0.5, 1.0, 4.0))


def test_a_loss_in_another_unit_weighs_the_same(tiny_codec, photo):
    def larger(x_hat, x):
        return 1e4 * red(x_hat, x)

    both = [joint_of(dark, other) for other in (red, larger)]
    references = [prepared_in_units(task, tiny_codec, photo, 2.0) for task in both]
    assert references[1].weights[1] == pytest.approx(references[0].weights[1] / 1e4)
    losses = [float(checked_loss(task, 0.9 * photo, own)) for task, own in zip(both, references, strict=True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_patches_are_weighed_as_the_whole(tiny_codec, photo):
    task = joint_of(dark, red)
    whole = prepared_in_units(task, tiny_codec, photo, 2.0)
    patch = like(task, photo[..., :32, :32], whole)
    assert patch.weights == whole.weights
    assert patch.parts[0].shape[-2:] == (32, 32)
    assert len(patch.slopes) == 2


def test_a_single_task_is_left_alone(tiny_codec, photo):
    task = FunctionTask("dark", dark)
    reference = prepared(task, photo)
    assert in_units(task, tiny_codec, photo, reference, 2.0) is reference
    assert torch.equal(like(task, photo[..., :32, :32], reference), photo[..., :32, :32])


def test_a_loss_of_zero_has_no_weight(tiny_codec, photo):
    task = joint_of(dark, lambda x_hat, x: 0 * x_hat.mean())
    with pytest.raises(TaskError, match=r"task '<lambda>': its loss is 0 before tuning, .* set task\.lmbda"):
        prepared_in_units(task, tiny_codec, photo, 2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x_hat, x: (x_hat - x).mean(0), "task 'wrong': the loss must be a scalar"),
        (lambda x_hat, x: x_hat.detach().mean(), "task 'wrong': the loss does not depend on x_hat"),
        (lambda x_hat, x: x_hat.clamp_(0, 1).mean(), "task 'wrong': the loss changes its arguments in place"),
        (lambda x_hat, x: x_hat.mean() / 0, "task 'wrong': the loss is inf"),
        (lambda x_hat, x: [].pop(), "task 'wrong': its loss raised IndexError"),
    ],
)
def test_the_part_that_is_wrong_is_named(photo, wrong, message):
    task = JointTask("both", [Part("dark", FunctionTask("dark", dark)), Part("wrong", FunctionTask("wrong", wrong))])
    x_hat = (photo.clone().requires_grad_() * 0.9).abs()
    with pytest.raises(TaskError, match=message):
        checked_loss(task, x_hat, prepared(task, photo))


def test_a_gradient_that_is_not_finite_is_of_its_part(photo):
    def rooted(x_hat, x):
        return (x_hat - x_hat.detach()).square().sum().sqrt()

    task = joint_of(dark, rooted)
    x_hat = photo.clone().requires_grad_() * 0.9
    loss = checked_loss(task, x_hat, prepared(task, photo))
    with pytest.raises(TaskError, match="task 'rooted': the gradient"):
        loss.backward()


def test_the_gradient_is_the_weighted_sum(photo):
    task = joint_of(dark, red, shares=[3, 1])
    leaf = (0.9 * photo).requires_grad_()
    checked_losses(task, 1.0 * leaf, [prepared(task, photo)]).sum().backward()
    alone = [torch.autograd.grad(function(leaf, photo), leaf)[0] for function in (dark, red)]
    torch.testing.assert_close(leaf.grad, 0.75 * alone[0] + 0.25 * alone[1])


def tuned(codec, task, x, **options):
    return Tuner(codec, None, task, 2.0, switches=WITHOUT_SEARCH, **options).tune(x, [PHASE])


def test_tuning_for_two_is_never_worse(tiny_codec, photo):
    task = joint_of(dark, red)
    found = tuned(tiny_codec, task, photo)
    assert found.lmbda == 1
    assert found.best.cost < found.untuned.cost
    dearer = tuned(tiny_codec, task, photo, lmbda=100.0)
    assert dearer.lmbda == 100
    assert dearer.best.loss < dearer.untuned.loss


def test_shares_say_who_is_served(tiny_codec, photo):
    found = [tuned(tiny_codec, joint_of(dark, red, shares=own), photo, lmbda=100.0) for own in ([20, 1], [1, 20])]
    losses = [metrics_of(joint_of(dark, red), one.best.x_hat, photo) for one in found]
    assert losses[0]["dark task_loss"] < losses[1]["dark task_loss"]
    assert losses[1]["red task_loss"] < losses[0]["red task_loss"]


def test_patches_and_batches_are_tuned_too(tiny_codec, photo):
    task = joint_of(dark, red)
    patched = TTFTSettings(search=(), patch=32)
    found = Tuner(tiny_codec, None, task, 2.0, switches=patched).tune(photo, [PHASE])
    assert found.best.cost < found.untuned.cost
    together = Tuner(tiny_codec, None, task, 2.0, switches=WITHOUT_SEARCH).tune_many([photo, photo.flip(3)], [PHASE])
    alone = tuned(tiny_codec, task, photo)
    assert together[0].best.cost == pytest.approx(alone.best.cost, rel=1e-3)
    assert together[1].best.cost < together[1].untuned.cost


def test_a_part_without_a_slope_is_named(tiny_codec, photo):
    found = tuned(tiny_codec, joint_of(dark, stepped), photo)
    assert len(found.notes) == 1
    assert "the loss of task 'stepped' has no slope" in found.notes[0]
    assert not tuned(tiny_codec, joint_of(dark, red), photo).notes


def test_a_part_may_draw_numbers_and_the_bytes_are_the_same(tiny_codec, photo):
    def noisy(x_hat, x):
        return (x_hat - x + 0.01 * torch.randn_like(x)).square().mean()

    task = joint_of(dark, noisy)
    first, second = (tuned(tiny_codec, task, photo).best.coded.stream for _ in range(2))
    assert first == second


def test_the_balance_of_a_training_has_the_weight_of_each_part(tiny_codec, photo):
    crops = photo[..., :32, :32]
    task = joint_of(dark, red, shares=[1, 3], lmbdas={dark: 5.0, red: 0.5})
    balance = balance_of(tiny_codec, task, crops)
    assert balance.lmbdas == (1.0,) * 4
    assert balance.parts == ((1.25, 0.375),) * 4
    assert balance.weights(2.5) == pytest.approx((1.25, 0.375))
    assert Balance.of(balance.state()) == balance
    assert balance_of(tiny_codec, task, crops, 2.0, 3.0).lmbdas == (6.0,) * 4
    reference = prepared_for(task, balance, crops, 2.0)
    assert reference.weights == pytest.approx((1.25, 0.375))
    single = FunctionTask("dark", dark, 5.0)
    assert balance_of(tiny_codec, single, crops) == measure_balance(tiny_codec, single, crops)
    assert prepared_for(single, balance, crops, 2.0) is crops


@pytest.mark.parametrize("parts", [[(1.0,)], [(1.0, 1.0), (1.0,)], [(0.0,), (1.0,)]])
def test_weights_of_parts_that_are_none(parts):
    state = {"qualities": [1, 2], "lmbdas": [1, 1], "costs": [1, 1], "parts": parts}
    with pytest.raises(ValueError, match=r"expected|longer|shorter|inhomogeneous"):
        Balance.of(state)


def test_parts_are_moved_one_by_one():
    class Lost(FunctionTask):
        def to(self, device):
            raise RuntimeError("nowhere")

    task = JointTask("both", [Part("dark", FunctionTask("dark", dark)), Part("lost", Lost("lost", red))])
    with pytest.raises(TaskError, match="task 'lost': its to raised RuntimeError: nowhere"):
        on_device(task, torch.device("cpu"))
