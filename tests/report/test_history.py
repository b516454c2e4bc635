from taskodec.report.history import tuning_charts, tuning_table


def test_curves_of_every_step(result):
    charts = {chart.title: chart for chart in tuning_charts(result.tuned)}
    assert {"Cost", "Task loss", "Rate"} <= charts.keys()
    steps, checks = charts["Cost"].series
    assert [x for x, _ in steps.points] == [1, 2, 3, 4]
    assert checks.points
    assert {level.name: level.y for level in charts["Cost"].levels} == {
        "untuned": result.tuned.untuned.cost,
        "sent": result.tuned.best.cost,
    }


def test_singular_values_that_changed(result):
    charts = {chart.title: chart for chart in tuning_charts(result.tuned)}
    changed = charts["Singular values"].series[1].points
    assert changed[0][1] == 0
    assert changed[-1][1] > 0


def test_a_long_run_is_a_short_table(make_compressor, photo):
    tuned = make_compressor("ttft.steps=60").compress(photo).tuned
    table = tuning_table(tuned)
    assert len(table) == 24
    assert (table[0][0], table[-1][0]) == (1, 60)


def test_nothing_tuned(make_compressor, photo):
    tuned = make_compressor("ttft.steps=0").compress(photo).tuned
    assert tuning_charts(tuned) == []
    assert tuning_table(tuned) == []
