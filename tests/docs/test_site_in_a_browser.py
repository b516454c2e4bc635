"""Every page of the documentation as a browser shows it, on a phone and on a desk.

TASKODEC_SITE names the folder of the built site; axe-core judges where TASKODEC_AXE names its axe.min.js.
"""

import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import PROGRAM, BrowserError, browsing

SITE = Path(os.environ.get("TASKODEC_SITE", "not here"))
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium"),
    pytest.mark.skipif(not PAGES, reason="needs the built site, in TASKODEC_SITE"),
]

FAULTS = """(() => {
  const wrong = [], room = document.documentElement.clientWidth;
  const wider = document.documentElement.scrollWidth - room;
  if (wider > 0) wrong.push(`is ${wider} pixels wider than its window`);
  for (const image of document.images) {
    if (image.complete && !image.naturalWidth) wrong.push(`does not show ${image.getAttribute('src')}`);
  }
  for (const one of document.querySelectorAll('article :is(p, li, h1, h2, h3, h4)')) {
    const box = one.getBoundingClientRect();
    const scrolls = one.closest('pre, .md-typeset__scrollwrap');
    if (box.width && !scrolls && (box.left < 0 || box.right > room)) wrong.push(`cuts ${one.textContent.slice(0, 60)}`);
  }
  return wrong;
})()"""

JUDGED = """axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations.map(
  (one) => `${one.id}: ${one.help} (${one.nodes.length}: ${one.nodes[0].html.slice(0, 160)})`))"""


class Quiet(SimpleHTTPRequestHandler):
    """Files of the site, and not a word."""

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture(scope="module")
def address():
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    """A browser that does not remember which theme it has seen."""
    with browsing() as one:
        try:
            one.call("Page.addScriptToEvaluateOnNewDocument", source="try { localStorage.clear() } catch {}")
        except BrowserError as error:
            pytest.skip(str(error))
        yield one


def looked_at(browser, url, width, dark, judged):
    """What is wrong with the page; `judged` by axe-core as well, which takes longer than all else."""
    browser.open("about:blank?")  # so that no page sees the theme change, and keeps it
    browser.events.clear()
    browser.open(url, width=width, dark=dark)
    scheme = browser.until("document.body.dataset.mdColorScheme || 'none'")
    wrong = [] if scheme in ("none", "slate" if dark else "default") else [f"is {scheme}"]
    wrong += browser.run(FAULTS) + browser.problems()
    wrong += [f"asks for {one}" for one in browser.asked() if not one.startswith(url[: url.index("/", 8)])]
    if judged and "TASKODEC_AXE" in os.environ:
        browser.run(f"(() => {{{Path(os.environ['TASKODEC_AXE']).read_text()}}})()")
        wrong += browser.run(JUDGED)
    return wrong


@pytest.mark.parametrize(("place", "name"), list(enumerate(PAGES)))
def test_a_page(browser, address, place, name):
    dark = bool(place % 2)  # every other page: their colours are the same
    assert looked_at(browser, f"{address}/{name}", 390, dark, judged=True) == []
    assert looked_at(browser, f"{address}/{name}", 1280, not dark, judged=False) == []


def test_faults_are_seen(browser, address):
    wide = "<!doctype html><title>t</title><article><p style='width:900px'>wide</p><img src='none.png'></article>"
    browser.open(f"{address}/index.html", width=390)
    browser.run(f"document.querySelector('article').innerHTML = {wide!r}")
    browser.until("document.querySelector('article img').complete")
    found = " ".join(browser.run(FAULTS))
    assert "cuts wide" in found
    assert "does not show none.png" in found
