"""The addresses of the page."""

import asyncio
import io

import numpy as np
import pytest
from picture_files import png
from PIL import Image

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.demo.runs import KEPT
from taskodec.settings.model import load_settings


def error_of(answer, status, kind):
    """The message of an error, whose status and type are checked."""
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["type"] == kind
    return answer.json()["error"]["message"]


def test_the_page_is_all_its_own(page):
    client = page().http
    index = client.get("/")
    policy = index.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in index.text.replace("http-equiv", "")
    for name in ("demo.css", "demo.js", "style.css", "page.js"):
        assert f"/static/{name}" in index.text
        answer = client.get(f"/static/{name}")
        assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert "://" not in answer.text
    for wrong in ("/static/page.html", "/static/..%2Findex.html", "/docs", "/openapi.json", "/v1/compress"):
        error_of(client.get(wrong), 404, "AddressError")


def test_what_it_offers(page):
    found = page("ttft.steps=7").http.get("/about").json()
    names = [task["name"] for task in found["tasks"]]
    assert names[0] == "my_edges.py:loss"
    assert {"human", "cls"} <= set(names)
    assert {codec["name"] for codec in found["codecs"]} == {"tiny", "lite"}
    assert found["chosen"] == {"codec": "tiny", "task": "human", "quality": 2.0, "steps": 7}
    assert found["running"] is None
    assert not any("options:" in task["description"] for task in found["tasks"])


def test_every_example_is_a_picture(page):
    client = page()
    found = client.http.get("/about").json()["examples"]
    assert len(found) == 3
    for example in found:
        data = client.http.get(f"/examples/{example['name']}").content
        assert Image.open(io.BytesIO(data)).size in ((768, 512), (512, 768))
    error_of(client.http.get("/examples/none"), 400, "UsageError")


def test_a_picture_becomes_the_stream_of_the_library_while_one_looks_on(page, photo, tiny_registry):
    client, data = page(), png(photo)
    states = client.states(client.begin(data, steps=12, name="birds.png", judges="my_edges.py:loss"))
    last = states[-1]
    assert (last["state"], last["stage"], last["width"], last["height"]) == ("done", "drawing", 96, 64)
    assert (last["step"], last["total"], last["name"]) == (12, 12, "birds.png")
    assert last["best"] <= last["first"]["best"]
    assert last["charts"].count('<svg class="chart"') == 3
    assert [state["state"] for state in states].count("done") == 1
    stream = client.file(last, "stream")
    expected = ["codec=tiny", "quality=2", "task.lmbda=300", "ttft.steps=12"]
    assert stream.content == Compressor(load_settings(overrides=expected), tiny_registry).compress(data).stream
    assert last["report"]["bytes"] == len(stream.content)
    assert 'filename="birds.tkd"' in stream.headers["Content-Disposition"]
    piece, whole = client.file(last, "piece").text, client.file(last, "page")
    for shown in ("birds.png", "Original", "Plain", "Tuned", "JPEG", "AVIF", "my_edges" if False else "loss"):
        assert shown in piece
    assert "<script" not in piece
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert whole.text.startswith("<!doctype html>")


def test_a_task_of_a_file_given_at_the_start(page, photo):
    last = page().end(png(photo), task="my_edges.py:loss", steps=2)
    assert (last["state"], last["report"]["task"]) == ("done", "loss")


def test_aims_examples_and_sizes(page):
    client = page()
    last = client.end(example="door", megapixels=0.002, steps=0, target_bytes="300")
    assert last["state"] == "done", last
    assert last["width"] * last["height"] <= 2000
    assert last["report"]["bytes"] <= 300
    assert "was reduced to" in client.file(last, "piece").text
    stream = client.file(last, "stream").content
    picture = Decompressor(load_settings(overrides=["codec=tiny"]), client.process.coders.registry).decompress(stream)
    assert picture.size == (last["width"], last["height"])


@pytest.mark.parametrize(
    ("options", "status", "kind", "said"),
    [
        ({}, 400, "BodyError", "the body is empty"),
        ({"example": "none"}, 400, "UsageError", "valid: parrots, warplane, door"),
        ({"task": "evil.py:loss"}, 403, "NotAllowedError", "task 'evil.py:loss' is not allowed here"),
        ({"judges": "cls,evil.py:loss"}, 403, "NotAllowedError", "evil.py:loss"),
        ({"codec": "nowhere"}, 403, "NotAllowedError", "codec 'nowhere' is not allowed"),
        ({"quality": "high"}, 400, "UsageError", "quality = 'high'"),
        ({"target_bytes": "lots"}, 400, "UsageError", "expected a number of bytes"),
        ({"steps": 2000}, 400, "UsageError", "this server allows 1000"),
        ({"megapixels": -1}, 400, "UsageError", "megapixels = '-1'"),
        ({"stepz": 2}, 400, "UsageError", "did you mean 'steps'"),
    ],
)
def test_what_cannot_be_begun(page, options, status, kind, said):
    client = page()
    assert said in error_of(client.begin(**options), status, kind)
    assert not list(client.service.folder.iterdir())


def test_too_many_bytes(page):
    client = page("serve.max_body=1000")
    assert "1000 bytes" in error_of(client.begin(bytes(1001)), 413, "BodyTooLargeError")


def test_what_is_no_picture_and_what_a_codec_cannot_do_fail_with_a_sentence(page, photo):
    client = page()
    last = client.end(b"not a picture")
    assert (last["state"], last["error"]["type"]) == ("failed", "ImageError")
    error_of(client.file(last, "stream"), 404, "UnknownRunError")
    last = client.end(png(photo), quality=9)
    assert last["state"] == "failed"
    assert "9" in last["error"]["message"]
    assert client.end(png(photo), steps=0)["state"] == "done"


def test_faults_are_told_to_who_runs_the_page(page, photo, monkeypatch):
    client = page()
    monkeypatch.setattr("taskodec.demo.worker.picture_piece", lambda study: 1 / 0)
    last = client.end(png(photo), steps=0)
    assert (last["state"], last["error"]["type"]) == ("failed", "InternalError")
    assert "division by zero" in last["error"]["message"]


@pytest.fixture
def held(page):
    """A client whose process does nothing until its `hold` is set."""
    client = page()
    client.process.hold = asyncio.Event()
    return client


def release(client):
    client.http.portal.call(client.process.hold.set)


def test_one_at_a_time_and_whoever_comes_later_can_look_on(held, photo):
    first = held.begin(png(photo), steps=0, name="first.png")
    assert "first.png is being compressed already" in error_of(held.begin(png(photo)), 429, "BusyError")
    assert held.http.get("/about").json()["running"] == first.json()["id"]
    release(held)
    assert held.states(first)[-1]["state"] == "done"
    assert held.end(png(photo), steps=0)["state"] == "done"


def test_a_cancelled_run_leaves_nothing(held, photo, monkeypatch):
    monkeypatch.setattr("taskodec.demo.runs.GRACE", 0)
    first = held.begin(png(photo), steps=5)
    number = first.json()["id"]
    assert held.cancel(number).json() == {"state": "cancelled"}
    assert held.states(first)[-1]["state"] == "cancelled"
    assert not list(held.service.folder.iterdir())
    assert held.cancel(number).json() == {"state": "cancelled"}
    release(held)
    assert held.end(png(photo), steps=0)["state"] == "done"


def test_only_the_last_runs_are_kept(page, photo):
    client = page()
    states = [client.end(png(photo[..., :16, :16]), steps=0) for _ in range(KEPT + 2)]
    found = [client.file(state, "stream").status_code for state in states]
    assert found == [404, 404] + [200] * KEPT
    assert len(list(client.service.folder.iterdir())) == KEPT
    assert "not known here" in error_of(client.cancel(states[0]["id"]), 404, "UnknownRunError")


@pytest.mark.parametrize("mode", ["L", "CMYK", "LA", "1", "P"])
def test_pictures_of_other_kinds(page, mode):
    pixels = np.linspace(0, 255, 40 * 24).reshape(24, 40).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "TIFF")
    last = page().end(buffer.getvalue(), steps=2)
    assert (last["state"], last["width"], last["height"]) == ("done", 40, 24), last["error"]


@pytest.mark.parametrize("size", [(1, 1), (700, 1)])
def test_the_smallest_pictures(page, size):
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 99, 199)).save(buffer, "PNG")
    assert page().end(buffer.getvalue(), steps=2)["state"] == "done"
