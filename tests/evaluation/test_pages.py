import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from taskodec.cli.common import finite
from taskodec.contracts import FunctionTask, MeanEvaluator
from taskodec.errors import UsageError
from taskodec.evaluation.ablation_summary import CaseSummary, Line
from taskodec.evaluation.deltas import Estimate
from taskodec.evaluation.methods import Method
from taskodec.evaluation.pages import (
    ablation_part,
    evaluation_part,
    read_ablation,
    read_evaluation,
    read_suite_summary,
    suite_part,
)
from taskodec.evaluation.rows import Row
from taskodec.evaluation.suite import SuiteResult, SuiteSummary
from taskodec.evaluation.summary import summarise
from taskodec.report.charts import drawn
from taskodec.report.run_page import run_page

PATH = Path("summary.json")
METHODS = [
    Method("original", "original"),
    Method("plain", "plain"),
    Method("ttft", "ttft"),
    Method("jpeg", "anchor"),
]


def rows(method, rates, losses):
    return [
        Row(image, image, method, q, "0", 8, 8, loss * spread, {"task_loss": loss * spread}, bytes=9, bpp=rate)
        for image, spread in (("a <b>", 0.9), ("c", 1.1))
        for q, (rate, loss) in enumerate(zip(rates, losses, strict=True), 1)
    ]


@pytest.fixture(scope="module")
def measured():
    rates = [0.1, 0.2, 0.4, 0.8]
    found = rows("plain", rates, [0.5, 0.4, 0.3, 0.2]) + rows("ttft", rates, [0.4, 0.25, 0.3, 0.1])
    found += rows("jpeg", [2 * rate for rate in rates], [0.9, 0.8, 0.7, 0.6])
    return found + [replace(row, quality=None, bpp=None) for row in rows("original", [0], [0.0])]


@pytest.fixture(scope="module")
def summary(measured):
    evaluator = MeanEvaluator(FunctionTask("t", lambda x_hat, x: x_hat.mean()), {"task_loss": False})
    return summarise(measured, METHODS, evaluator, task="edges", resamples=20)


def through_json(value):
    return json.loads(json.dumps(finite(value)))


def test_a_summary_is_read_back_as_it_was(summary):
    again = read_evaluation(through_json(asdict(summary)), PATH)
    assert run_page([evaluation_part(again)]) == run_page([evaluation_part(summary)])
    assert again.points == summary.points
    assert any(math.isnan(one.rate.low) for one in again.comparisons) == any(
        math.isnan(one.rate.low) for one in summary.comparisons
    )


def test_figures_that_do_not_exist_are_read_back(summary):
    nothing = Estimate(math.nan)
    points = tuple(replace(point, figures={"task_loss": nothing}) for point in summary.points)
    again = read_evaluation(through_json(asdict(replace(summary, points=points, changes=()))), PATH)
    assert all(math.isnan(point.figures["task_loss"].value) for point in again.points)
    page = run_page([evaluation_part(again)])
    assert "<polyline" not in page
    mixed = replace(summary, points=(points[0], *summary.points[1:]))
    assert "<polyline" in run_page([evaluation_part(read_evaluation(through_json(asdict(mixed)), PATH))])


def test_curves_have_bands_levels_and_what_was_used_instead(summary):
    (chart,) = evaluation_part(summary).charts
    names = [series.name for series in chart.series]
    assert names == ["plain", "ttft", "ttft, made monotone", "jpeg"]
    plain, tuned, used, anchor = chart.series
    assert all(low <= y <= high for (_, y), low, high in zip(plain.points, plain.low, plain.high, strict=True))
    assert used.dashed
    assert used.colour == tuned.colour
    assert not anchor.strong
    assert [level.name for level in chart.levels] == ["original"]
    assert chart.x_end == pytest.approx(1.15 * 0.8)
    assert "quality 1: 0.5 [0.4" in plain.tips[0]
    assert drawn(chart).series[0].band


def test_single_rows_are_a_table(summary, measured):
    part = evaluation_part(summary, measured)
    assert part.tables[-1].folded
    assert len(part.tables[-1].rows) == len(measured)
    page = run_page([part])
    assert "a &lt;b&gt;" in page
    assert "a <b>" not in page


def test_what_was_run_is_said(summary):
    run = {"command": ["taskodec", "eval", "--task", "a b"], "when": "today", "environment": {"python": "3.x"}}
    page = run_page([evaluation_part(summary)], [{}, {"command": 3, "environment": 4}, run], ["rate.svg"])
    assert "taskodec eval --task &#39;a b&#39;" in re.sub("</?span[^>]*>", "", page)  # a line breaks between words
    assert "python 3.x" in page
    assert "rate.svg" in page


def test_summaries_show_themselves_in_a_notebook(summary):
    shown = summary._repr_html_()
    assert shown.startswith("<iframe")
    assert shown.count("<") == 2
    assert "Evaluation of edges" in shown


def case():
    line = Line(
        variant="paper",
        about="as published",
        cost=0.5,
        cost_of_baseline=None,
        cost_of_ours=Estimate(1.25, 1.2, 1.3, 10),
        bpp=0.4,
        adapter_bits=2000.0,
        adapter_of_baseline=None,
        task_loss=0.25,
        metrics={"task_loss": 0.25},
        steps=40.0,
        seconds=8.0,
        seconds_of_baseline=None,
        step_seconds=0.2,
        step_of_baseline=None,
        worse=3,
        rows=12,
        chosen={"latents": 12},
    )
    about = {"codec_fingerprint": "c0", "adapter": None, "adapter_fingerprint": None, "notes": []}
    return CaseSummary(
        codec="lite",
        task="cls",
        images=3,
        left_out=0,
        qualities=(2.0,),
        lmbda={2.0: 0.1},
        metrics={"task_loss": False},
        baseline="paper",
        ours="ours",
        resamples=10,
        clock="cpu_seconds",
        lines=(line, replace(line, variant="ours", cost=0.2, seconds=4.0, cost_of_baseline=Estimate(0.4))),
        fastest=None,
        points=(),
        comparisons=(),
        changes=(),
        about={"paper": about, "ours": about},
        notes=(),
    )


def test_an_ablation_is_read_back_and_drawn():
    summaries = [case()]
    again = read_ablation(through_json({"cases": [asdict(one) for one in summaries]}), PATH)
    assert again == summaries
    part = ablation_part(again)
    assert [series.points for series in part.charts[0].series] == [[(8.0, 0.5)], [(4.0, 0.2)]]
    assert part.tables


def test_a_suite_is_read_back():
    result = SuiteResult(
        **{
            field: (
                "word" if kind in (str, "str") else 1 if kind in (int, "int") else None if "None" in str(kind) else 0.5
            )
            for field, kind in SuiteResult.__annotations__.items()
        }
    )
    values = {"results": [asdict(result)], "of_untuned": 0.5, "of_grid": 1.0, "worst": 1.1, "notes": ["a note"]}
    known = {name: values[name] for name in SuiteSummary.__annotations__ if name in values}
    part = suite_part(read_suite_summary(through_json(known), PATH))
    assert part.tables[0].rows[0][0] == "word"
    assert "a note" in part.notes


@pytest.mark.parametrize("values", [None, [], {}, {"cases": []}, {"cases": [{"codec": 3}]}, "text", 3.5])
@pytest.mark.parametrize("read", [read_evaluation, read_ablation, read_suite_summary])
def test_what_is_no_summary(read, values):
    with pytest.raises(UsageError, match=r"summary\.json"):
        read(values, PATH)
