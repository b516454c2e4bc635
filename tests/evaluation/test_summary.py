import math
from typing import ClassVar

import numpy as np
import pytest

from taskodec.contracts import Evaluator
from taskodec.evaluation.deltas import estimate
from taskodec.evaluation.methods import Method
from taskodec.evaluation.rows import Row
from taskodec.evaluation.summary import complete_rows, summarise

PLAIN, TTFT, JPEG, ORIGINAL = (
    Method("plain", "plain"),
    Method("ttft", "ttft"),
    Method("jpeg", "anchor"),
    Method("original", "original"),
)
RATES = [0.1, 0.2, 0.4, 0.8]


class Mean(Evaluator):
    """The mean of each record's `top1`, and of its `distance`."""

    metrics: ClassVar = {"top1": True, "distance": False}

    def observe(self, name, x_hat, x):
        raise NotImplementedError

    def summarise(self, records):
        return {metric: float(np.mean([record[metric] for record in records])) for metric in self.metrics}


def row(image, method, quality, bpp, top1, **more):
    record = {"top1": top1, "distance": 2 - top1}
    return Row(image, image, method, quality, "0", 8, 8, 1 - top1, record, bpp=bpp, **more)


def curve(method, rates, figures, images="abcd"):
    """Rows of a curve whose images lie around it in figure."""
    return [
        row(image, method, float(q), rate, figure + 0.01 * (n - (len(images) - 1) / 2))
        for n, image in enumerate(images)
        for q, (rate, figure) in enumerate(zip(rates, figures, strict=True), 1)
    ]


def of(summary, method, anchor, metric):
    (found,) = (c for c in summary.comparisons if (c.method, c.anchor, c.metric) == (method, anchor, metric))
    return found


def test_points_are_means_of_rates_and_figures_of_the_evaluator():
    rows = [
        row("a", "ttft", 2.0, 0.4, 1.0, bpp_latent=0.3, bpp_adapter=0.06, bpp_header=0.04, seconds=2.0, chosen="x"),
        row("b", "ttft", 2.0, 0.2, 0.5, bpp_latent=0.1, bpp_adapter=0.04, bpp_header=0.06, seconds=4.0, chosen="x"),
        row("a", "ttft", 1.0, 0.1, 0.5, chosen="untuned"),
        row("b", "ttft", 1.0, 0.1, 0.0, chosen="x"),
        row("a", "original", None, None, 1.0),
        row("b", "original", None, None, 1.0),
    ]
    summary = summarise(rows, [ORIGINAL, TTFT], Mean(), task="cls", resamples=0)
    ceiling, low, high = summary.points
    assert (summary.task, summary.images, summary.resamples) == ("cls", 2, 0)
    assert dict(summary.metrics) == {"top1": True, "distance": False, "task_loss": False}
    assert (ceiling.method, ceiling.kind, ceiling.quality, ceiling.bpp) == ("original", "original", None, None)
    assert (low.quality, high.quality) == (1, 2)
    assert high.bpp.value == pytest.approx(0.3)
    assert (high.bpp_latent, high.bpp_adapter, high.bpp_header) == pytest.approx((0.2, 0.05, 0.05))
    assert high.seconds == 3
    assert low.seconds is None
    assert {metric: figure.value for metric, figure in high.figures.items()} == pytest.approx(
        {"top1": 0.75, "distance": 1.25, "task_loss": 0.25}
    )
    assert high.figures["top1"].low is None
    assert (dict(low.chosen), dict(high.chosen)) == ({"untuned": 1, "x": 1}, {"x": 2})
    assert summary.comparisons == ()


def test_the_main_metric_comes_first_and_a_metric_of_ones_own_for_the_loss_stays():
    class Own(Mean):
        metrics: ClassVar = {"task_loss": True}

        def summarise(self, records):
            return {"task_loss": 7.0}

    summary = summarise([row("a", "plain", 1.0, 0.1, 0.5)], [PLAIN], Own(), resamples=0)
    assert dict(summary.metrics) == {"task_loss": True}
    assert summary.points[0].figures["task_loss"].value == 7


def test_every_method_against_plain_and_learned_ones_against_anchors():
    rows = curve("plain", RATES, [0.5, 0.6, 0.7, 0.75])
    rows += curve("ttft", [r / 2 for r in RATES], [0.5, 0.6, 0.7, 0.75])
    rows += curve("jpeg", [2 * r for r in RATES], [0.5, 0.6, 0.7, 0.75])
    summary = summarise(rows, [PLAIN, TTFT, JPEG], Mean(), resamples=0)
    rates = {(c.method, c.anchor): c.rate.value for c in summary.comparisons if c.metric == "top1"}
    expected = {("ttft", "plain"): -50, ("jpeg", "plain"): 100, ("plain", "jpeg"): -50, ("ttft", "jpeg"): -75}
    assert rates == pytest.approx(expected)
    assert of(summary, "ttft", "plain", "top1").at_best == pytest.approx(-50)
    assert of(summary, "ttft", "plain", "top1").anchor_at_best == pytest.approx(100)
    assert summary.changes == ()


def test_low_metrics_have_the_same_bd_rate_and_a_bd_value_of_their_own_sign():
    rows = curve("plain", RATES, [0.5, 0.6, 0.7, 0.75]) + curve("ttft", RATES, [0.55, 0.65, 0.75, 0.8])
    summary = summarise(rows, [PLAIN, TTFT], Mean(), resamples=0)
    top1, distance, loss = (of(summary, "ttft", "plain", m) for m in ("top1", "distance", "task_loss"))
    assert top1.rate.value == pytest.approx(distance.rate.value)
    assert top1.rate.value == pytest.approx(loss.rate.value)
    assert (top1.value.value, distance.value.value) == pytest.approx((0.05, -0.05))
    assert (top1.rate.low, top1.rate.high) == pytest.approx((0.55, 0.75))
    assert (distance.rate.low, distance.rate.high) == pytest.approx((1.25, 1.45))
    assert (top1.at_best, distance.at_best) == pytest.approx((-50, -50))


def test_a_curve_that_falls_is_named_with_its_raw_points():
    rows = curve("plain", RATES, [0.5, 0.6, 0.7, 0.75]) + curve("ttft", RATES, [0.55, 0.72, 0.7, 0.8])
    summary = summarise(rows, [PLAIN, TTFT], Mean(), resamples=0)
    top1, distance = summary.changes[:2]
    assert (top1.method, top1.metric, top1.level) == ("ttft", "top1", ((2, 3),))
    assert [value for _, value in top1.raw] == pytest.approx([0.55, 0.72, 0.7, 0.8])
    assert [value for _, value in top1.used] == pytest.approx([0.55, 0.71, 0.8])
    assert [rate for rate, _ in top1.used] == pytest.approx([0.1, math.sqrt(0.08), 0.8])
    assert [value for _, value in distance.used] == pytest.approx([1.45, 1.29, 1.2])
    assert of(summary, "ttft", "plain", "top1").changed == ("ttft",)


def test_figures_that_do_not_exist_are_no_points():
    rows = curve("plain", RATES, [0.5, 0.6, 0.7, 0.75])
    rows += curve("ttft", [*RATES, 1.6], [0.5, math.nan, 0.6, 0.7, 0.75])
    summary = summarise(rows, [PLAIN, TTFT], Mean(), resamples=0)
    found = of(summary, "ttft", "plain", "top1")
    assert found.rate.value > 0
    assert found.rate.problem == ""
    nothing = summarise(rows[:16] + curve("ttft", RATES, [math.nan] * 4), [PLAIN, TTFT], Mean(), resamples=0)
    assert "0 points" in of(nothing, "ttft", "plain", "top1").rate.problem
    assert of(nothing, "ttft", "plain", "top1").at_best is None


def test_intervals_of_means_are_those_of_the_bootstrap():
    generator = np.random.default_rng(1)
    values = generator.normal(0.5, 0.1, 100)
    rows = [row(f"{i:03}", "plain", 1.0, 0.1 + 0.01 * i, value) for i, value in enumerate(values)]
    summary = summarise(rows, [PLAIN], Mean(), resamples=2000)
    (point,) = summary.points
    spread = 1.96 * values.std() / 10
    found = point.figures["top1"]
    assert (found.low, found.high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.003)
    assert found.resamples == 2000
    assert point.bpp.low < point.bpp.value < point.bpp.high
    assert summarise(rows, [PLAIN], Mean(), resamples=50) == summarise(rows[::-1], [PLAIN], Mean(), resamples=50)


def test_the_same_images_are_drawn_for_both_curves():
    # images differ widely, but by the same in both methods: the deltas do not differ at all
    rows = [
        row(image, method, float(q), rate * 2**n * factor, 0.5 + 0.05 * q)
        for n, image in enumerate("abcdef")
        for method, factor in (("plain", 1), ("ttft", 0.5))
        for q, rate in enumerate(RATES)
    ]
    summary = summarise(rows, [PLAIN, TTFT], Mean(), resamples=100)
    found = of(summary, "ttft", "plain", "top1")
    assert (found.rate_estimate.low, found.rate_estimate.high) == pytest.approx((-50, -50))
    assert found.rate_estimate.resamples == 100
    assert found.resamples_changed == 0


def test_resamples_without_a_delta_are_counted():
    # without image b, ttft's figures fall
    rows = curve("plain", RATES, [0.5, 0.6, 0.7, 0.75], "ab")
    rows += [row("a", "ttft", float(q), rate, 0.7 - 0.1 * q) for q, rate in enumerate(RATES)]
    rows += [row("b", "ttft", float(q), rate, 0.4 + 0.2 * q) for q, rate in enumerate(RATES)]
    summary = summarise(rows, [PLAIN, TTFT], Mean(), resamples=200)
    found = of(summary, "ttft", "plain", "top1")
    assert found.rate.value is not None
    assert 0 < found.rate_estimate.resamples < 200
    assert found.resamples_changed >= 200 - found.rate_estimate.resamples


def test_estimates_pass_over_what_is_not_finite():
    found = estimate(1.0, [0.0, math.nan, 100.0])
    assert (found.low, found.high, found.resamples) == pytest.approx((2.5, 97.5, 2))
    assert estimate(1.0, []).low is None


def test_whole_images_only():
    rows = [row("a", "plain", 1.0, 1, 1), row("b", "plain", 1.0, 1, 1), row("a", "plain", 2.0, 1, 1)]
    assert complete_rows(rows, 2) == [rows[0], rows[2]]


def test_progress_counts_the_draws():
    seen = []
    summarise(
        [row("a", "plain", 1.0, 1, 1)], [PLAIN], Mean(), resamples=3, progress=lambda *call: seen.append(call[:2])
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
