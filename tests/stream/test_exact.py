import math

import numpy as np
import pytest

from taskodec.stream.entropy import SCALES
from taskodec.stream.exact import LOG_FIRST, LOG_UNIT, between, exact_exp, knots_of, whole_bias


def test_exponentials_are_right():
    x = np.linspace(-5, 5, 101)
    np.testing.assert_allclose(exact_exp(x), np.exp(x), rtol=3e-16)


def test_the_figures_are_the_logarithms():
    assert math.isclose(LOG_FIRST, math.log(SCALES[0]), rel_tol=1e-15)
    assert math.isclose(LOG_UNIT, math.log(SCALES[-1] / SCALES[0]) / 63 / 16, rel_tol=1e-15)


@pytest.mark.parametrize(
    ("knots", "quality", "expected"),
    [
        ([1, 2, 3], 1.0, 0.0),
        ([1, 2, 3], 1.25, 2.5),
        ([1, 2, 3], 2.0, 10.0),
        ([1, 2, 3], 3.0, 30.0),
        ([1, 2, 3], 2.5, 20.0),
        ([0, 0.5, 1], 0.125, 2.5),
        ([0, 0.5, 1], 0.5, 10.0),
        ([0.5, 1, 7], 2.5, 15.0),
        ([0.5, 1, 7], 7.0, 30.0),
    ],
)
def test_between_levels(knots, quality, expected):
    levels = np.array([[0.0, 1.0], [10.0, 1.0], [30.0, 1.0]])
    assert between(levels, quality, knots).tolist() == [expected, 1.0]


def test_levels_without_knots_are_of_whole_qualities_from_1():
    assert knots_of({}, 3) == [1.0, 2.0, 3.0]
    assert knots_of({"knots": np.array([0, 0.5, 1], np.float32)}, 3) == [0.0, 0.5, 1.0]


def test_a_bias_is_rounded_in_its_unit_and_kept_within_its_room():
    real, unit = np.array([1.3, -1.3, 100.0]), np.array([1.0, 0.5, 1.0])
    assert whole_bias(real, unit, np.array([2, 0, 1]), np.array([9.0, 9.0, 50.0])).tolist() == [5.0, -3.0, 50.0]
