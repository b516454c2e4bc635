import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch

from taskodec.contracts import Findings
from taskodec.errors import UsageError
from taskodec.report.page import MOST_BYTES
from taskodec.report.picture_page import MOST_PICTURES, pictures_page
from taskodec.report.study import Compressed

NASTY = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.\udcff'


class Seen(HTMLParser):
    """Tags with their attributes, and the texts of headings."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.problems, self.ids = [], [], [], []
        self.feed(page)
        self.problems += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [dict(attrs)["id"]] if "id" in dict(attrs) else []

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_a_page_is_whole_and_needs_no_network(result):
    page = result.report_html("photo.png")
    seen = Seen(page)
    assert seen.problems == []
    assert len(seen.ids) == len(set(seen.ids))
    links = [value for _, attrs in seen.tags for name, value in attrs.items() if name in ("href", "src")]
    assert links
    assert {link[:1] if link.startswith("#") else link.partition(",")[0] for link in links} <= {
        "#",
        "data:",
        "data:image/webp;base64",
    }
    assert {link[1:] for link in links if link.startswith("#")} <= set(seen.ids)
    assert "http" not in re.sub(r"data:[^\"]*", "", page).replace("http-equiv", "")


def test_pictures_and_charts_have_words(result, seeing, boxes):
    seen = Seen(result.report_html("photo.png", judges=[seeing("birds", boxes)]))
    labelled = [a for a in seen.of("svg") if a.get("role") == "img"]
    assert len(labelled) > 10
    assert all(a.get("aria-label") or a.get("aria-labelledby") for a in labelled)
    assert all(a.get("role") == "img" or a.get("aria-hidden") == "true" for a in seen.of("svg"))
    assert any("birds finds a" in a.get("aria-label", "") and "91%" in a["aria-label"] for a in labelled)
    assert len(seen.of("table")) >= 2
    (slider,) = seen.of("input")
    assert slider["type"] == "range"
    assert slider["aria-label"]


def test_names_are_no_markup(result, seeing, boxes):
    page = pictures_page([result.study(NASTY, [seeing(NASTY, boxes)])], title=NASTY, left_out=[NASTY])
    seen = Seen(page)
    assert seen.problems == []
    assert len(seen.of("script")) == 1
    assert seen.of("img") == []
    assert "\u202e" not in page
    page.encode()  # without half characters


def test_only_the_script_of_the_page_may_run(result):
    page = result.report_html()
    (policy,) = [a["content"] for a in Seen(page).of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    import base64
    import hashlib

    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_page_says_the_bytes_of_both(result):
    found = result.study()
    plain, tuned = found.takes[1].bytes, found.takes[2].bytes
    page = result.report_html()
    assert tuned == len(result.stream)
    assert f"Tuned: {tuned:,} bytes" in page
    assert f"{plain:,} bytes" in page


def test_several_pictures_have_an_index(result):
    studies = [result.study(f"photo-{n}.png") for n in range(3)]
    seen = Seen(pictures_page(studies))
    assert [a["href"] for a in seen.of("a")] == ["#p1", "#p2", "#p3"]
    assert len(seen.ids) == len(set(seen.ids))


def test_too_many_pictures(result):
    with pytest.raises(UsageError, match=f"1 to {MOST_PICTURES} pictures, found 0"):
        pictures_page([])


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1)])
def test_lines_and_points(make_compressor, photo, size):
    x = photo[..., : size[0], : size[1]].clone()
    page = make_compressor().compress(x).report_html("line")
    assert Seen(page).problems == []
    assert ("stretched" in page) == (size != (1, 1))


def test_noise_that_would_not_fit_is_stored_less_exactly(make_compressor):
    x = torch.rand(1, 3, 704, 1024, generator=torch.Generator().manual_seed(0))
    result = make_compressor("ttft.steps=0").compress(x)
    page = result.report_html("noise")
    assert len(page.encode()) <= MOST_BYTES
    assert "WebP at quality" in page or "reduced to" in page
    assert "No step was made" in page


def test_classes_and_heat(result, seeing):
    classes = Findings(classes=torch.arange(4).repeat(8, 3), names=["background", "sky", "sea"])
    heat = Findings(heat=torch.linspace(0, 1, 96).expand(64, 96), heat_name="how likely <an edge> is")
    page = result.report_html(judges=[seeing("parts", classes), seeing("edges", heat)])
    assert "class 3" in page
    assert "sky" in page
    assert "how likely &lt;an edge&gt; is" in page


def test_a_task_that_finds_nothing_to_draw_has_a_slope(result):
    (own,) = result.study().opinions
    assert own.findings == {}
    assert own.slopes.keys() == {"plain", "tuned"}
    assert "how steep the loss is" in result.report_html()


def test_a_judge_without_a_slope(result, seeing):
    class Steps(seeing):
        def loss(self, x_hat, reference):
            return (x_hat > reference).float().mean()

    page = result.report_html(judges=[Steps("steps", None)])
    assert "the slope of the loss cannot be drawn" in page


@pytest.mark.parametrize(
    ("asked", "own", "shown"),
    [
        ("docs/edges.py:loss", "loss", "edges.py:loss"),
        ("text.py:Text", "text", "text"),
        ("cls", "loss", "loss"),
        ("cls,a/edges.py:loss", "cls,loss", "cls,edges.py:loss"),
        ("cls", "a,b", "a,b"),
        ("a.py:loss,b.py:loss", "a.py:loss,b.py:loss", "a.py:loss,b.py:loss"),
    ],
)
def test_a_function_is_called_by_its_file_as_well(asked, own, shown):
    given = SimpleNamespace(settings=SimpleNamespace(task=SimpleNamespace(name=asked)), task=SimpleNamespace(name=own))
    assert Compressed.task_name.fget(given) == shown
