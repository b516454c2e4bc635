"""The examples of docs/serve.md against a server that was started for them; its tables against the code."""

import contextlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from taskodec.api.compressor import compress, decompress
from taskodec.service.errors import STATUS, ServiceError
from taskodec.service.metrics import Metrics
from taskodec.settings.serve import ServeSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
CURLS = "".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)).replace("\\\n", "").splitlines()
(CLIENT,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
USUAL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server with default settings but for its port, its only worker and its time-outs; ends with exit code 0."""
    folder = tmp_path_factory.mktemp("serve")
    call = [sys.executable, "-m", "taskodec", "serve", "--port", "0", "--workers", "1"]
    for name in ("queue_timeout", "timeout", "start_timeout"):
        call += ["--set", f"serve.{name}=300"]
    with subprocess.Popen(call, stderr=subprocess.PIPE, cwd=folder) as server:
        try:
            yield json.loads(server.stderr.readline())["url"]
        finally:
            server.send_signal(signal.SIGTERM)
            lines = [json.loads(line) for line in server.stderr]
    assert server.returncode == 0
    assert [line["event"] for line in lines if line["event"] != "request"] == ["stop", "stopped"]


@pytest.fixture
def photo_png(tmp_path):
    """A small photograph as `photo.png`, in a folder of its own."""
    with Image.open(ROOT / "docs" / "images" / "kodim23.png") as opened:
        opened.crop((128, 192, 176, 224)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_the_examples_with_curl(url, photo_png):
    assert len(CURLS) >= 7
    assert all(line.startswith("curl ") and USUAL in line for line in CURLS)
    for line in CURLS:
        here = line.replace(USUAL, url)
        done = subprocess.run(here, shell=True, cwd=photo_png.parent, capture_output=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
    stream = (photo_png.parent / "photo.tkd").read_bytes()
    assert stream == compress(photo_png, quality=2, steps=0)
    headers = (photo_png.parent / "headers.txt").read_text()
    assert json.loads(re.search("(?i)^x-taskodec-report: (.*)$", headers, re.MULTILINE)[1])["bytes"] == len(stream)
    with Image.open(photo_png.parent / "photo.webp") as opened:
        assert (opened.format, opened.size) == ("WEBP", (48, 32))


def test_the_client(url, photo_png):
    names = {}
    exec(compile(CLIENT, "client.py", "exec"), names)
    client = names["Taskodec"](url)
    stream, report = client.compress(photo_png.read_bytes(), quality=3, steps=0)
    assert stream == compress(photo_png, quality=3, steps=0)
    assert (report["bytes"], report["quality"]) == (len(stream), 3)
    with Image.open(io.BytesIO(client.decompress(stream, "ppm"))) as opened:
        assert opened.tobytes() == decompress(stream).tobytes()
    with pytest.raises(names["ServiceError"], match="valid: ") as caught:
        client.compress(photo_png.read_bytes(), task="evil.py:loss")
    assert (caught.value.kind, caught.value.status) == ("NotAllowedError", 403)


def test_the_client_is_typed(tmp_path):
    (tmp_path / "client.py").write_text(CLIENT, encoding="utf-8")
    call = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*call, "client.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def rows(heading):
    """The cells of the table's rows below a heading."""
    part = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ") and not set(line) <= set("|- ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


def quoted(text):
    return re.findall(r"`([^`]+)`", text)


def test_the_page_has_every_setting_with_its_default():
    found = {}
    for keys, defaults, _ in rows("## Settings"):
        values = [value.strip().strip("`") for value in defaults.split(",")]
        for number, key in enumerate(quoted(keys)):
            found[key] = values[number] if len(values) > 1 else values[0]
    expected = ServeSettings().model_dump()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        shown = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()
        assert found[key] == shown, key


def test_the_page_has_every_error():
    found = {kind: int(status.split(",")[0]) for status, kinds, _ in rows("## Errors") for kind in quoted(kinds)}
    kinds = [kind for kind in ServiceError.__subclasses__() if kind.__module__ == ServiceError.__module__]
    own = {kind.__name__: kind.status for kind in kinds if kind.__name__ != "FailedError"}
    told = {"AddressError": 404, "InternalError": 500, "WeightsError": 500, "PluginError": 500}
    named = {kind: status for kind, status in STATUS.items() if kind not in ("SettingsError", "StreamError")}
    assert found == {**own, **told, **named}


def test_the_page_has_every_metric():
    found = {name for names, *_ in rows("## Metrics") for name in quoted(names)}
    with contextlib.closing(io.BytesIO(Metrics().text())) as text:
        lines = [line.decode().split() for line in text if line.startswith(b"# TYPE taskodec")]
    expected = {name for _, _, name, _ in lines if not name.endswith("_created")}
    assert found == expected
