import json
from dataclasses import replace
from typing import ClassVar

import pytest

from taskodec.contracts import Evaluator
from taskodec.evaluation.methods import Method
from taskodec.evaluation.report import as_json, markdown, plot, print_tables
from taskodec.evaluation.rows import Row
from taskodec.evaluation.summary import summarise

METHODS = [
    Method("original", "original"),
    Method("plain", "plain"),
    Method("ttft:quick", "ttft", preset="quick"),
    Method("jpeg", "anchor"),
]
RATES = [0.1, 0.2, 0.4, 0.8]
ABOUT = {
    "original": {},
    "plain": {
        "codec": "lite",
        "codec_fingerprint": "c0",
        "adapter": None,
        "adapter_fingerprint": None,
        "steps": 0,
        "phases": [],
        "notes": [],
    },
    "ttft:quick": {
        "codec": "lite",
        "codec_fingerprint": "c0",
        "adapter": "lite-cls",
        "adapter_fingerprint": "ad",
        "steps": 20,
        "phases": ["latents+decoder", "encoder"],
        "notes": ["a note"],
    },
    "jpeg": {"anchor": "Pillow 12"},
}


class Top1(Evaluator):
    metrics: ClassVar = {"Top-1": True}

    def observe(self, name, x_hat, x):
        raise NotImplementedError

    def summarise(self, records):
        return {"Top-1": sum(record["top1"] for record in records) / len(records)}


def rows(method, rates, figures, spread=0.1):
    return [
        Row(image, image, method, q, "0", 8, 8, 1 - figure, {"top1": figure + off}, bpp=rate)
        for image, off in (("a", spread), ("b", -spread))
        for q, (rate, figure) in enumerate(zip(rates, figures, strict=True), 1)
    ]


def summary_of(ttft, resamples=20, rates=RATES):
    measured = rows("plain", RATES, [0.5, 0.6, 0.7, 0.75]) + rows("ttft:quick", rates, ttft)
    measured += rows("jpeg", [2 * rate for rate in RATES], [0.5, 0.6, 0.7, 0.75])
    measured += [replace(row, quality=None, bpp=None) for row in rows("original", [0], [0.9])]
    return summarise(measured, METHODS, Top1(), task="cls", about=ABOUT, resamples=resamples)


@pytest.fixture(scope="module")
def wavering():
    """A summary in which the tuned curve falls once."""
    return summary_of([0.6, 0.72, 0.7, 0.8])


def words(text):
    return " ".join(text.split())


def test_both_reports_state_figures_and_what_they_were_measured_with(wavering, capsys):
    print_tables(wavering)
    for text in (words(capsys.readouterr().out), words(markdown(wavering))):
        assert "cls over 2 images" in text
        assert "task_loss (low is good)" in text
        assert "plain: codec lite, weights c0; no adapter; no tuning" in text
        assert "adapter lite-cls, ad; 20 steps of latents+decoder, then encoder; a note" in text
        assert "jpeg: Pillow 12" in text
        assert "0.7500 [0.6500, 0.8500]" in text


def test_curves_made_monotone_are_marked_and_shown_beside_the_raw_points(wavering):
    text = markdown(wavering)
    assert "| ttft:quick* | plain | Top-1 | " in text
    assert "## Curves made monotone" in text
    measured, used = "0.1000, 0.6000; 0.2000, 0.7200; 0.4000, 0.7000; 0.8000, 0.8000", "0.1000, 0.6000; 0.2828, 0.7100"
    assert f"| ttft:quick | Top-1 | {measured} | {used}; 0.8000, 0.8000 | 2+3 |" in text
    assert "curves were made monotone in 20 of 20 resamples (ttft:quick against plain by Top-1" in text
    assert "monotone" not in markdown(summary_of([0.6, 0.7, 0.75, 0.8]))


def test_a_curve_wholly_above_has_no_bd_rate_but_a_bound():
    text = words(markdown(summary_of([0.76, 0.8, 0.85, 0.9], rates=[rate / 2 for rate in RATES])))
    assert "no BD-rate: the curves do not overlap in this figure; at the anchor's best figure the method saves" in text
    assert "saves 93.8 % at least (ttft:quick against plain by Top-1" in text
    below = words(markdown(summary_of([0.1, 0.2, 0.3, 0.4])))
    assert "at the method's best figure the anchor saves 87.5 % at least (ttft:quick against plain by Top-1" in below


def test_images_left_out_are_counted(wavering):
    assert "left out" not in markdown(wavering)
    assert "3 images left out" in markdown(replace(wavering, left_out=3))


def test_json_holds_everything(wavering):
    values = json.loads(json.dumps(as_json(wavering)))
    assert [(p["method"], p["quality"]) for p in values["points"]][:2] == [("original", None), ("plain", 1)]
    assert values["changes"][0]["level"] == [[2, 3]]
    assert values["comparisons"][0]["rate_estimate"]["resamples"] <= 20
    assert values["about"]["jpeg"] == {"anchor": "Pillow 12"}


def test_plots_are_pictures_of_every_metric(wavering, tmp_path):
    paths = plot(wavering, tmp_path)
    assert [p.name for p in paths] == [
        "rate_top_1.png",
        "rate_top_1.svg",
        "rate_task_loss.png",
        "rate_task_loss.svg",
    ]
    text = paths[1].read_text()
    for label in ("original", "plain", "ttft:quick", "jpeg", "Top-1", "bits per pixel"):
        assert f"<!-- {label} -->" in text
    assert "![rate_top_1](rate_top_1.png)" in markdown(wavering, paths)
    assert (
        plot(summary_of([0.6, 0.7, 0.75, 0.8], resamples=0), tmp_path)[1].read_text().count("stroke-dasharray: 3.7")
        == 0
    )
    assert "stroke-dasharray: 3.7" in text
