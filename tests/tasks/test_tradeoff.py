import pytest

from taskodec.tasks.tradeoff import weight_at

TABLE = {0.001: 1.0, 0.01: 100.0, 0.1: 1000.0}


@pytest.mark.parametrize(
    ("lmbda", "weight"),
    [
        (0.001, 1.0),
        (0.01, 100.0),
        (0.1, 1000.0),
        (10**-2.5, 10.0),  # halfway between the first two, on logarithmic scales
        (10**-1.5, 10**2.5),
        (0.0001, 0.01),  # beyond the ends: the slope of the outer segment
        (1.0, 10000.0),
    ],
)
def test_power_law_between_and_beyond_the_published_pairs(lmbda, weight):
    assert weight_at(lmbda, TABLE) == pytest.approx(weight)
