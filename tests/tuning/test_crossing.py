import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.tuning.crossing import closest, edge


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=100), st.integers(-5, 105))
def test_the_last_place_that_keeps_the_limit_is_found_from_anywhere(values, start):
    values.sort()
    found = edge(lambda i: values[i], len(values), start)
    assert found == sum(value <= 0 for value in values) - 1


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=100), st.integers(-5, 105), st.floats(0, 5))
def test_a_place_that_keeps_the_limit_nearly_will_do_where_that_is_said(values, start, near):
    values.sort()
    found, last = edge(lambda i: values[i], len(values), start, near=near), sum(value <= 0 for value in values) - 1
    assert found == last or (0 <= found < last and -near < values[found] <= 0)


@pytest.mark.parametrize("limit", [0.5, 3.21, 5.9])
@pytest.mark.parametrize("slope", [None, 0.04, 0.1])
def test_few_looks_are_needed_where_a_curve_is_smooth(limit, slope):
    looks = []

    def miss(place):
        looks.append(place)
        return place / 16 - limit

    assert edge(miss, 97, 48, slope) == math.floor(limit * 16)
    assert len(looks) == len(set(looks)) <= 6


@given(st.floats(0.01, 0.99), st.floats(0.3, 3))
def test_looking_ends_near_the_limit_and_on_its_right_side(root, bend):
    def miss(place):
        return place**bend - root**bend

    place, found = closest(miss, (0.0, miss(0.0)), (1.0, miss(1.0)), looks=40, near=1e-3)
    assert -1e-3 <= found <= 0
    assert found == miss(place)


def test_what_jumps_over_the_limit_ends_on_its_right_side():
    place, found = closest(lambda at: -1.0 if at < 0.3 else 2.0, (0.0, -1.0), (1.0, 2.0), looks=8, near=1e-3)
    assert (found, place < 0.3) == (-1.0, True)


def test_a_limit_that_is_kept_at_the_start_needs_no_look():
    def miss(at):
        raise AssertionError

    assert closest(miss, (0.0, -1e-4), (1.0, 2.0), looks=8, near=1e-3) == (0.0, -1e-4)
