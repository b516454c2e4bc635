"""The page in headless Chromium, with axe-core where TASKODEC_AXE names its axe.min.js."""

import base64
import io
import os
import shutil
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from browser import PROGRAM, BrowserError, browsing
from picture_files import png
from PIL import Image

from taskodec.api.decompressor import Decompressor
from taskodec.demo.app import make_app
from taskodec.service.server import listening, url_of
from taskodec.settings.model import load_settings

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")

DROP = """(() => {
  const bytes = Uint8Array.from(atob('%s'), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], '%s', { type: 'image/png' }));
  document.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
})()"""

WATCH = """
  window.seen = [];
  const told = () => {
    const [step] = document.querySelectorAll('#figures dd');
    const line = document.querySelector('#charts svg.chart polyline');
    if (line) seen.push([parseInt(step.textContent), line.getAttribute('points').split(' ').length]);
  };
  new MutationObserver(told).observe(document.getElementById('charts'), { childList: true });
"""

FETCHED = """fetch(document.getElementById('stream').href).then((a) => a.blob()).then((blob) => new Promise((done) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(',')[1]);
  reader.readAsDataURL(blob);
}))"""


@contextmanager
def served(service):
    """The address of the page, served by a thread."""
    with listening("127.0.0.1", 0) as listener:
        config = uvicorn.Config(make_app(service, "human"), log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            shutil.rmtree(service.folder)  # what a thread is at goes on no longer than to its next step
            thread.join()


@pytest.fixture
def browser():
    with ExitStack() as stack:
        try:
            found = stack.enter_context(browsing())
        except BrowserError as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield found


def set_to(browser, **values):
    for name, value in values.items():
        browser.run(f"document.getElementById('{name}').value = '{value}'")


def press(browser, name):
    browser.run(f"document.getElementById('{name}').click()")


def error_of(browser):
    return browser.until("document.getElementById('error').textContent")


def violations(browser):
    """What axe-core finds wrong."""
    if "TASKODEC_AXE" not in os.environ:
        return []
    browser.run(f"(() => {{{Path(os.environ['TASKODEC_AXE']).read_text()}}})()")
    found = browser.run("axe.run().then(({ violations }) => violations.map((one) => one.id + one.nodes[0].html))")
    return list(found)


def wrong(browser):
    wider = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [*violations(browser), *([f"{wider} pixels wider than its window"] if wider > 0 else [])]


def test_a_picture_is_dropped_tuned_looked_at_and_downloaded(make_demo, photo, browser):
    service = make_demo()
    with served(service) as url:
        browser.open(url, 390, 844, dark=True)
        browser.until("document.querySelectorAll('#examples img').length === 3")
        assert wrong(browser) == []
        browser.run(WATCH)
        browser.run(DROP % (base64.b64encode(png(photo)).decode(), "birds <b>.png"))
        assert "birds <b>.png" in browser.run("document.getElementById('drop-main').textContent")
        set_to(browser, steps=200, task="my_edges.py:loss")
        press(browser, "go")
        browser.until("!document.getElementById('result').hidden")
        heads = browser.run("[...document.querySelectorAll('#piece h3')].map((head) => head.textContent)")
        assert "What my_edges.py:loss sees" in heads
        seen = browser.run("seen")
        assert len(seen) > 1, "it was drawn at the end alone"
        assert [step for step, _ in seen] == sorted(step for step, _ in seen)
        assert [points for _, points in seen] == sorted(points for _, points in seen)
        assert seen[-1] == [200, 200]
        stream = base64.b64decode(browser.run(FETCHED))
        assert browser.run("document.getElementById('stream').download") == "birds <b>.tkd"
        shown = browser.run("document.querySelector('#piece image[id=p1-tuned]').getAttribute('href')")
        assert wrong(browser) == []
        browser.open(url, 1280)
        assert browser.problems() == []
        assert all(asked.startswith(url) for asked in browser.asked())
    settings = load_settings(overrides=["codec=tiny"])
    decoded = np.asarray(Decompressor(settings, service.registry).decompress(stream))
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), decoded)


def test_what_goes_wrong_is_said_in_the_page(make_demo, photo, browser):
    service = make_demo("serve.max_body=100000")
    with served(service) as url:
        browser.open(url, 1280)
        browser.until("document.querySelectorAll('#examples img').length === 3")
        press(browser, "go")
        assert "There is no picture yet" in error_of(browser)
        browser.run(DROP % (base64.b64encode(bytes(100001)).decode(), "large.png"))
        press(browser, "go")
        assert "large.png has 100,001 bytes" in error_of(browser)
        browser.run(DROP % (base64.b64encode(b"text").decode(), "no.png"))
        press(browser, "go")
        browser.until("document.getElementById('status').textContent === 'no.png came to nothing.'")
        assert "the picture" in error_of(browser)
        browser.run(DROP % (base64.b64encode(png(photo)).decode(), "long.png"))
        set_to(browser, steps=1000)
        press(browser, "go")
        browser.until("document.querySelector('#charts svg.chart')")
        foreign = "fetch('/runs?example=door', {method: 'POST', headers: {'X-Taskodec': 'demo'}}).then((a) => a.status)"
        assert browser.run(foreign) == 429
        press(browser, "cancel")
        browser.until("document.getElementById('status').textContent.startsWith('Cancelled')")
        assert not browser.run("document.getElementById('go').disabled")
        set_to(browser, steps=1000)
        press(browser, "go")
        browser.until("document.querySelector('#charts svg.chart')")
        service.pool.stopping = True  # which a stop does first
        assert "The server does not answer" in error_of(browser)
