"""Downloads from a server on this machine that cuts, stalls, refuses and sends other files."""

import hashlib
import os
import random
import socket
import subprocess
import sys

import pytest

from taskodec.errors import SettingsError, WeightsError
from taskodec.files.downloads import DownloadOptions, download, mirrored

DATA = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()

HANGS = 1800
"""Seconds after which no machine is merely busy."""


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "net.pth"


@pytest.fixture
def url(server):
    server.files["/net.pth"] = DATA
    return f"{server.url}/net.pth"


def beside(target):
    """What lies in the cache folder, but for locks."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole_and_alone(url, target):
    told = []
    digest = download([url], target, SHA256, DownloadOptions(), lambda *sizes: told.append(sizes))
    assert (digest, target.read_bytes(), beside(target)) == (SHA256, DATA, ["net.pth"])
    assert told[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], ""])
def test_a_connection_that_is_cut_goes_on_where_it_was(server, url, target, sha256):
    server.faults = ["cut", "cut"]
    assert download([url], target, sha256, DownloadOptions()) == SHA256
    half, rest = len(DATA) // 2, len(DATA) - len(DATA) // 4
    assert [asked for _, asked in server.asked] == [None, f"bytes={half}-", f"bytes={rest}-"]
    assert (target.read_bytes(), beside(target)) == (DATA, ["net.pth"])


def test_the_next_call_goes_on_too(server, url, target):
    server.faults = ["cut"]
    with pytest.raises(WeightsError, match=f"the connection ended after {len(DATA) // 2} of {len(DATA)} bytes"):
        download([url], target, "", DownloadOptions(attempts=1))
    assert beside(target) == ["net.pth.part", "net.pth.part.tag"]
    assert download([url], target, "", DownloadOptions()) == SHA256
    assert server.asked[-1][1] == f"bytes={len(DATA) // 2}-"
    assert target.read_bytes() == DATA


def test_a_server_without_ranges_sends_it_again(server, url, target):
    server.ranges, server.faults = False, ["cut"]
    assert download([url], target, "", DownloadOptions()) == SHA256
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("sha256", ["known", ""])
def test_parts_of_two_files_are_never_put_together(server, url, target, sha256):
    server.faults = ["cut"]
    with pytest.raises(WeightsError):
        download([url], target, "", DownloadOptions(attempts=1))
    other = server.files["/net.pth"] = DATA[::-1]
    digest = hashlib.sha256(other).hexdigest()
    assert download([url], target, digest if sha256 else "", DownloadOptions()) == digest
    assert target.read_bytes() == other


def test_what_is_left_of_another_file_does_not_spoil_the_right_one(server, url, target):
    target.parent.mkdir()
    target.with_name("net.pth.part").write_bytes(b"of something else")  # without a tag, but the hash is known
    assert download([url], target, SHA256, DownloadOptions()) == SHA256
    target.unlink()
    target.with_name("net.pth.part").write_bytes(DATA + b"too long")
    assert download([url], target, SHA256, DownloadOptions()) == SHA256
    assert beside(target) == ["net.pth"]


def test_a_server_that_stalls_is_a_typed_error_in_time(server, url, target):
    server.faults = ["stall", "stall"]
    with pytest.raises(WeightsError, match="TimeoutError: timed out"):
        download([url], target, SHA256, DownloadOptions(timeout=0.2, attempts=2))
    assert not target.exists()
    for _ in range(2):
        assert server.came.acquire(timeout=HANGS)  # a busy server reads it late
    assert len(server.asked) == 2


def test_another_file_is_refused_and_removed(server, url, target):
    server.files["/net.pth"] = DATA[::-1]
    with pytest.raises(WeightsError, match=f"SHA-256 .*, expected {SHA256}; it was removed"):
        download([url], target, SHA256, DownloadOptions())
    assert beside(target) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 3)])
def test_only_what_may_pass_is_tried_again(server, url, target, status, requests):
    server.faults = [status] * 9
    with pytest.raises(WeightsError, match=f"{url}: HTTPError: HTTP Error {status}"):
        download([url], target, SHA256, DownloadOptions(attempts=3))
    assert len(server.asked) == requests
    assert beside(target) == []


def test_a_busy_server_is_asked_until_it_answers(server, url, target):
    server.faults = [503, 429]
    assert download([url], target, SHA256, DownloadOptions()) == SHA256


def test_without_a_network_it_fails_at_once(target, monkeypatch):
    def wait(seconds):
        raise AssertionError("waited")

    def nowhere(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("time.sleep", wait)
    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    with pytest.raises(WeightsError, match=r"gaierror: .*Name or service not known"):
        download(["https://weights.invalid/net.pth"], target, SHA256, DownloadOptions())
    monkeypatch.undo()
    monkeypatch.setattr("time.sleep", wait)
    with pytest.raises(WeightsError, match="Connection refused"):
        download(["http://127.0.0.1:9/net.pth"], target, SHA256, DownloadOptions())


def test_what_is_no_url_is_a_typed_error(target):
    for url in ("net.pth", "http://a b/net.pth", "gopher://a/net.pth"):
        with pytest.raises(WeightsError, match=url):
            download([url], target, SHA256, DownloadOptions(attempts=1))


def test_mirrors_come_first_and_errors_name_all(server, url, target):
    server.files["/mirror/net.pth"] = b"not what it should be"
    urls = mirrored(url, "net.pth", [f"{server.url}/nothing", f"{server.url}/={server.url}/mirror/"])
    assert urls == [f"{server.url}/nothing/net.pth", f"{server.url}/mirror/net.pth", url]
    assert download(urls, target, SHA256, DownloadOptions()) == SHA256
    target.unlink()
    del server.files["/net.pth"]
    with pytest.raises(WeightsError) as caught:
        download(urls, target, SHA256, DownloadOptions())
    assert [f"{each}: " in str(caught.value) for each in urls] == [True] * 3


def test_a_mirror_for_other_urls_is_not_asked():
    assert mirrored("https://a.org/x", "x", ["https://b.org/=https://mirror.org/"]) == ["https://a.org/x"]


def test_options_go_through_the_environment(monkeypatch):
    for name in ("MIRRORS", "OFFLINE", "TIMEOUT", "ATTEMPTS"):
        monkeypatch.delenv(f"TASKODEC_{name}", raising=False)
    assert DownloadOptions.from_environment() == DownloadOptions()
    mine = DownloadOptions(("https://a.org", "https://b.org/=file:///b/"), True, 2.5, 7)
    monkeypatch.setattr("os.environ", dict(os.environ))
    mine.to_environment()
    DownloadOptions().to_environment()  # what is as usual changes nothing
    assert DownloadOptions.from_environment() == mine
    os.environ["TASKODEC_TIMEOUT"] = "soon"
    with pytest.raises(SettingsError, match=r"must be numbers.*soon"):
        DownloadOptions.from_environment()


def test_processes_that_want_the_same_file_share_one_download(server, url, target):
    wanted = f"download([{url!r}], Path({str(target)!r}), {SHA256!r}, DownloadOptions())"
    code = f"from pathlib import Path\nfrom taskodec.files.downloads import DownloadOptions, download\n{wanted}"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(server.asked) == 1
    assert target.read_bytes() == DATA
