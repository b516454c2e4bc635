import json
from dataclasses import replace

import pytest

from taskodec.evaluation.ablation_report import as_json, markdown, plot, print_tables
from taskodec.evaluation.ablation_summary import CaseSummary, Line
from taskodec.evaluation.curves import Delta
from taskodec.evaluation.deltas import Comparison, Estimate

PAPER = Line(
    variant="paper",
    about="as published",
    cost=0.5,
    cost_of_baseline=None,
    cost_of_ours=Estimate(1.25, 1.2, 1.3, 10),
    bpp=0.4,
    adapter_bits=2000.0,
    adapter_of_baseline=None,
    task_loss=0.25,
    metrics={"top1": 0.7, "distance": 0.2, "task_loss": 0.25},
    steps=40.0,
    seconds=8.0,
    seconds_of_baseline=None,
    step_seconds=0.2,
    step_of_baseline=None,
    worse=3,
    rows=12,
    chosen={"encoder+decoder": 12},
)
OURS = replace(
    PAPER,
    variant="+ ours",
    about="better",
    cost_of_baseline=Estimate(0.8, 0.7, 0.9, 10),
    cost_of_ours=None,
    adapter_bits=64.0,
    adapter_of_baseline=0.032,
    seconds_of_baseline=Estimate(0.5, 0.4, 0.6, 10),
    step_seconds=0.1,
    step_of_baseline=Estimate(0.55, 0.5, 0.6, 10),
    worse=0,
)
UNTUNED = replace(
    OURS, variant="untuned", about="", cost_of_baseline=Estimate(1.1), step_seconds=None, step_of_baseline=None
)


def comparison(metric, rate, estimate, changed=()):
    none = Delta(None, problem="unused")
    return Comparison("+ ours", "paper", metric, True, rate, estimate, none, None, None, None, changed, 0)


@pytest.fixture
def summary():
    comparisons = (
        comparison("top1", Delta(-40.0, 0.5, 0.7), Estimate(-40.0, -50.0, -30.0, 10), ("paper",)),
        comparison("distance", Delta(None, problem="the curves do not overlap"), None),
    )
    return CaseSummary(
        codec="tic=a/b.pth",
        task="cls",
        images=3,
        left_out=1,
        qualities=(1.0, 2.0, 3.0, 4.0),
        lmbda={1.0: 0.5, 2.0: 1.0},
        metrics={"top1": True, "distance": False, "task_loss": False},
        baseline="paper",
        ours="+ ours",
        resamples=10,
        clock="cpu_seconds",
        lines=(UNTUNED, PAPER, OURS),
        fastest="+ ours",
        points=(),
        comparisons=comparisons,
        changes=(),
        about={"+ ours": {"adapter": "svd-lora", "codec_fingerprint": "c0", "notes": ["a note"]}},
        notes=("its weights are random",),
    )


def table_of(text, title):
    """The cells of a Markdown table by row."""
    lines = text.partition(f"## {title}\n\n")[2].partition("\n\n")[0].splitlines()
    return {cells[0]: cells[1:] for line in lines if (cells := [cell.strip() for cell in line.strip("|").split(" | ")])}


def test_the_overview_has_ours_against_the_baseline(summary):
    cells = table_of(markdown([summary]), "+ ours, as a multiple of paper")["tic=a/b.pth"]
    assert cells == [
        "cls",
        "0.800 [0.700, 0.900]",
        "0.032",
        "0.550 [0.500, 0.600]",
        "0.500 [0.400, 0.600] (+ ours)",
        "-40.0 %* [-50.0, -30.0]",
        "-",
        "0 of 12",
    ]
    none = table_of(markdown([replace(summary, fastest=None)]), "+ ours, as a multiple of paper")
    assert none["tic=a/b.pth"][4] == "-"


def test_every_variant_has_a_row_of_costs_and_one_of_figures(summary):
    text = markdown([summary])
    title = "tic=a/b.pth, cls, 3 images, qualities 1, 2, 3, 4"
    costs = table_of(text, f"{title}: what it costs")
    assert costs["paper"] == ["0.5000", "-", "1.250 [1.200, 1.300]", "0.4000", "2000", "-", "3 of 12"]
    assert costs["untuned"][1] == "1.100"
    figures = table_of(text, f"{title}: what the task sees, and how long it takes")
    assert figures["variant"] == [
        "task loss", "top1", "distance (low is good)", "steps", "seconds", "of paper", "a step", "of paper"
    ]  # fmt: skip
    assert figures["+ ours"] == ["0.25", "0.7000", "0.2000", "40", "8.00", "0.500", "0.100", "0.550"]
    assert figures["untuned"][-2:] == ["-", "-"]
    rates = table_of(text, f"{title}: BD-rate against paper")
    assert rates == {
        "variant": ["top1", "distance", "task_loss"],
        "---": ["---:", "---:", "---:"],
        "+ ours": ["-40.0 %* [-50.0, -30.0]", "-", "-"],
    }
    assert "BD-rate against" not in markdown([replace(summary, comparisons=())])


def test_notes_say_what_was_measured_with_and_what_could_not_be_compared(summary):
    text = markdown([summary])
    for words in (
        "weights c0, adapter svd-lora in + ours",
        "lmbda 0.5 at 1, 1 at 2",
        "its weights are random",
        "a note",
        "not all rows of 1 more images",
        "the processor's time",
        "no BD-rate, the curves do not overlap (+ ours by distance)",
        "isotonic regression",
        "- `paper`: as published",
    ):
        assert words in text


def test_the_terminal_and_json_say_the_same(summary, capsys):
    print_tables([summary])
    out = capsys.readouterr().out
    assert "0.800 [0.700, 0.900]" in out
    assert "what it costs" in out
    (case,) = json.loads(json.dumps(as_json([summary])))["cases"]
    assert case["lines"][2]["cost_of_baseline"]["value"] == 0.8
    assert case["comparisons"][0]["rate_estimate"]["low"] == -50


def test_plots_have_a_point_for_every_variant(summary, tmp_path):
    written = plot([summary], tmp_path)
    assert [path.name for path in written] == [f"cost_seconds_tic_a_b_pth_cls.{kind}" for kind in ("png", "svg")]
    svg = written[1].read_text()
    assert all(f"<!-- {name} -->" in svg for name in ("untuned", "paper", "+ ours"))
    assert f"![{written[0].stem}]({written[0].name})" in markdown([summary], written)
