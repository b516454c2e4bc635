import pytest
import torch

from taskodec.contracts import Latents
from taskodec.errors import TaskError
from taskodec.function_task import FunctionTask
from taskodec.objective import Objective
from taskodec.phases import Point
from taskodec.together import Look, run_together


@pytest.fixture
def made(tiny_codec, photo):
    """An objective with a loss of the caller's, and the untuned point."""

    def make(loss):
        task = FunctionTask("own", loss, lmbda=1.0)
        with torch.no_grad():
            latents = tiny_codec.analysis(photo, 2.0)
        objective = Objective(tiny_codec, None, task, 2.0, tuple(photo.shape[2:]), photo, 1.0)
        return objective, Point(Latents(latents.y, latents.z), torch.zeros(0))

    return make


def looking(objective, point, times, ends):
    for _ in range(times):
        found = yield Look(objective, point)
    ends.append(times)
    return float(found.cost)


def test_tunings_of_different_lengths_go_on_without_each_other(made):
    objective, point = made(lambda x_hat, x: (x_hat - x).abs().mean())
    ends = []
    costs = run_together([looking(objective, point, times, ends) for times in (3, 1, 2)], 0)
    assert ends == [1, 2, 3]
    assert costs == pytest.approx([costs[0]] * 3)


def test_an_error_of_the_task_goes_to_whom_it_belongs(made):
    calls = []

    def loss(x_hat, x):
        calls.append(len(calls))
        return (x_hat - x).abs().mean() / (float(len(calls) not in (2, 4)) or float("nan"))

    objective, point = made(loss)
    first, second, third = run_together([looking(objective, point, 1, []) for _ in range(3)], 0)
    assert isinstance(second, TaskError) or isinstance(first, TaskError)
    assert isinstance(third, float)


def test_whatever_a_tuning_raises_is_its_outcome(made):
    objective, point = made(lambda x_hat, x: (x_hat - x).abs().mean())

    def broken():
        yield Look(objective, point)
        raise ZeroDivisionError("mine")

    error, cost = run_together([broken(), looking(objective, point, 2, [])], 0)
    assert isinstance(error, ZeroDivisionError)
    assert cost > 0
