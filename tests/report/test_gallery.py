from html.parser import HTMLParser

from taskodec.report.gallery import card_of, gallery_page


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
