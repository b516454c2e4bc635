from __future__ import annotations

import numpy as np
import pytest
import torch

from taskodec.coding.singular_values import Delta
from taskodec.stream.delta import STEPS, delta_bits
from taskodec.tuning.delta_search import SLOPE_COST, DeltaSearch, toward_zero
from taskodec.tuning.travel import TUNING_STEP

GROUPS = [4] * 6
PIXELS = 1000
ALL = ("steps", "gates", "deadzone", "values")


class Quadratic:
    """A loss that grows with the squared distance of the singular values from where they should be."""

    def __init__(self, wanted: np.ndarray, weight: float) -> None:
        self.wanted, self.weight = wanted, weight
        self.prices = self.slopes = 0

    def price(self, delta: Delta) -> float:
        self.prices += 1
        return self.true_price(delta)

    def true_price(self, delta: Delta) -> float:
        distance = delta.values * STEPS[delta.step_index] - self.wanted
        return self.weight * float((distance**2).sum()) + delta_bits(delta.values, GROUPS) / PIXELS

    def slope(self, delta: Delta) -> np.ndarray:
        self.slopes += 1
        return 2 * self.weight * (delta.values * STEPS[delta.step_index] - self.wanted)

    def search(self, parts=ALL, decodings=24, goes_on=lambda _: True) -> Delta:
        search = DeltaSearch(self.price, self.slope, GROUPS, PIXELS, parts, decodings, goes_on)
        return search.best(torch.from_numpy(self.wanted))

    @property
    def rounded(self) -> float:
        return self.true_price(Delta.of(torch.from_numpy(self.wanted), TUNING_STEP))


def wanted(seed: int, scale: float = 0.15) -> np.ndarray:
    return np.random.default_rng(seed).laplace(0, scale, sum(GROUPS))


@pytest.mark.parametrize("parts", [*[(part,) for part in ALL], ALL])
@pytest.mark.parametrize("weight", [0.003, 0.03, 3.0])
def test_never_worse_than_rounding_and_within_its_bound(parts: tuple[str, ...], weight: float) -> None:
    for seed in range(5):
        task = Quadratic(wanted(seed), weight)
        found = task.search(parts)
        assert task.true_price(found) <= task.rounded
        assert task.prices + SLOPE_COST * task.slopes <= 24


@pytest.mark.parametrize("part", ["steps", "deadzone", "values"])
def test_every_part_saves_something_where_bits_matter(part: str) -> None:
    task = Quadratic(wanted(0, scale=0.02), 3.0)
    assert task.true_price(task.search((part,))) < 0.97 * task.rounded


def test_all_parts_together_are_best() -> None:
    task = Quadratic(wanted(0), 0.05)
    alone = min(task.true_price(task.search((part,), decodings=60)) for part in ALL)
    assert task.true_price(task.search(decodings=60)) <= alone


def test_finer_steps_where_the_loss_matters() -> None:
    task = Quadratic(wanted(1), 300.0)
    assert task.search(("steps",)).step_index > TUNING_STEP
    assert Quadratic(wanted(1), 0.05).search(("steps",)).step_index < TUNING_STEP


def test_layers_that_do_nothing_are_closed() -> None:
    task = Quadratic(wanted(2), 3.0)
    task.wanted[8:12] = 0
    tuned = task.wanted.copy()
    tuned[8:12] = [0.04, -0.04, 0.04, 0.1]  # where tuning has wandered without a reason
    search = DeltaSearch(task.price, task.slope, GROUPS, PIXELS, ("gates",), 24, lambda _: True)
    assert not search.best(torch.from_numpy(tuned)).values[8:12].any()


@pytest.mark.parametrize("how", [{"parts": ()}, {"decodings": 0}, {"goes_on": lambda _: False}])
def test_nothing_is_decoded_when_nothing_is_to_be_tried(how) -> None:
    task = Quadratic(wanted(0), 1.0)
    assert task.true_price(task.search(**how)) == task.rounded
    assert task.prices == task.slopes == 0


def test_no_changes_are_left_alone() -> None:
    task = Quadratic(np.zeros(24), 1.0)
    assert not task.search().values.any()
    assert task.prices == 0


def test_the_search_stops_when_time_is_over() -> None:
    task = Quadratic(wanted(0), 0.05)
    task.search(goes_on=lambda decodings: task.prices + decodings <= 3)
    assert task.prices <= 3


def test_a_deadzone_widens_zero_and_all_other_bins_move_out() -> None:
    scaled = np.array([0.4, -0.6, 0.7, 1.6, -1.7, 2.0])
    assert toward_zero(scaled, 0.0).tolist() == [0, -1, 1, 2, -2, 2]
    assert toward_zero(scaled, 0.15).tolist() == [0, 0, 1, 1, -2, 2]
