import pytest

from taskodec.tuning.budget import Budget


def test_work_is_planned_by_how_long_it_took(clock):
    budget = Budget(10, clock)
    assert budget.allows(step=1000)  # nothing is known of it
    clock.work(budget, "step", 2)
    clock.work(budget, "stream", 1)
    assert budget.spent == 3
    assert budget.needed(step=2, stream=1) == 5
    assert budget.allows(step=3, stream=1)
    assert not budget.allows(step=3, stream=2)
    clock.work(budget, "step", 4)
    assert budget.needed(step=1) == 3


def test_parts_end_early_enough_for_what_comes_after(clock):
    budget = Budget(10, clock)
    clock.work(budget, "stream", 1)
    assert budget.end() == 10
    assert budget.end(0.5, stream=2) == 3


def test_without_seconds_there_is_always_time():
    budget = Budget(None)
    with budget.timed("step"):
        pass
    assert budget.allows(step=1e12)
    assert budget.end(stream=2) == float("inf")


def test_work_that_fails_is_not_timed(clock):
    budget = Budget(1, clock)
    with pytest.raises(KeyError), budget.timed("step"):
        raise KeyError
    assert budget.needed(step=1) == 0
