import io
import json
import urllib.parse

import numpy as np
import pytest
from picture_files import png
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.service.process import Died, Overdue
from taskodec.service.work import FORMATS
from taskodec.settings.model import load_settings


def error_of(answer, status, kind):
    """The message of an error, whose status, type and form are checked."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json().values()
    assert (error["status"], error["type"]) == (status, kind)
    assert error["request_id"] == answer.headers["X-Request-Id"]
    return error["message"]


@pytest.fixture
def alone(tiny_registry):
    """A function from settings to the stream that the library makes of a picture."""

    def compress(data, *overrides):
        settings = load_settings(overrides=["codec=tiny", "quality=2", "ttft.steps=0", "task.lmbda=300", *overrides])
        return Compressor(settings, tiny_registry).compress(data).stream

    return compress


def test_a_picture_becomes_the_stream_of_the_library(serving, photo, alone):
    client, data = serving(), png(photo)
    answer = client.post("/v1/compress", content=data)
    assert answer.content == alone(data)
    report = json.loads(answer.headers["X-Taskodec-Report"])
    assert (report["codec"], report["task"], report["width"], report["height"]) == ("tiny", "human", 96, 64)
    assert (report["bytes"], report["steps"], report["together"]) == (len(answer.content), 0, 1)
    assert not list(client.service.folder.iterdir())


def test_options_count_in_the_address_and_in_a_form(serving, photo, alone):
    client, data = serving(), png(photo)
    expected = alone(data, "quality=3", "ttft.steps=2", "ttft.seed=5")
    assert client.post("/v1/compress?quality=3&steps=2&seed=5", content=data).content == expected
    form = {"quality": "3", "steps": "2", "seed": "5"}
    assert client.post("/v1/compress", files={"any": ("name.png", data)}, data=form).content == expected
    assert client.post("/v1/compress?quality=1", files={"any": data}, data=form).content == expected


@pytest.mark.parametrize("form", ["png", "webp", "tiff", "bmp", "ppm"])
def test_a_stream_becomes_the_picture_of_the_library(serving, photo, alone, tiny_registry, form):
    client, stream = serving(), alone(png(photo))
    answer = client.post(f"/v1/decompress?format={form}", content=stream)
    expected = Decompressor(load_settings(overrides=["codec=tiny"]), tiny_registry).decompress(stream)
    with Image.open(io.BytesIO(answer.content)) as opened:
        assert opened.format.lower() == form
        assert answer.headers["content-type"] == FORMATS[form]
        np.testing.assert_array_equal(np.asarray(opened), np.asarray(expected))


def test_large_pictures_are_sent_in_blocks(serving, photo, alone, monkeypatch):
    monkeypatch.setattr("taskodec.service.app.SMALL", 1)
    monkeypatch.setattr("taskodec.service.app.BLOCK", 1000)
    client, stream = serving(), alone(png(photo))
    answer = client.post("/v1/decompress?format=ppm", content=stream)
    assert len(answer.content) == int(answer.headers["Content-Length"]) > 64 * 96 * 3
    assert not list(client.service.folder.iterdir())


def test_info_says_what_the_command_says(serving, photo, alone):
    client, stream = serving(), alone(png(photo))
    found = client.post("/v1/info", content=stream).json()
    assert (found["codec"], found["width"], found["height"], found["bytes"]) == ("tiny", 96, 64, len(stream))
    assert "unknown option 'a'" in error_of(
        client.post("/v1/info", files={"f": stream}, data={"a": "b"}), 400, "UsageError"
    )
    assert "unknown option 'c'" in error_of(client.post("/v1/info?c=1", content=stream), 400, "UsageError")


def test_an_option_that_the_address_has_twice_is_refused(serving, photo):
    for path in ("/v1/compress?steps=0&quality=2&steps=1", "/v1/decompress?format=png&format=webp"):
        said = error_of(serving().post(path, content=png(photo)), 400, "UsageError")
        assert "more than once; give each option once" in said


@pytest.mark.parametrize(
    ("query", "status", "kind", "said"),
    [
        ("qualty=3", 400, "UsageError", "unknown option 'qualty', did you mean 'quality'?; valid: codec, task"),
        ("quality=nan", 400, "UsageError", "quality = 'nan'"),
        ("quality=9", 400, "UsageError", "valid: any value from 1 to 4"),
        ("steps=-1", 400, "UsageError", "steps = '-1'"),
        ("steps=1001", 400, "UsageError", "this server allows 1000 at most"),
        ("target_bytes=lots", 400, "UsageError", "20kB"),
        ("target_bpp=1&target_bytes=9", 400, "UsageError", "a file has one target"),
        ("target=pretty", 400, "UsageError", "such as psnr>=34"),
        ("target_bytes=5", 422, "TargetError", "5"),
        ("preset=slow", 400, "UsageError", "valid: default,"),
        ("task=loss.py:loss", 403, "NotAllowedError", "valid: cls, "),
        ("task=/etc/passwd", 403, "NotAllowedError", "valid: cls, "),
        ("codec=tic", 403, "NotAllowedError", "valid: tiny, lite"),
        ("codec.checkpoint=/etc/passwd", 400, "UsageError", "unknown option 'codec.checkpoint'"),
        ("adapter=evil.safetensors", 400, "UsageError", "unknown option 'adapter'"),
    ],
)
def test_wrong_options_say_what_is_valid(serving, photo, query, status, kind, said):
    client = serving()
    assert said in error_of(client.post(f"/v1/compress?{query}", content=png(photo)), status, kind)
    fields = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    assert said in error_of(client.post("/v1/compress", files={"f": png(photo)}, data=fields), status, kind)


def test_a_target_is_kept(serving, photo):
    answer = serving().post("/v1/compress?target_bytes=1kB&steps=2", content=png(photo))
    report = json.loads(answer.headers["X-Taskodec-Report"])
    assert len(answer.content) <= 1000
    assert report["target"] == {"limit": "bytes<=1000", "reached": report["bytes"], "used": report["bytes"] / 1000}
    assert report["bytes"] == len(answer.content)


def test_what_is_no_picture_or_no_stream(serving, photo):
    client, data = serving(), png(photo)
    assert "PNG" in error_of(client.post("/v1/compress", content=b"no picture"), 422, "ImageError")
    assert "the picture" in error_of(client.post("/v1/compress", content=data[:200]), 422, "ImageError")
    for path in ("/v1/decompress", "/v1/info"):
        assert "not a .tkd stream" in error_of(client.post(path, content=data), 422, "DamagedStreamError")
    assert "empty" in error_of(client.post("/v1/compress"), 400, "BodyError")
    assert "0 files" in error_of(
        client.post("/v1/compress", data={"a": "b"}, files={"f": (None, "c")}), 400, "BodyError"
    )
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert "form" in error_of(client.post("/v1/compress", content=b"--y\r\n", headers=broken), 400, "BodyError")


def test_a_picture_beyond_the_limit_of_pixels_is_not_decoded(serving, photo):
    client = serving("limits.max_pixels=1000")
    assert "limit is 1000" in error_of(client.post("/v1/compress", content=png(photo)), 422, "ImageError")


def test_a_stream_of_a_codec_that_is_not_allowed(serving, photo, alone):
    client = serving("serve.codecs=[lite]")
    assert "allowed here: lite" in error_of(
        client.post("/v1/decompress", content=alone(png(photo))), 403, "NotAllowedError"
    )


def test_bodies_have_a_limit_whatever_they_say(serving, photo):
    client, data = serving("serve.max_body=1000"), bytes(1001)
    assert "takes 1000 bytes" in error_of(client.post("/v1/compress", content=data), 413, "BodyTooLargeError")
    assert "takes 1000 bytes" in error_of(client.post("/v1/compress", content=iter([data])), 413, "BodyTooLargeError")
    assert "takes 1000 bytes" in error_of(client.post("/v1/info", files={"f": data}), 413, "BodyTooLargeError")
    sent = client.post("/v1/compress", content=b"x", headers={"Content-Length": "1" + 30 * "0"})
    assert "takes 1000 bytes" in error_of(sent, 413, "BodyTooLargeError")


def test_so_many_bodies_arrive_at_once(serving):
    client = serving()
    client.service.uploads.count = client.service.settings.serve.uploads
    answer = client.post("/v1/info", content=b"x")
    assert "64 bodies" in error_of(answer, 429, "BusyError")
    assert answer.headers["Retry-After"] == "1"


def test_a_worker_that_is_lost_is_replaced(serving, photo):
    client, data = serving(), png(photo)
    (process,) = client.service.pool.processes
    for fails, status, kind in (([Died()], 502, "WorkerDiedError"), ([Overdue()], 504, "WorkTimeoutError")):
        process.fails, begun = fails, process.begun
        error_of(client.post("/v1/compress", content=data), status, kind)
        assert client.post("/v1/compress", content=data).status_code == 200
        assert process.begun == begun + 1


def test_a_fault_of_the_server_says_nothing_of_it(serving, photo, monkeypatch, caplog):
    client = serving()

    def fail(*_):
        raise OSError(28, "No space left on device", "/secret/place")

    monkeypatch.setattr(client.service.uploads, "take", fail)
    answer = client.post("/v1/info", content=b"x", headers={"X-Request-Id": "mine-1"})
    assert "No space left" in error_of(answer, 500, "InternalError")
    assert "secret" not in answer.text
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert any("/secret/place" in getattr(line, "traceback", "") for line in caplog.records)
    (process,) = client.service.pool.processes
    monkeypatch.undo()
    monkeypatch.setattr(process.coders, "compressed", fail)
    answer = client.post("/v1/compress", content=png(photo))
    error_of(answer, 500, "InternalError")
    assert "secret" not in answer.text


def test_the_token(serving, photo):
    client = serving(token="sixteen letters!".replace(" ", "-"))
    for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer other"}):
        for method, path in (("POST", "/v1/compress"), ("GET", "/v1/plugins"), ("GET", "/metrics")):
            answer = client.request(method, path, headers=headers)
            error_of(answer, 401, "UnauthorizedError")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    right = {"Authorization": "Bearer sixteen-letters!"}
    assert client.post("/v1/compress", content=png(photo), headers=right).status_code == 200
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_request_ids_that_are_none_are_replaced(serving):
    client = serving()
    assert client.get("/healthz", headers={"X-Request-Id": "a-b.c"}).headers["X-Request-Id"] == "a-b.c"
    for odd in ("", "a b", "x" * 200, 'a"b'):
        found = client.get("/healthz", headers={"X-Request-Id": odd}).headers["X-Request-Id"]
        assert len(found) == 32
        assert found != odd


def test_addresses_that_are_none(serving):
    client = serving()
    assert "/v1/compress" in error_of(client.get("/v2"), 404, "AddressError")
    answer = client.get("/v1/compress")
    assert "Method Not Allowed" in error_of(answer, 405, "AddressError")
    assert answer.headers["Allow"] == "POST"


def test_plugins_say_what_is_allowed(serving):
    found = serving("serve.tasks=[human]").get("/v1/plugins").json()
    allowed = {entry["name"] for entry in found["tasks"] if entry["allowed"]}
    assert allowed == {"human"}
    assert {entry["name"] for entry in found["codecs"] if entry["allowed"]} == {"tiny", "lite"}
    assert found["default"] == {"codec": "tiny", "task": "human"}


def test_metrics_count(serving, photo):
    client, data = serving(), png(photo)
    client.post("/v1/compress?steps=2", content=data)
    client.post("/v1/compress", content=b"no picture")
    client.get("/nothing/here")
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = {
        (one.name, *sorted(one.labels.values())): one.value
        for family in families
        for one in family.samples
        if not one.name.endswith("_created")
    }
    assert found["taskodec_requests_total", "/v1/compress", "200"] == 1
    assert found["taskodec_requests_total", "/v1/compress", "422"] == 1
    assert found["taskodec_requests_total", "404", "other"] == 1
    assert found["taskodec_failures_total", "ImageError"] == 1
    assert found["taskodec_bytes_total", "/v1/compress", "in"] == len(data) + len(b"no picture")
    assert found["taskodec_steps_total", "human"] == 2
    assert found["taskodec_wait_seconds_count",] == 2
    assert found["taskodec_ready_workers",] == 1
    assert found["taskodec_request_seconds_count", "/v1/compress"] == 2


def test_the_description_names_all_addresses_and_needs_no_network(serving):
    client = serving()
    found = client.get("/openapi.json").json()
    assert {"/v1/compress", "/v1/decompress", "/v1/info", "/v1/plugins", "/metrics", "/healthz", "/readyz"} == set(
        found["paths"]
    )
    names = {one["name"] for one in found["paths"]["/v1/compress"]["post"]["parameters"]}
    targets = {"target_bytes", "target_bpp", "target_loss", "target"}
    assert names == {"codec", "task", "quality", "steps", "preset", "seed", "time_budget", *targets}
    page = client.get("/docs").text
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
