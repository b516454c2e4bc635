"""Requests that other sites make a browser send."""

import pytest
from starlette.datastructures import Headers

from taskodec.demo.guard import HEADER, foreign

OWN = {"Host": "127.0.0.1:8001"}
CHANGES = {**OWN, HEADER[0]: HEADER[1], "Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "same-origin"}


def problem(method, path, **headers):
    return foreign(method, path, Headers({name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "LOCALHOST:9", "127.0.0.1"])
def test_names_of_this_machine(host):
    assert problem("GET", "/", Host=host) == ""


@pytest.mark.parametrize(
    "host", ["", "evil.example:8001", "127.0.0.1.evil.example", "192.168.0.7:8001", "[::1", "localhost.evil", "0.0.0.0"]
)
def test_names_that_were_made_to_point_here(host):
    assert "the request is for the host" in problem("GET", "/", Host=host)


def test_the_page_itself():
    assert foreign("POST", "/runs", Headers(CHANGES)) == ""
    assert foreign("GET", "/runs/x/events", Headers({**OWN, "Sec-Fetch-Site": "same-origin"})) == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1:8001"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {HEADER[0]: "other"},
    ],
)
def test_other_sites(changed):
    assert foreign("POST", "/runs", Headers({**CHANGES, **changed}))


def test_a_link_may_lead_to_the_page_and_to_nothing_else():
    opened = {**OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert foreign("GET", "/", Headers(opened)) == ""
    assert foreign("GET", "/runs/x/stream", Headers(opened))
    assert foreign("GET", "/", Headers({**opened, "Sec-Fetch-Mode": "no-cors"}))


def test_a_request_without_the_header_changes_nothing(page):
    client = page()
    answer = client.http.post("/runs?example=door")
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ForeignError")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert not list(client.service.folder.iterdir())
    assert client.http.get("/about", headers={"Host": "evil.example"}).status_code == 403
