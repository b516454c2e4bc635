"""Headless Chromium through a pipe, in the DevTools protocol: no package and no port."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from select import select

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--remote-debugging-pipe",
]

LAUNCH = """
import fcntl, os, sys
there, here = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(there, 3)
os.dup2(here, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads from 3 and writes to 4, whatever numbers the pipes have here."""

LIMIT = 120.0
"""Seconds for an answer, or for something to become true."""


class BrowserError(Exception):
    """The browser does not answer, or says no."""


class Browser:
    """One page in a browser."""

    def __init__(self, to, back):
        self._to, self._back = to, back
        self._rest, self._count, self._session = b"", 0, None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """What a method of the protocol gives."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        try:
            os.write(self._to, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise BrowserError("the browser is gone") from None
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        """The value of an expression, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def open(self, url, width=1280, height=900, dark=False):
        """Go to a page, and look at it in a window of this size and theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def until(self, condition, limit=LIMIT):
        """The value of an expression once it is true."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if (value := self.run(condition)) not in (None, False, "", 0):  # an element is {} here
                return value
            self.run("new Promise((done) => setTimeout(done, 50))")
        raise BrowserError(f"after {limit:g} seconds there was no {condition}")

    def picture(self, path, whole=True):
        """What is seen, as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def problems(self):
        """Errors of scripts, and what the page's policy has refused."""
        said = [e["params"] for e in self.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        return [
            str(one.get("entry", one.get("exceptionDetails")))
            for one in said
            if one.get("entry", {}).get("level") != "info"
        ]

    def asked(self):
        """The addresses that were asked for."""
        sent = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def _next(self):
        end = time.monotonic() + LIMIT
        while b"\0" not in self._rest:
            ready, _, _ = select([self._back], [], [], max(0, end - time.monotonic()))
            block = os.read(self._back, 2**20) if ready else b""
            if not block:
                raise BrowserError("the browser does not answer")
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)


@contextmanager
def browsing():
    """A `Browser`, which ends with the block. BrowserError if it does not start."""
    (there, to), (back, here) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        call = [sys.executable, "-c", LAUNCH, str(there), str(here), PROGRAM, *FLAGS, f"--user-data-dir={profile}"]
        browser = subprocess.Popen(call, pass_fds=(there, here), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(there)
        os.close(here)
        try:
            yield Browser(to, back)
        finally:
            browser.terminate()
            browser.wait()
            os.close(to)
            os.close(back)
