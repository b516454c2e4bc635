import pytest
import torch

from taskodec.contracts import Task
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError, UsageError
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import metrics_of, prepared, weight_of


def tracked(size=4):
    """An image that is computed, as a decoder's is."""
    return torch.full((1, 3, size, size), 0.5, requires_grad=True) * 1.0


def check(function, x_hat=None):
    x_hat = tracked() if x_hat is None else x_hat
    return checked_loss(FunctionTask("mine", function), x_hat, torch.zeros_like(x_hat.detach()))


def test_a_sound_loss_is_returned_as_it_is():
    assert float(check(lambda x_hat, x: (x_hat - x).square().mean()).detach()) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda x_hat, x: 3.0, "found float"),
        (lambda x_hat, x: None, "found NoneType"),
        (lambda x_hat, x: x_hat - x, r"found shape \(1, 3, 4, 4\)"),
        (lambda x_hat, x: x_hat.mean()[None], r"found shape \(1,\)"),
        (lambda x_hat, x: (x_hat > x).sum(), "found torch.int64"),
        (lambda x_hat, x: (x_hat - x).mean() / 0, "loss is inf"),
        (lambda x_hat, x: torch.log(x_hat.mean() - 1), "loss is nan"),
        (lambda x_hat, x: x.mean(), "does not depend on x_hat"),
        (lambda x_hat, x: x_hat.detach().mean(), "does not depend on x_hat"),
        (lambda x_hat, x: torch.nn.Parameter(x).mean(), "does not depend on x_hat"),
        (lambda x_hat, x: torch.tensor(x_hat.detach().numpy().mean()), "does not depend on x_hat"),
    ],
)
def test_every_fault_names_the_task_and_what_was_found(function, found):
    with pytest.raises(TaskError, match=f"task 'mine': .*{found}"):
        check(function)


def test_an_exception_inside_the_loss_is_the_cause():
    def function(x_hat, x):
        return x_hat @ "no matrix"

    with pytest.raises(TaskError, match="task 'mine': its loss raised TypeError") as caught:
        check(function)
    assert isinstance(caught.value.__cause__, TypeError)


class Stop(BaseException):
    """No error of Python's, and none of ours."""


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("enough"), GeneratorExit(), Stop("now"), StopIteration()])
def test_what_would_end_the_program_is_an_error_of_the_task(error):
    def function(x_hat, x):
        raise error

    with pytest.raises(TaskError, match=f"task 'mine': its loss raised {type(error).__name__}") as caught:
        check(function)
    assert caught.value.__cause__ is error


def test_ctrl_c_stays_ctrl_c():
    def function(x_hat, x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(function)


class Broken(Task):
    """A task whose every method does as it is told."""

    name = "broken"

    def __init__(self, act):
        self.prepare = self.metrics = self.lmbda = act

    def prepare(self, x): ...

    def loss(self, x_hat, reference): ...


def stop(*_):
    raise SystemExit(0)


def test_other_methods_of_a_task_are_guarded_as_well(tiny_codec):
    task, x = Broken(stop), torch.zeros(1, 3, 4, 4)
    for call in (
        lambda: prepared(task, x),
        lambda: metrics_of(task, x, x),
        lambda: weight_of(task, tiny_codec, 2.0),
    ):
        with pytest.raises(TaskError, match=r"task 'broken': its (prepare|metrics|lmbda) raised SystemExit: 0"):
            call()


def test_what_a_task_says_is_wrong_is_passed_on():
    def refuse(x):
        raise UsageError("give two layers")

    with pytest.raises(UsageError, match=r"^give two layers$"):
        prepared(Broken(refuse), torch.zeros(1, 3, 4, 4))


def test_a_picture_is_not_changed_by_what_prepares_it():
    with pytest.raises(TaskError, match="task 'broken': its `prepare` changes the picture in place"):
        prepared(Broken(lambda x: x.mul_(0.5)), torch.ones(1, 3, 4, 4))


def test_a_gradient_that_is_not_finite_raises_in_the_backward_pass():
    loss = check(lambda x_hat, x: (x_hat - x_hat.mean()).square().sum().sqrt())  # a norm, at zero
    with pytest.raises(TaskError, match=r"task 'mine': the gradient .* not finite"):
        loss.backward()


def test_a_leaf_can_be_the_picture():
    leaf = torch.rand(1, 3, 4, 4, requires_grad=True)
    check(lambda x_hat, x: x_hat.square().mean(), leaf).backward()
    assert leaf.grad is not None


@pytest.mark.parametrize(
    "function", [lambda x_hat, x: x_hat.clamp_(0, 0.25).mean(), lambda x_hat, x: x.add_(x_hat).mean()]
)
def test_arguments_must_not_change(function):
    with pytest.raises(TaskError, match="task 'mine': the loss changes its arguments in place"):
        check(function)


def test_without_gradients_only_the_value_counts():
    with torch.no_grad():
        assert float(check(lambda x_hat, x: x_hat.mean())) == 0.5
    with pytest.raises(TaskError, match="found shape"):
        check(lambda x_hat, x: x_hat, torch.rand(1, 3, 4, 4))
