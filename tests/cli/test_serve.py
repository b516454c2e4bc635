import socket

import pytest


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv("TASKODEC_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "there is no token: set TASKODEC_TOKEN or serve.token_file"),
        (["--host", "192.0.2.77", "--set", "serve.open=true"], 1, "cannot listen on 192.0.2.77, port 8000"),
        (["--host", "nowhere.invalid", "--set", "serve.open=true"], 1, "cannot listen on nowhere.invalid"),
        (["--port", "70000"], 2, "serve.port = 70000"),
        (["--workers", "0"], 2, "serve.workers = 0"),
        (["--port", "0", "--set", "serve.tasks=[humna]"], 2, "did you mean 'human'"),
        (["--port", "0", "--set", "serve.tasks=[loss.py:loss]"], 2, "unknown task 'loss.py:loss'"),
        (["--set", "serve.token_file=none"], 2, "serve.token_file, none, cannot be read"),
        (["--set", "serve.tiemout=3"], 2, "did you mean 'timeout'"),
        (["--config", "none.yaml"], 2, "cannot read configuration none.yaml"),
    ],
)
def test_what_it_cannot_be_started_with(run, arguments, code, said):
    found, out, err = run("serve", *arguments)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


def test_an_address_that_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", "--port", port)
    assert (code, err) == (
        1,
        f"error: cannot listen on 127.0.0.1, port {port}: Address already in use; choose another --port or --host\n",
    )


def test_the_extra_is_asked_for(run, without):
    without("uvicorn")
    code, _, err = run("serve")
    assert code == 2
    assert "uvicorn is not installed: `pip install 'taskodec[serve]'`" in err
