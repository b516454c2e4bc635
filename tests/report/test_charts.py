import math

import pytest

from taskodec.report.charts import CANVAS, Chart, Level, Mark, Series, drawn


def places(line):
    return [tuple(map(float, point.split(","))) for point in line.split()]


def test_points_lie_on_the_canvas_in_their_order():
    found = drawn(Chart("t", "x", "y", [Series("a", [(1, 10), (2, 30), (4, 20)])]))
    line = places(found.series[0].line)
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    left, top, right, bottom = found.frame
    assert all(left <= x <= right and top <= y <= bottom for x, y in line)
    assert line[1][1] < line[2][1] < line[0][1]  # 30 lies above 20 above 10
    assert 0 < left < right < CANVAS[0]
    assert 0 < top < bottom < CANVAS[1]


def test_ticks_stand_at_their_numbers():
    found = drawn(Chart("t", "x", "y", [Series("a", [(0, 0), (10, 1)])]))
    numbers = {float(tick.text): tick.at for tick in found.y_ticks}
    zero, one = numbers[0.0], numbers[1.0]
    line = places(found.series[0].line)
    assert line[0][1] == pytest.approx(zero, abs=0.02)
    assert line[1][1] == pytest.approx(one, abs=0.02)


@pytest.mark.parametrize("values", [[0.00012, 0.00034], [5e-9, 7e-9], [1e6, 3e6], [2.0, 2.0], [0.0, 0.0], [-3.0, -1.0]])
def test_ticks_are_told_apart(values):
    found = drawn(Chart("t", "x", "y", [Series("a", list(enumerate(values)))]))
    texts = [tick.text for tick in found.y_ticks]
    assert len(texts) == len(set(texts)) > 0
    assert all(math.isfinite(float(text)) for text in texts)


def test_long_numbers_have_room_beside_the_name_of_their_axis():
    frames = [drawn(Chart("t", "x", "y", [Series("a", [(0, 0), (1, y)])])).frame for y in (1, 0.00123, 3e6)]
    short, decimals, millions = (left for left, *_ in frames)
    assert short < decimals
    assert short < millions < CANVAS[0] / 3


def test_what_is_not_finite_or_beyond_the_end_is_no_point():
    series = Series("a", [(0, 1), (1, math.nan), (2, math.inf), (3, 2), (9, 3)], low=[0, 0, 0, 1, 2], high=[2] * 5)
    found = drawn(Chart("t", "x", "y", [series, Series("b", [(0, math.nan)])], x_end=4))
    assert [one.name for one in found.series] == ["a"]
    assert len(found.series[0].dots) == 2
    assert len(places(found.series[0].band)) == 4


def test_a_band_without_intervals_is_none():
    found = drawn(Chart("t", "x", "y", [Series("a", [(0, 1), (1, 2)], low=[None, None], high=[None, None])]))
    assert found.series[0].band == ""


def test_no_chart_without_a_number():
    assert drawn(Chart("t", "x", "y", [Series("a", [])])) is None
    assert drawn(Chart("t", "x", "y", [])) is None


def test_levels_and_marks():
    chart = Chart("t", "x", "y", [Series("a", [(0, 0), (10, 1)])], [Level("top", 2.0)], [Mark("later", 5.0)])
    found = drawn(chart)
    assert found.levels[0].at < min(y for _, y in places(found.series[0].line))
    xs = [x for x, _ in places(found.series[0].line)]
    assert xs[0] < found.marks[0].at < xs[1]


def test_levels_and_bands_that_are_not_finite_are_left_out():
    series = Series("a", [(0, 1), (1, 2), (2, 3)], low=[math.nan, 1, 2], high=[2, 3, math.inf])
    found = drawn(Chart("t", "x", "y", [series], [Level("none", math.nan), Level("one", 1.0)]))
    assert [level.text for level in found.levels] == ["one"]
    assert found.series[0].band == ""
    assert all(math.isfinite(y) for _, y in places(found.series[0].line))


def test_what_there_is_no_room_for_is_named():
    curve = Series("lite", [(0.1, 30.0), (0.2, 32.0)])
    far = Series("jpeg", [(4.0, 33.0)])
    made = drawn(Chart("PSNR", "bpp", "dB", [curve, far], [Level("original", 100.0), Level("sent", 31.0)], x_end=0.3))
    assert made.chart.note == "further to the right: jpeg; original: 100, out of the frame"
    assert [tick.text for tick in made.levels] == ["sent"]
    assert float(made.y_ticks[-1].text) <= 32


def test_steps_are_whole_numbers():
    made = drawn(Chart("Cost", "step", "cost", [Series("in steps", [(float(n), 1.0 / n) for n in range(1, 13)])]))
    assert [tick.text for tick in made.x_ticks] == ["0", "5", "10"]
