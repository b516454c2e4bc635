"""Curves of a task's figure over the rate, and Bjøntegaard deltas between them.

A task's figure need not rise with the rate: top-1 over some hundred images wavers by more than a step in rate brings.
A curve that does not ascend is replaced by its isotonic regression over the rate (pool adjacent violators, Barlow et
al. 1972): the monotone curve nearest to the points. Read by figure, as a BD-rate needs it, a level part is one point:
at its mean log-rate between two slopes, at its cheapest rate where the curve ends level, and at its dearest where it
begins so. CompressAI-Vision fits a monotone cubic for the same reason (Ding et al. 2023, MPEG WG 4, m63692).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from taskodec.bench.rd import MIN_OVERLAP, MIN_POINTS, common_range, pchip_bd_rate, pchip_bd_value
from taskodec.extras import require

__all__ = ["Delta", "MonotoneCurve", "bd_rate", "bd_value", "monotone", "rate_at_best"]


@dataclass(frozen=True)
class MonotoneCurve:
    """Values, more of which is better, that do not fall over the rates; and how they came about.

    `by_value` has rates and values that both ascend strictly, `by_rate` those at every rate. `points` is how many went
    in; `level` has the indices of those that became one, in the order they were given in.
    """

    by_value: tuple[tuple[float, ...], tuple[float, ...]]
    by_rate: tuple[tuple[float, ...], tuple[float, ...]]
    points: int
    level: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Delta:
    """A Bjøntegaard delta and the range it is an average over; None, and the `problem`, if there is none.

    Without a problem, or with one of too short a range, `low` is where both curves begin and `high` where one ends.
    """

    value: float | None
    low: float = math.nan
    high: float = math.nan
    problem: str = ""


def monotone(rates: Sequence[float], values: Sequence[float]) -> MonotoneCurve:
    """The curve through these points, if they ascend strictly, else their isotonic regression over the rate."""
    require("eval", "curves over the rate", only=["scipy"])
    from scipy.optimize import isotonic_regression

    order = sorted(range(len(rates)), key=lambda i: (rates[i], values[i]))
    same_rate = [list(group) for _, group in groupby(order, key=lambda i: rates[i])]
    means = [fmean(values[i] for i in group) for group in same_rate]
    fitted = isotonic_regression(means, weights=[len(group) for group in same_rate]).x if means else []
    # equal means must not differ by what rounding left of them
    pairs = groupby(zip(fitted, same_rate, strict=True), key=lambda pair: float(f"{pair[0]:.12g}"))
    blocks = [(value, [i for _, group in own for i in group]) for value, own in pairs]
    strict = [
        (
            _rate_of([rates[i] for i in block], n == 0, n == len(blocks) - 1),
            values[block[0]] if len(block) == 1 else value,
        )
        for n, (value, block) in enumerate(blocks)
    ]
    level = [tuple(block) for _, block in blocks if len(block) > 1]
    each = [rates[group[0]] for group in same_rate], [float(value) for value in fitted]
    return MonotoneCurve(_columns(strict), (tuple(each[0]), tuple(each[1])), len(rates), tuple(level))


def _rate_of(rates: Sequence[float], first: bool, last: bool) -> float:
    """The rate of a level part; `first` and `last` say whether it is at an end of the curve."""
    if first != last:
        return max(rates) if first else min(rates)
    return math.exp(fmean(math.log(rate) for rate in rates)) if len(rates) > 1 else rates[0]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(rate for rate, _ in points), tuple(value for _, value in points)


def bd_rate(anchor: MonotoneCurve, test: MonotoneCurve) -> Delta:
    """Percent more bits (less than zero: fewer) than the anchor at equal figures, over those that both curves reach."""
    if problem := _too_few(anchor, test):
        return Delta(None, problem=problem)
    low, high, share = common_range(anchor.by_value[1], test.by_value[1])
    if problem := _too_short(share, "in this figure"):
        return Delta(None, low, high, problem)
    return Delta(pchip_bd_rate(*anchor.by_value, *test.by_value), low, high)


def bd_value(anchor: MonotoneCurve, test: MonotoneCurve) -> Delta:
    """How much better the figure is at equal rates, on average over the log-rates that both curves have."""
    if problem := _too_few(anchor, test):
        return Delta(None, problem=problem)
    low, high, share = common_range(*([math.log(rate) for rate in curve.by_rate[0]] for curve in (anchor, test)))
    low, high = math.exp(low), math.exp(high)
    if problem := _too_short(share, "in rate"):
        return Delta(None, low, high, problem)
    return Delta(pchip_bd_value(*anchor.by_rate, *test.by_rate), low, high)


def rate_at_best(
    rates_anchor: Sequence[float], values_anchor: Sequence[float], rates: Sequence[float], values: Sequence[float]
) -> float | None:
    """Percent more bits with which the test reaches the anchor's best figure, at most; None if no point reaches it.

    From the points as they were measured: the cheapest one of the test that is at least as good, against the cheapest
    one of the anchor with its best figure. It needs no curve, and holds where the curves do not overlap.
    """
    if not values_anchor:
        return None
    best = max(values_anchor)
    needed = min(rate for rate, value in zip(rates_anchor, values_anchor, strict=True) if value == best)
    reaching = [rate for rate, value in zip(rates, values, strict=True) if value >= best]
    return 100 * (min(reaching) / needed - 1) if reaching else None


def _too_few(anchor: MonotoneCurve, test: MonotoneCurve) -> str:
    for whose, curve in (("anchor", anchor), ("method", test)):
        if curve.points < MIN_POINTS:
            return f"the {whose}'s curve has {curve.points} points, at least {MIN_POINTS} are needed"
        if len(curve.by_value[0]) < 2:
            return f"the {whose}'s curve does not rise at all: more bits gave no better figure"
    return ""


def _too_short(share: float, where: str) -> str:
    if share <= 0:
        return f"the curves do not overlap {where}"
    if share < MIN_OVERLAP:
        return f"the curves overlap {where} in {share:.0%} of the shorter one only"
    return ""
