import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import pytest

from taskodec.contracts import Evaluator
from taskodec.errors import TaskodecError
from taskodec.evaluation.ablation_summary import check_weights, summarise_case
from taskodec.evaluation.methods import Method
from taskodec.evaluation.rows import Row
from taskodec.evaluation.variants import Variant, Variants

VARIANTS = Variants(
    baseline="paper",
    ours="ours",
    variants=(Variant(name="untuned"), Variant(name="paper", about="as published"), Variant(name="ours")),
)


class Top1(Evaluator):
    metrics: ClassVar = {"top1": True}

    def observe(self, name, x_hat, x):
        raise NotImplementedError

    def summarise(self, records):
        return {"top1": sum(record["top1"] for record in records) / len(records)}


@dataclass
class FakeCase:
    """What a `Case` has, without a network."""

    images: str
    codec: str = "tiny"
    notes: list = field(default_factory=lambda: ["its weights are random"])

    def __post_init__(self):
        self.sources = list(self.images)
        plan = SimpleNamespace(methods=[(Method(v.name, "ttft"), None) for v in VARIANTS.variants])
        task = SimpleNamespace(name="cls")
        said = {"about": lambda: {"ours": {"adapter": None}}, "judged": list, "made_for": dict}
        self.lab = SimpleNamespace(plan=plan, task=task, evaluator=Top1(), **said)


def row(image, variant, cost, quality=3.0, **more):
    given = {"bpp": 0.5, "bpp_adapter": 0.0, "cost_untuned": 1.0, "lmbda": 2.0, "steps": 4, "seconds": 1.0, **more}
    return Row(image, image, variant, quality, "0", 10, 10, 0.1, {"top1": 1.0}, cost=cost, **given)


def rows_of(costs, qualities=(3.0,), **more):
    """Rows of images a, b, … with one cost each, by variant; the same at all qualities."""
    return [
        row(image, variant, cost, quality, **more.get(variant, {}))
        for variant, own in costs.items()
        for image, cost in zip("abcdef", own, strict=False)
        for quality in qualities
    ]


def lines_of(costs, resamples=200, **more):
    summary = summarise_case(FakeCase("abcdef"), rows_of(costs, **more), VARIANTS, resamples=resamples)
    return {line.variant: line for line in summary.lines}, summary


def test_ratios_are_geometric_means_of_the_ratios_of_single_images():
    lines, summary = lines_of({"untuned": [1, 1], "paper": [1, 4], "ours": [0.5, 8]})
    ours = lines["ours"]
    assert ours.cost == pytest.approx(4.25)
    assert ours.cost_of_baseline.value == pytest.approx(math.sqrt(0.5 * 2))
    assert (ours.cost_of_baseline.low, ours.cost_of_baseline.high) == pytest.approx((0.5, 2))
    assert lines["untuned"].cost_of_ours.value == pytest.approx(math.sqrt(2 / 8))
    assert (ours.cost_of_ours, lines["paper"].cost_of_baseline) == (None, None)
    assert (summary.images, summary.left_out, summary.qualities, summary.lmbda) == (2, 4, (3.0,), {3.0: 2.0})
    assert (lines["paper"].about, summary.notes) == ("as published", ("its weights are random",))


def test_an_interval_is_of_images_whatever_the_qualities():
    costs = {"untuned": [1, 1, 1], "paper": [1, 1, 1], "ours": [0.5, 0.5, 0.5]}
    rows = rows_of(costs, qualities=(1.0, 2.0))
    for number, each in enumerate(rows):
        if each.method == "ours" and each.quality == 2:
            rows[number] = row(each.image, "ours", 0.125, 2.0)
    ours = summarise_case(FakeCase("abc"), rows, VARIANTS).line("ours").cost_of_baseline
    assert (ours.value, ours.low, ours.high) == pytest.approx((0.25, 0.25, 0.25))
    assert ours.resamples == 1000


def test_one_image_has_no_interval_and_neither_have_no_resamples():
    one, _ = lines_of({"untuned": [1], "paper": [1], "ours": [0.5]})
    none, _ = lines_of({"untuned": [1, 1], "paper": [1, 1], "ours": [0.5, 0.6]}, resamples=0)
    assert one["ours"].cost_of_baseline.low is none["ours"].cost_of_baseline.low is None


def test_bits_of_the_adapter_are_of_one_file_and_their_ratio_is_that_of_means():
    costs = {"untuned": [1, 1], "paper": [1, 1], "ours": [1, 1]}
    lines, _ = lines_of(costs, paper={"bpp_adapter": 2.0}, ours={"bpp_adapter": 0.1})
    assert [lines[v].adapter_bits for v in ("untuned", "paper", "ours")] == pytest.approx([0, 200, 10])
    assert lines["ours"].adapter_of_baseline == pytest.approx(0.05)
    assert lines["paper"].adapter_of_baseline is None
    assert lines_of(costs)[0]["ours"].adapter_of_baseline is None


def test_files_that_cost_more_than_before_tuning_are_counted():
    lines, _ = lines_of({"untuned": [1, 1], "paper": [1.1, 0.9], "ours": [1, 0.5]})
    assert [line.worse for line in lines.values()] == [0, 1, 0]
    assert lines["paper"].rows == 2


def test_seconds_are_compared_and_the_fastest_of_those_no_dearer_than_the_baseline_is_named():
    costs = {"untuned": [1.2, 1.2], "paper": [1, 1], "ours": [0.5, 0.5]}
    times = {
        "untuned": {"seconds": 0.1, "steps": 0},
        "paper": {"seconds": 8.0, "step_seconds": 0.2},
        "ours": {"seconds": 2.0, "step_seconds": 0.1},
    }
    lines, summary = lines_of(costs, **times)
    assert (lines["ours"].seconds_of_baseline.value, lines["ours"].step_of_baseline.value) == pytest.approx((0.25, 0.5))
    assert (lines["untuned"].step_seconds, lines["untuned"].step_of_baseline) == (None, None)
    assert (summary.fastest, summary.clock) == ("ours", "seconds")
    own = {variant: {**figures, "cpu_seconds": figures["seconds"] / 4} for variant, figures in times.items()}
    lines, summary = lines_of(costs, **own)
    assert (lines["ours"].seconds, summary.clock) == (0.5, "cpu_seconds")
    assert lines_of({**costs, "ours": [2, 2], "untuned": [0.5, 0.5]}, **times)[1].fastest is None


def test_a_cost_below_zero_has_no_ratio():
    lines, _ = lines_of({"untuned": [1, 1], "paper": [1, 1], "ours": [-1, 1]})
    assert lines["ours"].cost_of_baseline is None
    assert lines["ours"].cost == 0


def test_four_qualities_give_bd_rates_against_the_baseline():
    rows = [
        Row(i, i, v, q, "0", 10, 10, 1 / q, {"top1": q / 4}, bpp=0.1 * q * scale, cost=1.0, cost_untuned=1.0, lmbda=1.0)
        for v, scale in (("untuned", 1.5), ("paper", 1.0), ("ours", 0.5))
        for i in "ab"
        for q in (1.0, 2.0, 3.0, 4.0)
    ]
    summary = summarise_case(FakeCase("ab"), rows, VARIANTS, resamples=5)
    found = {(c.method, c.anchor, c.metric): c.rate_estimate.value for c in summary.comparisons}
    assert found[("ours", "paper", "top1")] == pytest.approx(-50)
    assert found[("untuned", "paper", "task_loss")] == pytest.approx(50)
    assert len(found) == 4
    three = [each for each in rows if each.quality != 4]
    assert summarise_case(FakeCase("ab"), three, VARIANTS, resamples=5).comparisons == ()
    assert summary.line("ours").metrics["top1"] == pytest.approx(0.625)


def test_costs_of_other_weights_do_not_compare():
    rows = rows_of({"paper": [1], "ours": [1]}, ours={"lmbda": 2.1})
    with pytest.raises(TaskodecError, match=r"a, quality 3: paper weighs the loss by 2.0, ours by 2.1.*set task.lmbda"):
        check_weights(rows)
    check_weights(rows_of({"paper": [1, 1], "ours": [1, 1]}))
    check_weights([row("a", "paper", 1, lmbda=2.0), row("b", "ours", 1, lmbda=3.0)])
