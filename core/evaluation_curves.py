"""Curves of a task's figure over the rate, and Bjøntegaard deltas between them.

A task's figure need not rise with the rate: top-1 over some hundred images wavers by more than a step in rate brings.
A curve that does not ascend is replaced by its isotonic regression over the rate (pool adjacent violators, Barlow et
al. 1972): the monotone curve nearest to the points. Of the points that it puts level, one stays, at their mean figure
and mean log-rate, so that the curve can be read both ways. CompressAI-Vision fits a
monotone cubic for the same reason (Ding et al. 2023, ISO/IEC JTC 1/SC 29/WG 4, m63692).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from taskodec.rd import MIN_OVERLAP, MIN_POINTS, common_range, pchip_bd_rate, pchip_bd_value

__all__ = ["Delta", "MonotoneCurve", "bd_rate", "bd_value", "monotone", "rate_at_best"]


@dataclass(frozen=True)
class MonotoneCurve:
    """Ascending rates and values, more of which is better, and how they came about.

    `points` is how many went in; `level` has the indices of those that became one, in the order they were given in.
    """

    rates: tuple[float, ...]
    values: tuple[float, ...]
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
    """The curve through these points, if it ascends strictly, else through those of its isotonic regression."""
    from scipy.optimize import isotonic_regression

    order = sorted(range(len(rates)), key=lambda i: (rates[i], values[i]))
    same_rate = [list(group) for _, group in groupby(order, key=lambda i: rates[i])]
    means = [fmean(values[i] for i in group) for group in same_rate]
    fitted = isotonic_regression(means, weights=[len(group) for group in same_rate]).x if means else []
    new_rates, new_values, level = [], [], []
    # equal means must not differ by what rounding left of them
    for value, pairs in groupby(zip(fitted, same_rate, strict=True), key=lambda pair: float(f"{pair[0]:.12g}")):
        block = [i for _, group in pairs for i in group]
        new_rates.append(math.exp(fmean(math.log(rates[i]) for i in block)) if len(block) > 1 else rates[block[0]])
        new_values.append(value if len(block) > 1 else values[block[0]])
        if len(block) > 1:
            level.append(tuple(block))
    return MonotoneCurve(tuple(new_rates), tuple(new_values), len(rates), tuple(level))


def bd_rate(anchor: MonotoneCurve, test: MonotoneCurve) -> Delta:
    """Percent more bits (less than zero: fewer) than the anchor at equal figures, over those that both curves reach."""
    if problem := _too_few(anchor, test):
        return Delta(None, problem=problem)
    low, high, share = common_range(anchor.values, test.values)
    if problem := _too_short(share, "in this figure"):
        return Delta(None, low, high, problem)
    return Delta(pchip_bd_rate(anchor.rates, anchor.values, test.rates, test.values), low, high)


def bd_value(anchor: MonotoneCurve, test: MonotoneCurve) -> Delta:
    """How much better the figure is at equal rates, on average over the log-rates that both curves have."""
    if problem := _too_few(anchor, test):
        return Delta(None, problem=problem)
    low, high, share = common_range(*([math.log(rate) for rate in curve.rates] for curve in (anchor, test)))
    low, high = math.exp(low), math.exp(high)
    if problem := _too_short(share, "in rate"):
        return Delta(None, low, high, problem)
    return Delta(pchip_bd_value(anchor.rates, anchor.values, test.rates, test.values), low, high)


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
        if len(curve.rates) < 2:
            return f"the {whose}'s curve does not rise at all: more bits gave no better figure"
    return ""


def _too_short(share: float, where: str) -> str:
    if share <= 0:
        return f"the curves do not overlap {where}"
    if share < MIN_OVERLAP:
        return f"the curves overlap {where} in {share:.0%} of the shorter one only"
    return ""
