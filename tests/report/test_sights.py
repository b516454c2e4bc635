import torch

from taskodec.contracts import Findings, Found
from taskodec.report.maps import scale_of
from taskodec.report.sights import DRAWN, Hues, heat_of, sight_of


def test_the_surest_first_and_places_as_polygons(boxes):
    hues = Hues()
    found = sight_of(boxes, (64, 96), hues)
    assert [item.score for item in found.items] == [0.91, 0.4]
    assert found.items[0].points == "20.0,10.0 50.0,10.0 50.0,30.0 20.0,30.0"
    assert found.items[1].points.count(",") == 4
    assert found.located
    assert found.layer.startswith("data:image/webp")
    assert "91%" in found.says
    assert "text 40%" in found.says


def test_a_name_has_one_colour():
    hues = Hues()
    first = sight_of(Findings([Found("a"), Found("b")]), (4, 4), hues)
    second = sight_of(Findings([Found("b"), Found("a")]), (4, 4), hues)
    assert {i.label: i.hue for i in first.items} == {i.label: i.hue for i in second.items}
    assert first.items[0].hue != first.items[1].hue


def test_many_things_are_counted():
    found = sight_of(Findings([Found(str(n), n / 100) for n in range(60)]), (4, 4), Hues())
    assert len(found.items) == DRAWN
    assert found.more == 60 - DRAWN
    assert "and 48 more" in found.says


def test_shares_of_classes():
    classes = torch.tensor([[0, 0], [1, 5]])
    found = sight_of(Findings(classes=classes, names=["background", "sky"]), (2, 2), Hues())
    assert [(s.label, s.share) for s in found.shares] == [("background", 0.5), ("sky", 0.25), ("class 5", 0.25)]
    assert found.shares[0].hue == -1
    assert "background 50%" in found.says


def test_nothing_and_a_map():
    assert sight_of(Findings(), (2, 2), Hues()).says == "nothing"
    heat = torch.rand(4, 4)
    found = sight_of(Findings(heat=heat), (4, 4), Hues(), scale_of([heat_of(heat)]))
    assert found.heat.startswith("data:")
    assert found.says == "a map"
