"""`taskodec models` as a user calls it."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from taskodec.cli.main import main
from taskodec.hooks import registry
from taskodec.hooks.registry import Registry

DATA = b"weights of a network"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def plugin(server, tmp_path, monkeypatch):
    """A file of a third party with two weights: one with a hash, one without."""
    path = tmp_path / "mine.py"
    path.write_text(
        f"""
import taskodec

@taskodec.hookimpl
def register_weights():
    about = dict(description="task mine", licence="MIT")
    return [
        taskodec.WeightsFile("mine-hashed", "{server.url}/a.pth", "{SHA256}", size=20, **about),
        taskodec.WeightsFile("mine-free", "{server.url}/b.pth", **about),
    ]
"""
    )
    server.files = {"/a.pth": DATA, "/b.pth": DATA}
    monkeypatch.setattr(registry, "default_registry", lambda known={}: known.setdefault(path, Registry()))
    return str(path)


def run(capsys, *arguments, code=0):
    """Lines of standard output, and standard error."""
    with pytest.raises(SystemExit) as end:
        main(["models", *arguments])
    assert (end.value.code or 0) == code
    found = capsys.readouterr()
    return found.out.splitlines(), found.err


def test_the_list_needs_no_torch():
    code = (
        "import sys; from taskodec.cli.main import app\n"
        "try: app(['models', 'list', '--json'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    rows = {row["name"]: row for row in map(json.loads, found.stdout.splitlines())}
    assert {"tic-q1", "tic-cls", "mbt2018-mean-q3", "resnet50", "yolox_nano", "espnetv2"} <= rows.keys()
    assert rows["resnet50"]["sha256"] == "0676ba61"
    assert rows["tic-q1"]["sha256"] is None
    assert rows["efficientnet_lite0"]["state"] == "package"


def test_weights_are_listed_fetched_and_verified(server, plugin, cache, capsys):
    lines, _ = run(capsys, "list", "mine-*", "--plugin", plugin)
    assert [line.split()[:2] for line in lines] == [["mine-free", "missing"], ["mine-hashed", "missing"]]
    assert "no hash is published" in lines[0]
    assert "MIT; 0.0 MiB" in lines[1]
    server.faults = ["cut"]
    lines, _ = run(capsys, "fetch", "mine-*", "--plugin", plugin)
    assert lines == [f"mine-free: verified, {cache / 'b.pth'}", f"mine-hashed: verified, {cache / 'a.pth'}"]
    assert len(server.asked) == 3
    run(capsys, "fetch", "mine-*", "--plugin", plugin)
    assert len(server.asked) == 3
    lines, _ = run(capsys, "verify", "mine-free", "--plugin", plugin, "--json")
    assert json.loads(lines[0])["state"] == "verified"
    assert run(capsys, "path", "mine-free", "--plugin", plugin)[0] == [str(cache / "b.pth")]
    assert run(capsys, "path")[0] == [str(cache)]


def test_what_is_not_right_is_said_of_each_and_makes_the_exit_code(server, plugin, cache, capsys):
    run(capsys, "fetch", "mine-*", "--plugin", plugin)
    (cache / "b.pth").write_bytes(b"changed")
    lines, errors = run(capsys, "verify", "mine-*", "--plugin", plugin, code=1)
    assert lines == [f"mine-hashed: verified, {cache / 'a.pth'}"]
    assert "error: mine-free: " in errors
    assert "is not the file that it was" in errors


def test_a_failed_fetch_goes_on_with_the_others(server, plugin, cache, capsys):
    del server.files["/b.pth"]
    lines, errors = run(capsys, "fetch", "mine-*", "--plugin", plugin, "--json", code=1)
    first, second = map(json.loads, lines)
    assert "404" in first["error"]
    assert (first["state"], second["state"]) == ("missing", "verified")
    assert "Traceback" not in errors


def test_mirrors_and_offline_are_settings(server, plugin, cache, capsys, monkeypatch):
    server.files = {"/mirror/a.pth": DATA}
    monkeypatch.setattr("os.environ", dict(os.environ))
    _, errors = run(capsys, "fetch", "mine-hashed", "--plugin", plugin, "--set", "downloads.offline=true", code=1)
    assert "switched off" in errors
    assert server.asked == []
    monkeypatch.delenv("TASKODEC_OFFLINE")
    run(capsys, "fetch", "mine-hashed", "--plugin", plugin, "--mirror", f"{server.url}/mirror")
    assert (cache / "a.pth").read_bytes() == DATA


def test_names_that_do_not_exist(capsys, cache):
    assert "did you mean 'tic-q4'" in run(capsys, "fetch", "tic-q9", code=2)[1]
    assert "no weights are named like 'tac-*'" in run(capsys, "list", "tac-*", code=2)[1]
    assert "`taskodec models fetch tic-q1`" in run(capsys, "path", "tic-q1", code=2)[1]


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", ["::::", "http://", "http://[", "http://host:port", "é"])
def test_proxies_that_are_none_are_typed_errors(server, plugin, cache, capsys, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request._opener", None)  # which knows the proxies of before
    monkeypatch.setenv("TASKODEC_ATTEMPTS", "1")
    with pytest.raises(SystemExit) as end:
        main(["models", "fetch", "mine-hashed", "--plugin", plugin])
    errors = capsys.readouterr().err
    assert (end.value.code or 0) == (1 if name == "http_proxy" else 0)
    assert len(errors.splitlines()) == (end.value.code or 0)
    assert "Traceback" not in errors


def test_a_cache_folder_that_is_none_is_a_typed_error(plugin, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    assert run(capsys, "list", "mine-*", "--plugin", plugin)[0][0].split()[:2] == ["mine-free", "missing"]
    _, errors = run(capsys, "fetch", "mine-free", "--plugin", plugin, code=1)
    assert "Not a directory" in errors
    assert len(errors.splitlines()) == 1


def test_a_folder_that_is_closed_is_one_line_for_each(plugin, cache, capsys, monkeypatch):
    run(capsys, "fetch", "mine-*", "--plugin", plugin)
    monkeypatch.setattr("taskodec.files.weights.sha256_of", lambda file: file.joinpath("x").stat())
    _, errors = run(capsys, "verify", "mine-*", "--plugin", plugin, code=1)
    assert errors.count("Not a directory") == len(errors.splitlines()) == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TIMEOUT", "nan"), ("TIMEOUT", "inf"), ("TIMEOUT", "-1"), ("TIMEOUT", "0"), ("ATTEMPTS", "0"), ("ATTEMPTS", "x")],
)
def test_options_out_of_bounds_are_wrong_calls(plugin, cache, capsys, monkeypatch, variable, value):
    monkeypatch.setenv(f"TASKODEC_{variable}", value)
    _, errors = run(capsys, "fetch", "mine-free", "--plugin", plugin, code=2)
    assert f"TASKODEC_{variable}" in errors
    assert len(errors.splitlines()) == 1


def test_ctrl_c_says_what_is_kept(plugin, cache, capsys, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("taskodec.files.weights.download", stop)
    _, errors = run(capsys, "fetch", "mine-free", "--plugin", plugin, code=130)
    assert errors == "stopped at mine-free; what has arrived is kept, the same call goes on\n"
