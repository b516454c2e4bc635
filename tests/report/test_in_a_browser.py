"""Pages in headless Chromium, with axe-core where TASKODEC_AXE names its axe.min.js."""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from taskodec.contracts import Findings
from taskodec.report.charts import Chart, Series
from taskodec.report.picture_page import pictures_page
from taskodec.report.run_page import RunPart, TableLike, run_page

SCRIPT = Path(__file__).parents[2] / "scripts" / "page_check.py"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def check():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("page_check", SCRIPT)
    module = sys.modules["page_check"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wrong(check):
    """A function from a page, a width and a theme to what is wrong with it."""
    axe = Path(os.environ["TASKODEC_AXE"]).read_bytes() if "TASKODEC_AXE" in os.environ else check.NO_AXE

    def look(page, width=390, theme="dark"):
        found = check.checked(page, axe, width, theme, CHROMIUM)
        if any("said nothing" in problem for problem in found.get("problems", ())):
            pytest.skip("Chromium does not start here")
        assert found["width"] == width
        return check.problems_of(found, page)

    return look


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light")])
def test_pictures(wrong, result, seeing, boxes, width, theme):
    classes = Findings(classes=torch.arange(4).repeat(8, 3), names=["background", "sky"])
    heat = Findings(heat=torch.linspace(0, 1, 96).expand(64, 96), heat_name="edges")
    judges = [seeing("birds " * 20, boxes), seeing("parts", classes), seeing("edges", heat)]
    judges.append(seeing("<b>unseen</b>" + "x" * 120, Findings()))
    page = pictures_page([result.study("one.png", judges), result.study("x" * 200)])
    assert wrong(page, width, theme) == []


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1440, "dark")])
def test_runs(wrong, width, theme):
    rows = [(name, f"{n}", f"{n / 7:.4f} [0.1, 0.9]") for n, name in enumerate(("plain", "ttft", "jpeg" * 20))]
    series = Series("a", [(0.1, 1), (0.2, 2)], [0.5, 1.5], [1.5, 2.5])
    part = RunPart("A run", "of something", [Chart("c", "x", "y", [series])], [TableLike("t", ("m", "q", "f"), rows)])
    call = {"command": ["taskodec", "eval", "x" * 300], "environment": {"python": "3"}, "settings": {"a": 1}}
    assert wrong(run_page([part], [call], ["a.svg"]), width, theme) == []


def test_faults_are_seen(wrong, result):
    page = result.report_html("one.png")
    broken = page.replace("</main>", "<div style='width:3000px'>wide</div><script>missing()</script></main>")
    found = " ".join(wrong(broken))
    assert "wider than its window" in found
    assert "missing is not defined" in found


DEMO = Path(__file__).parents[2] / "docs" / "demo" / "index.html"
STYLE = re.compile(r'<link[^>]*rel="stylesheet"[^>]*>')
SCRIPT_TAG = re.compile(r"<script\b.*?</script>", re.DOTALL)


def alone(path):
    """A page with its style sheets in it, and without scripts: it is served as a single file."""

    def sheet(match):
        href = re.search(r'href="([^"?]+)', match[0])[1]
        return f"<style>{(path.parent / href).read_text(encoding='utf-8')}</style>"

    return STYLE.sub(sheet, SCRIPT_TAG.sub("", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1440, "dark")])
def test_the_page_that_decodes(wrong, width, theme):
    page = alone(DEMO).replace(" hidden>", ">").replace('id="name">', 'id="name">parrots.tkd')  # as with a file
    assert "<style>" in page
    assert [one for one in wrong(page, width, theme) if not one.startswith("asks for")] == []
