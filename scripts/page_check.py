"""Open pages in headless Chromium, as wide as a phone and a desk, light and dark, and ask axe-core what is wrong.

    npm install --prefix /tmp/axe axe-core
    python scripts/page_check.py report.html --axe /tmp/axe/node_modules/axe-core/axe.min.js

Prints a line for each page and way to look at it. Exit code 1 if axe finds a violation, if a page is wider than its
window, larger than it may be, asks for anything that is not in it, does not answer to being used, or if its script
raises an error.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from taskodec.report.page import MOST_BYTES

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDTHS = {"phone": 390, "desk": 1440}
THEMES = ("light", "dark")
LIMIT = 120.0
"""Seconds that a page has."""

POLICY = re.compile(r'<meta\s+http-equiv="Content-Security-Policy"[^>]*>')

ERRORS = "<script>window.problems = []; addEventListener('error', (e) => problems.push(String(e.message)));</script>"

NO_AXE = b"window.axe = { run: async () => ({ violations: [] }) };"

FRAME = '<!doctype html><title>frame</title><iframe src="/page" style="width:{}px;height:900px;border:0"></iframe>'
"""Browsers without a head have windows of 500 pixels at least."""

RUNNER = """
<script src="/axe.js"></script>
<script>
const unused = () => {
  // what does not answer to being used: the slider, the theme, tables that sort
  const wrong = [];
  for (const compare of document.querySelectorAll('.compare')) {
    const [stage, range] = [compare.querySelector('.stage'), compare.querySelector('input')];
    const before = stage.style.getPropertyValue('--cut');
    range.value = '20';
    range.dispatchEvent(new Event('input'));
    if (range.hidden || stage.style.getPropertyValue('--cut') === before) wrong.push('a slider moves nothing');
    if (!range.getAttribute('aria-valuetext').includes('20')) wrong.push('a slider does not say where it is');
    const [left, zoom, right] = compare.querySelectorAll('select');
    [left.value, right.value, zoom.value] = ['original', 'plain', '2'];
    for (const choice of [left, right, zoom]) choice.dispatchEvent(new Event('change'));
    const shown = [...compare.querySelectorAll('use')].map((use) => use.getAttribute('href').split('-').at(-1));
    if (shown.join() !== 'original,plain') wrong.push(`choices show ${shown}`);
    if (!range.getAttribute('aria-valuetext').includes('Plain')) wrong.push('a slider does not say what it shows');
    if (stage.scrollWidth < 1.9 * Number(compare.dataset.width) / devicePixelRatio) wrong.push('no zoom');
  }
  const [theme, change] = [document.documentElement.dataset.theme, document.getElementById('theme')];
  change?.click();
  if (change && document.documentElement.dataset.theme === theme) wrong.push('the theme does not change');
  for (const table of document.querySelectorAll('table.sortable')) {
    const press = table.tHead.rows[0].cells[0].querySelector('button');
    press.click();
    press.click();
    const cells = [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
    const falling = [...cells].sort((a, b) => a.localeCompare(b)).reverse();
    const words = cells.every((cell) => Number.isNaN(Number.parseFloat(cell)));
    if (words && cells.join() !== falling.join()) wrong.push('a table does not sort');
  }
  return wrong;
};
(async () => {
  const say = (found) => fetch('/found', { method: 'POST', body: JSON.stringify(found) });
  try {
    document.querySelectorAll('details').forEach((one) => { one.open = true; });
    await new Promise((done) => setTimeout(done, 200));
    const outside = performance.getEntriesByType('resource').map((e) => e.name)
      .filter((name) => !name.startsWith('data:') && !name.endsWith('/axe.js'));
    const { violations } = await axe.run();
    await say({
      violations: violations.map((v) => `${v.id}: ${v.help} (${v.nodes.length}: ${v.nodes[0].html.slice(0, 160)})`),
      wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      width: innerWidth,
      outside,
      problems: [...problems, ...unused()],
    });
  } catch (error) {
    await say({ violations: [], wider: 0, width: 0, outside: [], problems: [String(error)] });
  }
})();
</script>
"""


@dataclass
class Look:
    """A page as it is looked at, and what came of that."""

    page: bytes
    axe: bytes
    width: int
    found: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """A frame of the wanted width, the page, axe-core, and where what was found goes."""

    look: Look

    def do_GET(self) -> None:
        """Whatever the browser asks for; anything else than these is not there."""
        if self.path == "/frame":
            self.answer(FRAME.format(self.look.width).encode(), "text/html; charset=utf-8")
        elif self.path == "/page":
            self.answer(self.look.page, "text/html; charset=utf-8")
        elif self.path == "/axe.js":
            self.answer(self.look.axe, "text/javascript")
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """What was found."""
        self.look.found = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        self.answer(b"", "text/plain")
        self.look.done.set()

    def answer(self, data: bytes, kind: str) -> None:
        """Send these bytes."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def prepared(page: str, theme: str) -> bytes:
    """The page with axe-core at its end, which its policy would not run, in one of its themes."""
    page = POLICY.sub("", page, count=1).replace("<html", f'<html data-theme="{theme}"', 1)
    page = page.replace("<head>", f"<head>{ERRORS}", 1)
    return (page.replace("</body>", f"{RUNNER}</body>") if "</body>" in page else page + RUNNER).encode()


def checked(page: str, axe: bytes, width: int, theme: str, chromium: str) -> dict[str, Any]:
    """What is found on the page in a window of this width."""
    look = Look(prepared(page, theme), axe, width)
    handler = type("Bound", (Handler,), {"look": look})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/frame"
        call = [
            chromium,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width + 100},1000",
            "--remote-debugging-port=0",
        ]
        browser = subprocess.Popen([*call, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not look.done.wait(LIMIT):
                return {"problems": [f"the page said nothing for {LIMIT:g} seconds"]}
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    return look.found


def problems_of(found: dict[str, Any], page: str) -> list[str]:
    """Everything that is wrong."""
    wrong = [*found.get("violations", ()), *(f"error: {text}" for text in found.get("problems", ()))]
    wrong += [f"asks for {url}" for url in found.get("outside", ())]
    if found.get("wider", 0) > 0:
        wrong.append(f"is {found['wider']} pixels wider than its window")
    if (size := len(page.encode())) > MOST_BYTES:
        wrong.append(f"has {size:,} bytes, more than {MOST_BYTES:,}")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Check all pages; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js of the npm package axe-core; without it, all but that")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    call = parser.parse_args(arguments)
    if call.chromium is None:
        parser.error("there is no Chromium: give its path with --chromium")
    axe, bad = NO_AXE if call.axe is None else call.axe.read_bytes(), 0
    for path in call.pages:
        page = path.read_text(encoding="utf-8")
        for name, width in WIDTHS.items():
            for theme in THEMES:
                found = checked(page, axe, width, theme, call.chromium)
                wrong = problems_of(found, page)
                bad += bool(wrong)
                about = f"{path.name}, {name} ({found.get('width')} pixels), {theme}: {len(page.encode()):,} bytes"
                print("; ".join([about, *(wrong or ["nothing wrong"])]), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
