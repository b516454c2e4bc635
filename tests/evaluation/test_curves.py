import math

import pytest

from taskodec.bench import rd
from taskodec.evaluation.curves import bd_rate, bd_value, monotone, rate_at_best

RATES, TOP1 = [0.1, 0.2, 0.4, 0.8], [0.5, 0.6, 0.68, 0.72]


def test_a_curve_that_ascends_stays_as_it_is():
    curve = monotone(RATES[::-1], TOP1[::-1])
    assert curve.by_value == curve.by_rate == (tuple(RATES), tuple(TOP1))
    assert (curve.points, curve.level) == (4, ())


def test_neighbours_that_fall_become_one_point_at_their_means():
    curve = monotone(RATES, [0.5, 0.66, 0.62, 0.72])
    assert curve.by_value[1] == pytest.approx((0.5, 0.64, 0.72))
    assert curve.by_value[0] == pytest.approx((0.1, math.sqrt(0.2 * 0.4), 0.8))
    assert curve.by_rate == (tuple(RATES), pytest.approx((0.5, 0.64, 0.64, 0.72)))
    assert (curve.points, curve.level) == (4, ((1, 2),))


def test_a_fall_reaches_as_far_back_as_it_must():
    # pool adjacent violators by hand: 6 4 -> 5 5, then 5 5 4 -> 14/3 thrice; 3 stays below, 9 above
    curve = monotone([1, 2, 3, 4, 5], [3, 6, 4, 4, 9])
    assert curve.by_value[1] == pytest.approx((3, 14 / 3, 9))
    assert curve.by_value[0] == pytest.approx((1, (2 * 3 * 4) ** (1 / 3), 5))
    assert curve.level == ((1, 2, 3),)


def test_points_of_one_rate_and_points_of_one_figure_become_one():
    curve = monotone([0.1, 0.2, 0.2, 0.4], [0.5, 0.6, 0.7, 0.9])
    assert (curve.by_value, curve.level) == (((0.1, 0.2, 0.4), (0.5, pytest.approx(0.65), 0.9)), ((1, 2),))
    curve = monotone([0.1, 0.2, 0.4, 0.8], [0.5, 0.7, 0.7, 0.9])
    assert (curve.by_value[1], curve.level) == ((0.5, 0.7, 0.9), ((1, 2),))
    # three thirds do not differ by what rounding leaves of them
    assert monotone([1, 2, 3, 4], [0.3, 0.1, 0.2, 0.6 / 3]).by_value[1] == pytest.approx((0.2,))
    assert monotone([], []).by_value == ((), ())


def test_where_a_curve_ends_level_the_cheapest_rate_counts_and_where_it_begins_so_the_dearest():
    end = monotone(RATES, [0.5, 0.6, 0.71, 0.69])
    assert end.by_value == (pytest.approx((0.1, 0.2, 0.4)), pytest.approx((0.5, 0.6, 0.7)))
    start = monotone(RATES, [0.5, 0.5, 0.6, 0.7])
    assert start.by_value == ((0.2, 0.4, 0.8), (0.5, 0.6, 0.7))
    # reaching 0.7 at half the rate is worth as much as if nothing had been measured beyond
    anchor = monotone([0.2, 0.4, 0.8, 1.6], [0.5, 0.6, 0.7, 0.8])
    assert bd_rate(anchor, end).value == pytest.approx(-50, abs=0.5)
    # by rate, the level part counts as it is: from 0.2 to 0.8 bpp
    assert (bd_value(anchor, end).low, bd_value(anchor, end).high) == pytest.approx((0.2, 0.8))
    flat, rising = monotone(RATES, [0.5, 0.7, 0.7, 0.7]), monotone(RATES, [0.5, 0.6, 0.7, 0.8])
    assert bd_value(flat, rising).value == pytest.approx(
        rd.pchip_bd_value(RATES, [0.5, 0.7, 0.7, 0.7], RATES, [0.5, 0.6, 0.7, 0.8])
    )


@pytest.mark.parametrize("factor", [0.5, 0.9, 2.0])
def test_the_same_figures_at_another_rate(factor):
    found = bd_rate(monotone(RATES, TOP1), monotone([factor * rate for rate in RATES], TOP1))
    assert found.value == pytest.approx(100 * (factor - 1))
    assert (found.low, found.high, found.problem) == (0.5, 0.72, "")


def test_better_figures_at_the_same_rate():
    found = bd_value(monotone(RATES, TOP1), monotone(RATES, [value + 0.05 for value in TOP1]))
    assert found.value == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.1, 0.8))


def test_deltas_of_straight_lines_over_a_part_of_both():
    # figure = log10(rate) for the anchor, log10(rate) + 0.1 for the test, shifted along the axis of rate
    anchor = [10 ** (i / 4) for i in range(5)]
    test = [10 ** (i / 4 + 0.5) for i in range(5)]
    curves = monotone(anchor, [i / 4 for i in range(5)]), monotone(test, [i / 4 + 0.6 for i in range(5)])
    assert bd_value(*curves).value == pytest.approx(0.1)
    assert (bd_value(*curves).low, bd_value(*curves).high) == pytest.approx((10**0.5, 10))
    assert bd_rate(*curves).value == pytest.approx(100 * (10**-0.1 - 1))
    assert (bd_rate(*curves).low, bd_rate(*curves).high) == pytest.approx((0.6, 1))


def test_a_curve_that_falls_is_compared_by_its_regression():
    anchor, test = monotone(RATES, TOP1), monotone(RATES, [0.5, 0.66, 0.62, 0.72])
    by_hand = rd.pchip_bd_rate(RATES, TOP1, [0.1, math.sqrt(0.08), 0.8], [0.5, 0.64, 0.72])
    assert bd_rate(anchor, test).value == pytest.approx(by_hand)
    assert bd_rate(anchor, anchor).value == pytest.approx(0)


@pytest.mark.parametrize(
    ("rates", "values", "words"),
    [
        (RATES[:3], TOP1[:3], "method's curve has 3 points, at least 4 are needed"),
        (RATES, [0.7, 0.6, 0.5, 0.4], "method's curve does not rise at all"),
        (RATES, [0.75, 0.8, 0.85, 0.9], "curves do not overlap in this figure"),
        (RATES, [0.68, 0.8, 0.85, 0.9], r"curves overlap in this figure in 18% of the shorter one only"),
    ],
)
def test_curves_without_a_bd_rate_say_why(rates, values, words):
    found = bd_rate(monotone(RATES, TOP1), monotone(rates, values))
    assert found.value is None
    assert words in found.problem


def test_curves_without_a_bd_value_say_why():
    far = monotone([1, 2, 4, 8], TOP1)
    assert bd_value(monotone(RATES, TOP1), far).problem == "the curves do not overlap in rate"
    assert (bd_value(monotone(RATES, TOP1), far).low, bd_value(monotone(RATES, TOP1), far).high) == (
        pytest.approx(1),
        pytest.approx(0.8),
    )
    assert "method's curve has 1 points" in bd_value(monotone(RATES, TOP1), monotone([1], [1])).problem


def test_the_rate_at_the_anchors_best_needs_no_curve():
    assert rate_at_best(RATES, TOP1, [0.1, 0.2, 0.3], [0.8, 0.7, 0.9]) == pytest.approx(100 * (0.1 / 0.8 - 1))
    # the anchor has its best figure at 0.2 already, and the test reaches it at 0.3
    assert rate_at_best(RATES, [0.5, 0.72, 0.68, 0.72], [0.1, 0.3, 0.6], [0.7, 0.72, 0.8]) == pytest.approx(50)
    assert rate_at_best(RATES, TOP1, RATES, [0.5, 0.5, 0.6, 0.7]) is None
    assert rate_at_best([], [], RATES, TOP1) is None
