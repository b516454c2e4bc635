import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from taskodec.images.tensors import _SAVE
from taskodec.service.bodies import Uploads
from taskodec.service.errors import BodyError, BodyTimeoutError, BodyTooLargeError
from taskodec.service.work import FORMATS
from taskodec.settings.serve import ServeSettings

FORM = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'


def taken(tmp_path, blocks, headers=(), *, ends=True, **settings):
    """What is taken of a request that sends these blocks, and then ends, hangs or goes away."""
    waiting = [{"type": "http.request", "body": block, "more_body": True} for block in blocks]
    waiting += [{"type": "http.request", "body": b"", "more_body": False}] if ends else []

    async def receive():
        if not waiting and ends is None:
            return {"type": "http.disconnect"}
        return waiting.pop(0) if waiting else await asyncio.get_running_loop().create_future()

    named = [(name.encode(), value.encode()) for name, value in dict(headers).items()]
    request = Request({"type": "http", "method": "POST", "headers": named}, receive)
    uploads = Uploads(ServeSettings(**settings))
    try:
        fields = asyncio.run(uploads.take(request, tmp_path / "body"))
    finally:
        assert uploads.count == 0
    return fields, (tmp_path / "body").read_bytes()


def test_bodies_are_taken_as_they_are(tmp_path):
    assert taken(tmp_path, [b"ab", b"", b"c"]) == ({}, b"abc")
    usual_of_curl = {"content-type": "application/x-www-form-urlencoded"}
    assert taken(tmp_path, [b"a=b"], usual_of_curl) == ({}, b"a=b")


def test_forms_hold_a_file_and_options(tmp_path):
    headers = {"content-type": "Multipart/Form-Data; boundary=x"}
    field = b'\r\n--x\r\nContent-Disposition: form-data; name="q"\r\n\r\n2\r\n--x--\r\n'
    assert taken(tmp_path, [FORM, b"abc", field], headers) == ({"q": "2"}, b"abc")
    with pytest.raises(BodyError, match="q more than once"):
        taken(tmp_path, [FORM, b"abc", field[:-6], field], headers)
    with pytest.raises(BodyError, match="1"):
        taken(tmp_path, [FORM, b"abc\r\n", FORM, b"abc\r\n--x--\r\n"], headers)


def test_a_form_that_ends_early_is_none(tmp_path):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    with pytest.raises(BodyError):
        taken(tmp_path, [FORM[:20]], headers)


@pytest.mark.parametrize("headers", [{}, {"content-type": "multipart/form-data; boundary=x"}])
def test_no_body_goes_beyond_the_limit(tmp_path, headers):
    with pytest.raises(BodyTooLargeError, match="100 bytes"):
        taken(tmp_path, [FORM[:60]] * 10, headers, max_body=100)


@pytest.mark.parametrize("length", ["101", "9" * 4000])
def test_what_says_that_it_is_too_large_is_not_read(tmp_path, length):
    with pytest.raises(BodyTooLargeError, match="100 bytes"):
        taken(tmp_path, [], {"content-length": length}, ends=False, max_body=100)


def test_a_body_that_does_not_come(tmp_path):
    with pytest.raises(BodyTimeoutError, match="the body took longer"):
        taken(tmp_path, [b"a"], ends=False, body_timeout=1e-9)


def test_a_client_that_goes_away(tmp_path):
    with pytest.raises(ClientDisconnect):
        taken(tmp_path, [b"a"], ends=None)


def test_formats_are_those_that_pictures_are_written_in():
    assert {f".{form}" for form in FORMATS} <= _SAVE.keys()
    assert {_SAVE[f".{form}"][0].lower() for form in FORMATS} == {form.lower() for form, _ in _SAVE.values()}
