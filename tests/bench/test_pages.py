import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from taskodec.bench.fidelity import Point
from taskodec.bench.pages import determinism_part, rates_of_points, rates_part, read_rates, speed_part
from taskodec.bench.rd import summarise
from taskodec.cli.common import finite
from taskodec.errors import UsageError
from taskodec.report.run_page import run_page

PATH = Path("rates.json")


def points(codec, anchor, rates, start):
    return [
        Point(image, image, codec, anchor, "1", "cpu", q, 8, 8, 9, rate, start + 3 * q, 0.9 + 0.02 * q, None, 0.1, 0.1)
        for image in ("a", "b")
        for q, rate in enumerate(rates, 1)
    ]


@pytest.fixture
def measured():
    return points("mine <x>", False, [0.1, 0.2, 0.4, 0.7], 25) + points("jpeg", True, [0.2, 0.5, 0.9, 3.0], 25)


def test_curves_end_after_the_codecs(measured):
    part = rates_part(summarise(measured))
    assert [chart.title for chart in part.charts] == ["PSNR", "MS-SSIM"]
    assert [(one.name, one.strong) for one in part.charts[0].series] == [("mine <x>", True), ("jpeg", False)]
    assert part.charts[0].x_end == pytest.approx(1.15 * 0.7)
    page = run_page([part])
    assert "mine &lt;x&gt;" in page
    assert "mine <x>" not in page


def test_rates_are_read_back(measured):
    for found in (measured, measured[:8]):
        summary = summarise(found)
        again = read_rates(json.loads(json.dumps(finite(asdict(summary)))), PATH)
        assert run_page([rates_part(again)]) == run_page([rates_part(summary)])


def test_points_alone_are_summed_up_over_pictures_that_have_all(measured):
    more = replace(measured[0], image="c", digest="c")
    again = replace(measured[0], version="0", psnr=0.0)
    assert rates_of_points([again, *measured, more]) == summarise(measured)


def test_summaries_show_themselves_in_a_notebook(measured):
    assert summarise(measured)._repr_html_().startswith("<iframe")


def test_speed_and_determinism():
    side = {"median": 0.5, "minimum": 0.25}
    values = {"device": "cpu", "threads": 1, "rounds": 2, "images": [{}]}
    values["codecs"] = [{"codec": "lite", "quality": 3.0, "bytes": 99.6, "encode": side, "decode": side}]
    assert speed_part(values, PATH).tables[0].rows == [("lite", "3", "100", "0.5000", "0.2500", "0.5000", "0.2500")]
    row = {"runtime": "threads", "streams": 4, "indexes": 100, "wrong_indexes": 0}
    assert determinism_part({"codecs": {"lite": [row]}}, PATH).tables[0].rows[0][:3] == ("threads", "4", "100")


@pytest.mark.parametrize("values", [None, [], {}, {"codecs": 3}, {"codecs": {"a": [{"b": 1}]}}, {"comparisons": [{}]}])
@pytest.mark.parametrize("read", [read_rates, speed_part, determinism_part])
def test_what_is_none_of_them(read, values):
    with pytest.raises(UsageError, match=r"rates\.json"):
        read(values, PATH)
