"""Comparing the methods of an evaluation: curves of every metric, Bjøntegaard deltas, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from taskodec.evaluation.curves import Delta, MonotoneCurve, bd_rate, bd_value, monotone, rate_at_best
from taskodec.evaluation.methods import PLAIN, Method
from taskodec.evaluation.rows import Row

__all__ = ["Comparing", "Comparison", "CurveChange", "Draw", "Estimate", "Group", "estimate"]

LEVEL = 95
"""Percent of the confidence intervals."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, and from how many resamples that is; no interval without any."""

    value: float
    low: float | None = None
    high: float | None = None
    resamples: int = 0


@dataclass(frozen=True)
class CurveChange:
    """A curve that did not ascend: its points as measured, and what deltas are worked out from in their place.

    `level` has the qualities of those points that became one.
    """

    method: str
    metric: str
    raw: tuple[tuple[float, float], ...]
    used: tuple[tuple[float, float], ...]
    level: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """A method against an anchor by one metric.

    `rate` is the BD-rate in percent, `value` the BD-metric in the metric's own units; their estimates are None where
    the delta has a problem. `at_best` is by how many percent more bits, at most, the method reaches the anchor's best
    figure, and `anchor_at_best` the same with the two exchanged. `changed` names those whose curve did not ascend, and
    `resamples_changed` counts the draws in which one of them did not.
    """

    method: str
    anchor: str
    metric: str
    higher_is_better: bool
    rate: Delta
    rate_estimate: Estimate | None
    value: Delta
    value_estimate: Estimate | None
    at_best: float | None
    anchor_at_best: float | None
    changed: tuple[str, ...]
    resamples_changed: int


@dataclass(frozen=True)
class Group:
    """The rows of one method at one quality, in one order of images for all groups."""

    method: Method
    quality: float | None
    rows: Sequence[Row]


@dataclass(frozen=True)
class Draw:
    """Rates and figures of all groups over one choice of images."""

    bpp: Sequence[float]
    figures: Sequence[Mapping[str, float]]


class Comparing:
    """Curves of every method, over all images and over every draw.

    All methods are compared with the one named `baseline`; with `plain` where that is None.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        metrics: Mapping[str, bool],
        whole: Draw,
        draws: Sequence[Draw],
        baseline: str | None = None,
    ) -> None:
        self.groups, self.metrics, self.whole, self.draws = groups, metrics, whole, draws
        self.baseline = baseline
        self.methods = list(dict.fromkeys(group.method for group in groups if group.method.kind != "original"))
        self.at = {m.name: [i for i, group in enumerate(groups) if group.method == m] for m in self.methods}

    def changes(self) -> Iterable[CurveChange]:
        """Every curve that does not ascend."""
        for metric, better in self.metrics.items():
            for method in self.methods:
                rates, values = self._points(self.whole, method.name, metric)
                curve = monotone(rates, values)
                if curve.level:
                    own = [i for i in self.at[method.name] if math.isfinite(self.whole.figures[i][metric])]
                    sign = 1 if better else -1
                    raw = tuple((rate, sign * value) for rate, value in zip(rates, values, strict=True))
                    used = tuple((rate, sign * value) for rate, value in zip(*curve.by_value, strict=True))
                    level = tuple(tuple(self.groups[own[i]].quality for i in block) for block in curve.level)
                    yield CurveChange(method.name, metric, raw, used, level)

    def comparisons(self) -> Iterable[Comparison]:
        """Every method against the baseline, and every one that is no anchor against the anchors."""
        for metric in self.metrics:
            curves = {m.name: self._curve(self.whole, m.name, metric) for m in self.methods}
            drawn = [{m.name: self._curve(draw, m.name, metric) for m in self.methods} for draw in self.draws]
            for anchor in self.methods:
                for method in self.methods:
                    against_baseline = self._is_baseline(anchor) and method != anchor
                    if against_baseline or (anchor.kind == "anchor" and method.learned):
                        yield self._compare(method.name, anchor.name, metric, curves, drawn)

    def baseline_name(self) -> str:
        """The method that all are compared with; empty where it is not there."""
        return next((method.name for method in self.methods if self._is_baseline(method)), "")

    def pairs(self, anchor: str, method: str, metric: str) -> Iterator[tuple[MonotoneCurve, MonotoneCurve]]:
        """The curves of both, over all images and then over those of each draw."""
        for each in (self.whole, *self.draws):
            yield self._curve(each, anchor, metric), self._curve(each, method, metric)

    def _is_baseline(self, method: Method) -> bool:
        return method.kind == PLAIN if self.baseline is None else method.name == self.baseline

    def _compare(
        self,
        method: str,
        anchor: str,
        metric: str,
        curves: Mapping[str, MonotoneCurve],
        drawn: Sequence[Mapping[str, MonotoneCurve]],
    ) -> Comparison:
        sign = 1 if self.metrics[metric] else -1
        rate, value = (function(curves[anchor], curves[method]) for function in (bd_rate, bd_value))
        rates, values = (
            [delta.value for each in drawn if (delta := function(each[anchor], each[method])).value is not None]
            for function in (bd_rate, bd_value)
        )
        if not self.metrics[metric]:  # lower is better: back to the metric's own values
            rate = replace(rate, low=-rate.high, high=-rate.low)
            value = replace(value, value=None if value.value is None else -value.value)
        raw, raw_anchor = (self._points(self.whole, name, metric) for name in (method, anchor))
        return Comparison(
            method=method,
            anchor=anchor,
            metric=metric,
            higher_is_better=self.metrics[metric],
            rate=rate,
            rate_estimate=None if rate.value is None else estimate(rate.value, rates),
            value=value,
            value_estimate=None if value.value is None else estimate(value.value, [sign * v for v in values]),
            at_best=rate_at_best(*raw_anchor, *raw),
            anchor_at_best=rate_at_best(*raw, *raw_anchor),
            changed=tuple(name for name in (method, anchor) if curves[name].level),
            resamples_changed=sum(bool(each[method].level or each[anchor].level) for each in drawn),
        )

    def _curve(self, draw: Draw, method: str, metric: str) -> MonotoneCurve:
        return monotone(*self._points(draw, method, metric))

    def _points(self, draw: Draw, method: str, metric: str) -> tuple[list[float], list[float]]:
        """Rates and values, more of which is better; figures that do not exist (NaN) are no points."""
        sign = 1 if self.metrics[metric] else -1
        own = [i for i in self.at[method] if math.isfinite(draw.figures[i][metric])]
        return [draw.bpp[i] for i in own], [sign * draw.figures[i][metric] for i in own]


def estimate(value: float, drawn: Sequence[float]) -> Estimate:
    """With the percentiles of what was drawn."""
    finite = [v for v in drawn if math.isfinite(v)]
    if not finite:
        return Estimate(value)
    low, high = np.percentile(finite, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), len(finite))
