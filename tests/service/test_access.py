import pytest

from taskodec.errors import UsageError
from taskodec.service.access import TOKEN_VARIABLE, is_loopback, token_of
from taskodec.settings.serve import ServeSettings


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    assert is_loopback(host)
    assert token_of(ServeSettings(host=host)) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org"])
def test_other_addresses_need_one(host, monkeypatch, tmp_path):
    assert not is_loopback(host)
    with pytest.raises(UsageError, match=f"{TOKEN_VARIABLE} or serve.token_file"):
        token_of(ServeSettings(host=host))
    assert token_of(ServeSettings(host=host, open=True)) == ""
    monkeypatch.setenv(TOKEN_VARIABLE, "0123456789abcdef")
    assert token_of(ServeSettings(host=host)) == "0123456789abcdef"
    file = tmp_path / "token"
    file.write_text("of-the-file-0123456789\n")
    assert token_of(ServeSettings(host=host, token_file=file)) == "of-the-file-0123456789"


@pytest.mark.parametrize(
    "content", ["", "short", "with a blank within it", "ünïcödé-0123456789", "two\nlines-0123456789"]
)
def test_what_is_no_token(content, tmp_path):
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="holds no token"):
        token_of(ServeSettings(token_file=file))


def test_a_token_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        token_of(ServeSettings(token_file=tmp_path / "none"))
