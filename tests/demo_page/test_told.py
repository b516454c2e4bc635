from taskodec.demo.live import POINTS, live_charts
from taskodec.demo.told import Step, Teller, Trail


def test_what_is_told_is_followed(tmp_path):
    trail = Trail(tmp_path / "told")
    assert not trail.follow()
    teller = Teller(tmp_path / "told")
    teller.stage("reading", width=4)
    assert trail.follow()
    assert (trail.stage, trail.facts, trail.steps) == ("reading", {"width": 4}, [])
    teller.step(1, 9, {"loss": 0.5, "best": float("inf")})
    teller.stage("drawing", bytes=7)
    assert trail.follow()
    assert not trail.follow()
    assert trail.steps == [Step(1, 9, {"loss": 0.5, "best": None})]
    assert (trail.stage, trail.facts) == ("drawing", {"width": 4, "bytes": 7})
    teller.close()


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path = tmp_path / "told"
    trail = Trail(path)
    path.write_bytes(b'{"step": 1, "total": 2}\n{"step": 2, "to')
    assert trail.follow()
    assert len(trail.steps) == 1
    assert not trail.follow()
    with path.open("ab") as file:
        file.write(b'tal": 2}\n')
    assert trail.follow()
    assert trail.steps[1] == Step(2, 2, {})


def test_charts_of_what_there_is():
    assert live_charts([]) == ""
    assert live_charts([Step(1, 4, {})]) == ""
    steps = [Step(n, 2000, {"loss": 1 / n, "bpp": 1.0, "cost": 2 / n, "best": None}) for n in range(1, 2001)]
    drawn = live_charts(steps)
    assert drawn.count('<svg class="chart"') == 3
    assert drawn.count("data-tip") == 3 * POINTS
    assert "step: " not in drawn
