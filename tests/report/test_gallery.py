from html.parser import HTMLParser

import numpy as np
import torch

from taskodec.contracts import Findings
from taskodec.report.gallery import card_of, gallery_page
from taskodec.report.strip import strip_of, words_of


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found.append(dict(attrs)["href"])


def test_cards_lead_to_reports(result, seeing, boxes, make_compressor, photo):
    named = make_compressor(task=seeing("birds", boxes)).compress(photo)
    cards = [card_of(result.study("<b>one"), "one.html"), card_of(named.study("two"), "two.html")]
    page = gallery_page(cards)
    assert sorted(Links(page).found) == ["one.html", "two.html"]
    assert "<b>one" not in page
    assert "&lt;b&gt;one" in page
    assert "bird 91%" in page
    assert f"{len(result.stream):,} bytes" in page


def test_a_card_compares_files_of_one_size(result):
    study = result.study("one")
    card = card_of(study, "one.html")
    assert card.sizes == (study.takes[1].bytes, study.takes[2].bytes)
    assert card.losses == (study.opinions[0].losses["plain"], study.opinions[0].losses["tuned"])
    assert card.says == ("", "")


def test_an_empty_gallery():
    assert Links(gallery_page([])).found == []


def test_a_strip_shows_what_is_found(seeing, boxes, make_compressor, photo):
    classes = Findings(classes=torch.tensor([[0, 1], [1, 1]]).repeat(8, 8), names=["background", "sky"])
    heat = Findings(heat=torch.linspace(0, 1, 96).expand(64, 96), heat_name="edges")
    strips = {}
    for name, found in (("nothing", Findings()), ("boxes", boxes), ("classes", classes), ("heat", heat)):
        study = make_compressor(task=seeing(name, found)).compress(photo).study("one")
        strips[name] = strip_of(study, 90)
    assert {strip.size for strip in strips.values()} == {(282, 98)}
    plain = np.asarray(strips["nothing"]).astype(int)
    for name in ("boxes", "classes", "heat"):
        differs = (np.asarray(strips[name]).astype(int) != plain).any(2)
        assert all(differs[:60, x : x + 90].any() for x in (0, 96, 192)), name


def test_words_of_what_is_found(boxes):
    classes = Findings(classes=torch.tensor([[0, 1], [1, 2]]), names=["background", "sky"])
    assert "bird 91%, text 40%" in words_of(boxes)
    assert words_of(classes) == "sky 50%, class 2 25%"
    assert words_of(Findings()) == words_of(None) == ""
