"""Measuring rows here and in several processes, and going on after a stop."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from taskodec.bench.fidelity import sources
from taskodec.errors import ImageError, TaskError, UsageError
from taskodec.evaluation.lab import EvaluationPlan, Lab
from taskodec.evaluation.methods import method_settings, parse_methods
from taskodec.evaluation.pool import default_processes, measure_rows
from taskodec.evaluation.rows import row_file
from taskodec.hooks.registry import Registry
from taskodec.images.tensors import to_pil
from taskodec.settings.model import load_settings

TASK = """
import os

def loss(x_hat, x):
    if "GATE" in os.environ and x.shape[-2] > 32:  # all pictures but the first
        open(os.environ["GATE"]).close()  # a pipe, which nobody opens
    if x.mean() > 0.9:
        raise RuntimeError("too bright")
    return (x_hat - x).abs().mean()
"""


HANGS = 1800
"""Seconds after which no machine is merely busy."""


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TASK)
    return f"{path}:loss"


@pytest.fixture
def folder(tmp_path, photo):
    """Four small pictures."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("abcd"):
        to_pil(photo[..., : 32 + 16 * number, :48]).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def lab(task):
    registry = Registry()
    registry.load_builtins()

    def resolve(more):
        return load_settings(overrides=[f"task.name={task}", *more])

    methods = parse_methods("original,plain,jpeg", registry)
    pairs = tuple((m, method_settings(m, resolve) if m.learned else None) for m in methods)
    return Lab(EvaluationPlan(resolve(()), pairs, {"": [1, 3], "jpeg": [20]}), registry)


def images_in(folder):
    return sources(sorted(folder.iterdir()))


def without_seconds(rows):
    return [replace(row, seconds=None, cpu_seconds=None, step_seconds=None) for row in rows]


@pytest.fixture
def wanted(lab, folder):
    return lab.jobs(images_in(folder))


def test_rows_come_image_by_image_and_are_measured_once(lab, wanted, tmp_path, monkeypatch):
    seen = []
    file = row_file(tmp_path / "out")
    rows = measure_rows(lab, wanted, file, progress=lambda done, total, info: seen.append((done, total)))
    assert [(row.image, row.method, row.quality) for row in rows[:5]] == [
        ("a.png", "original", None),
        ("a.png", "plain", 1),
        ("a.png", "plain", 3),
        ("a.png", "jpeg", 20),
        ("b.png", "original", None),
    ]
    assert seen == [(n, 16) for n in range(1, 17)]
    monkeypatch.setattr(lab, "measure", None)
    assert measure_rows(lab, wanted, row_file(tmp_path / "out")) == rows


def test_one_thread_computes_and_then_all_again(lab, wanted, tmp_path, monkeypatch):
    threads = []
    before = torch.get_num_threads()
    measure = lab.measure
    monkeypatch.setattr(lab, "measure", lambda job: (threads.append(torch.get_num_threads()), measure(job))[1])
    measure_rows(lab, wanted[:2], row_file(tmp_path))
    assert threads == [1, 1]
    assert torch.get_num_threads() == before


def test_a_stop_keeps_what_was_measured(lab, wanted, tmp_path):
    def stop(done, total, info):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_rows(lab, wanted, row_file(tmp_path), progress=stop)
    path = tmp_path / "rows.jsonl"
    assert len(path.read_text().splitlines()) == 5
    path.write_bytes(path.read_bytes()[:-20])  # as if it had come in the middle of a line
    seen = []
    rows = measure_rows(lab, wanted, row_file(tmp_path), progress=lambda done, total, info: seen.append(done))
    assert seen == list(range(5, 17))
    assert len(path.read_text().splitlines()) == 16
    assert without_seconds(rows) == without_seconds(measure_rows(lab, wanted, row_file(tmp_path / "new")))


def test_a_damaged_image_is_named_before_the_first_row(lab, folder, tmp_path):
    (folder / "c.png").write_bytes((folder / "c.png").read_bytes()[:200])
    with pytest.raises(ImageError, match=r"c\.png"):
        measure_rows(lab, lab.jobs(images_in(folder)), row_file(tmp_path))
    assert not (tmp_path / "rows.jsonl").exists()


def test_no_process_is_refused(lab, wanted, tmp_path):
    with pytest.raises(UsageError, match="0 processes"):
        measure_rows(lab, wanted, row_file(tmp_path), processes=0)


def test_as_many_processes_as_cores_unless_a_gpu_computes(lab, monkeypatch):
    assert default_processes(lab) == len(os.sched_getaffinity(0))
    with monkeypatch.context() as elsewhere:
        elsewhere.delattr(os, "sched_getaffinity")
        assert default_processes(lab) == os.cpu_count()
    monkeypatch.setattr(lab, "device", torch.device("cuda"))
    assert default_processes(lab) == 1


def test_processes_give_the_same_rows_and_a_failure_ends_them(lab, folder, photo, tmp_path):
    to_pil(torch.ones_like(photo)).save(folder / "bright.png")
    wanted = lab.jobs(images_in(folder))
    good = [job for job in wanted if job.source.path.name in ("a.png", "d.png")]
    bad = [job for job in wanted if job.source.path.name == "bright.png"]
    with pytest.raises(TaskError, match=r"quality|bright\.png: .*RuntimeError: too bright"):
        measure_rows(lab, [*good, *bad], row_file(tmp_path / "two"), processes=2)
    kept = len((tmp_path / "two" / "rows.jsonl").read_text().splitlines())
    assert 7 <= kept <= 8
    rows = measure_rows(lab, good, row_file(tmp_path / "two"), processes=2)
    assert without_seconds(rows) == without_seconds(measure_rows(lab, good, row_file(tmp_path / "one")))


@pytest.fixture
def as_in_a_terminal():
    """New processes do not ignore Ctrl-C, as they do where tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_in_a_terminal")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_in_processes_that_was_stopped_goes_on(stop, run, folder, task, tmp_path):
    out = tmp_path / "out"
    call = ["eval", "--task", task, "--data", folder, "--methods", "plain,ttft:quick"]
    call += ["--qualities", "1,2", "-o", out, "--jobs", "2", "--resamples", "0"]
    os.mkfifo(tmp_path / "gate")
    process = subprocess.Popen(
        [sys.executable, "-m", "taskodec", *call],
        env={**os.environ, "GATE": str(tmp_path / "gate")},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = out / "rows.jsonl"
    while not (found.exists() and found.stat().st_size) and process.poll() is None:  # made empty, then written
        time.sleep(0.05)  # nothing goes on without us: the rows of the first picture are all that can be there
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does
    else:
        os.kill(process.pid, stop)
    _, err = process.communicate(timeout=HANGS)  # its processes have the pipe too: they are gone as well
    assert process.returncode == (-stop if stop == signal.SIGKILL else 128 + stop)
    assert ("stopped; " in err) == (stop != signal.SIGKILL)
    assert "Traceback" not in err
    before = found.read_text().splitlines()
    assert 0 < len(before) <= 4
    assert run(*call, "--jobs", "1", "--quiet")[0] == 0
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    assert len({(row["image"], row["method"], row["quality"]) for row in rows}) == len(rows) == 16
    assert {path.name for path in out.iterdir()} >= {"summary.json", "report.md", "rate_task_loss.png"}
