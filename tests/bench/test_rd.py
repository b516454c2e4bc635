import json
import math
from pathlib import Path

import pytest
from PIL import Image

from taskodec.bench.fidelity import Point
from taskodec.bench.published import PublishedCurve
from taskodec.bench.rd import Summary, bd_rate, decibel, summarise
from taskodec.bench.rd_report import as_json, markdown, plot, print_tables

RATES, DBS = [0.1, 0.2, 0.4, 0.8, 1.6], [28.0, 31.0, 34.2, 37.0, 39.5]


def point(image, codec, quality, bpp, db, anchor=False):
    ms_ssim = 1 - 10 ** (-db / 20)
    return Point(
        image, image, codec, anchor, "1", "cpu", quality, 8, 8, 8, bpp, db, ms_ssim, None, encode_seconds=0.5,
        decode_seconds=0.25,
    )  # fmt: skip


def curve(image, codec, factor=1.0, anchor=False, rates=RATES, dbs=DBS):
    return [point(image, codec, i, factor * r, db, anchor) for i, (r, db) in enumerate(zip(rates, dbs, strict=True))]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1, 2.0])
def test_a_shifted_curve_has_the_shift_as_its_bd_rate(factor):
    found = bd_rate(RATES, DBS, [factor * rate for rate in RATES], DBS)
    assert found.percent == pytest.approx(100 * (factor - 1))
    assert (found.low, found.high) == (28.0, 39.5)


def test_straight_lines_have_a_bd_rate_that_can_be_worked_out():
    # log10 rate is (db - 30) / 10 and (db - 30) / 20: the difference over 30..40 dB is -1/4 on average
    anchor = [10 ** ((db - 30) / 10) for db in range(30, 41, 2)]
    test = [10 ** ((db - 30) / 20) for db in range(20, 41, 5)]
    found = bd_rate(anchor, list(range(30, 41, 2)), test, list(range(20, 41, 5)))
    assert found.percent == pytest.approx(100 * (10**-0.25 - 1))
    assert (found.low, found.high) == (30, 40)


def test_the_order_of_points_does_not_matter():
    assert bd_rate(RATES[::-1], DBS[::-1], RATES, DBS).percent == pytest.approx(0)


@pytest.mark.parametrize(
    ("rates", "dbs", "words"),
    [
        (RATES[:3], DBS[:3], "codec's curve has 3 points"),
        (RATES, [28, 31, 30, 37, 39], "codec's curve does not ascend"),
        ([0.1, 0.2, 0.2, 0.3, 0.4], DBS, "codec's curve does not ascend"),
        (RATES, [10, 12, 14, 16, 18], "do not overlap"),
        (RATES, [20, 22, 24, 26, 28.5], "overlap only from 28.0 to 28.5 dB"),
    ],
)
def test_curves_that_cannot_be_compared_say_why(rates, dbs, words):
    found = bd_rate(RATES, DBS, rates, dbs)
    assert found.percent is None
    assert words in found.problem


def test_decibel():
    assert decibel(0.99) == pytest.approx(20)
    assert decibel(1.0) == 100


def test_means_are_over_images():
    points = [point("a", "lite", 1, 0.2, 30), point("b", "lite", 1, 0.4, 40), point("a", "lite", 2, 0.1, 25)]
    summary = summarise(points)
    (lite,) = summary.curves
    assert [p.quality for p in lite.points] == [2, 1]  # ascending in rate
    assert lite.points[1].bpp == pytest.approx(0.3)
    assert lite.points[1].psnr == pytest.approx(35)
    assert lite.points[1].ms_ssim_db == pytest.approx(-10 * math.log10((10**-1.5 + 10**-2) / 2))
    assert (summary.images, summary.comparisons) == (2, ())


@pytest.fixture
def summary():
    """Two images: on one `lite` needs half the bits of `jpeg`, on the other a tenth more; a third is no good."""
    points = [p for image in "abc" for p in curve(image, "jpeg", anchor=True)]
    points += curve("a", "lite", 0.5) + curve("b", "lite", 1.1) + curve("c", "lite", dbs=[30, 29, 33, 34, 35])
    return summarise(points)


def test_bd_rates_are_averaged_over_the_images_that_have_one(summary):
    by_psnr, by_ms_ssim = summary.comparisons
    assert (by_psnr.metric, by_ms_ssim.metric) == ("PSNR", "MS-SSIM")
    for each in summary.comparisons:
        assert each.per_image == pytest.approx((-50 + 10) / 2)
        assert (each.used, each.images, sum(each.problems.values())) == (2, 3, 1)
        assert "does not ascend" in next(iter(each.problems))
        assert each.mean_curve.percent is not None


def test_reports_state_figures_and_gaps(summary, capsys):
    print_tables(summary)
    text = markdown(summary)
    for report in (capsys.readouterr().out, text):
        for words in ("-20.0 %", "2 of 3", "no BD-rate of 1 of 3 images: the codec's curve does not ascend"):
            assert words in " ".join(report.split())
    assert "| lite | 0 | 0.0867 | 28.67 |" in text
    values = json.loads(json.dumps(as_json(summary)))
    assert values["bd_rates"][0]["per_image"] == pytest.approx(-20)
    assert [c["codec"] for c in values["curves"]] == ["jpeg", "lite"]


def test_a_narrow_common_range_is_stated():
    points = curve("a", "jpeg", anchor=True, dbs=[34, 36, 38, 40, 42]) + curve("a", "lite")
    summary = summarise(points)
    assert summary.comparisons[0].mean_curve.percent is not None
    assert "meet in 48% of the codec's range" in markdown(summary)


def test_plots_are_pictures_of_all_curves(summary, tmp_path):
    both = {"PSNR": (28.0, 36.0), "MS-SSIM": (11.0, 19.0)}
    published = [PublishedCurve("VTM", Path("vtm.json"), (0.1, 0.9), both)]
    published.append(PublishedCurve("elic", Path("elic.json"), (0.2, 0.8), {"PSNR": (30.0, 37.0)}))
    paths = plot(summary.curves, tmp_path, published)
    assert [p.name for p in paths] == ["rd_psnr.png", "rd_psnr.svg", "rd_ms_ssim.png", "rd_ms_ssim.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in paths[1].read_bytes()
    psnr, ms_ssim = paths[1].read_text(), paths[3].read_text()
    for words, drawn in (("VTM (not measured here)", True), ("elic (not measured here)", False), ("lite", True)):
        assert words in psnr
        assert (words in ms_ssim) == drawn
    text = markdown(summary, paths, published)
    assert "![rd_psnr](rd_psnr.png)" in text
    assert "not measured here: VTM (vtm.json), elic (elic.json)" in text


def test_many_names_stand_below_the_curves(summary, tmp_path):
    values = {"PSNR": (28.0, 36.0), "MS-SSIM": (11.0, 19.0)}
    published = [PublishedCurve(f"codec {i}", Path("a.json"), (0.1, 0.9), values) for i in range(10)]
    sizes = []
    for count in (2, len(published)):
        with Image.open(plot(summary.curves, tmp_path, published[:count])[0]) as picture:
            sizes.append(picture.size)
    (width, height), (same, taller) = sizes
    assert width == same
    assert height < taller


def test_nothing_measured_is_an_empty_summary():
    assert summarise([]) == Summary(0, (), (), ())
