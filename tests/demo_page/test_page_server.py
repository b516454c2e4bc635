"""How the page is started, and one run of it with a worker process."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

import taskodec
from taskodec.demo.server import first_task
from taskodec.extras import EXTRAS
from taskodec.settings.model import load_settings


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "the page is for this machine alone"),
        (["--host", "192.168.0.7", "--port", "9"], 2, "ssh -L 9:127.0.0.1:9"),
        (["--task", "none.py:loss"], 2, "there is no file none.py"),
        (["--task", "humna"], 2, "did you mean 'human'"),
        (["--port", "70000"], 2, "65535"),
        (["--set", "qality=3"], 2, "did you mean 'quality'"),
        (["--set", "serve.tasks=[humna]"], 2, "did you mean 'human'"),
    ],
)
def test_what_it_cannot_be_started_with(run, arguments, code, said):
    found, out, err = run("demo", *arguments, "--no-open")
    assert (found, out) == (code, "")
    assert said in err


def test_the_extra_is_asked_for(run, without):
    without(*EXTRAS["demo"])
    code, _, err = run("demo")
    assert code == 2
    assert "`pip install 'taskodec[demo]'`" in err


def test_the_task_that_it_begins_with(edges):
    settings, own = load_settings(), {"my_edges.py:loss": edges}
    assert first_task(settings, [edges], own, ["cls"]) == "my_edges.py:loss"
    assert first_task(settings, ["det", edges], own, ["cls"]) == "det"
    assert first_task(settings, [], {}, ["human", "cls"]) == "cls"
    assert first_task(settings, [], {}, ["human"]) == "human"
    assert first_task(load_settings(overrides=["task=seg"]), [], {}, ["seg", "cls"]) == "seg"


def test_a_worker_process_tells_how_far_it_is(edges, tmp_path):
    call = [sys.executable, "-m", "taskodec", "demo", "--port", "0", "--no-open", "--task", edges]
    with subprocess.Popen(call, stdout=subprocess.PIPE, cwd=tmp_path, text=True) as server:
        try:
            (url,) = re.findall(r"http://\S+(?=/ has the page)", server.stdout.readline())
            asked = "task=my_edges.py:loss&steps=2&megapixels=0.01&quality=2&example=door"
            request = urllib.request.Request(f"{url}/runs?{asked}", b"", {"X-Taskodec": "demo"})
            number = json.load(urllib.request.urlopen(request))["id"]
            with urllib.request.urlopen(f"{url}/runs/{number}/events") as told:
                states = [json.loads(line[6:]) for line in told if line.startswith(b"data: ")]
            assert states[-1]["state"] == "done", states[-1]
            assert states[-1]["total"] == 2
            stream = urllib.request.urlopen(f"{url}/runs/{number}/stream").read()
        finally:
            server.send_signal(signal.SIGINT)
    assert server.returncode in (0, 130)
    assert taskodec.decompress(stream).size == (states[-1]["width"], states[-1]["height"])


def test_a_task_that_cannot_be_made_is_said_at_the_start(tmp_path):
    (tmp_path / "bad.py").write_text("loss = 3\n")
    call = [sys.executable, "-m", "taskodec", "demo", "--port", "0", "--no-open", "--task", "bad.py:loss"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the worker could not be started" in done.stderr
    assert "Traceback" not in done.stderr
