import json
from pathlib import Path

import pytest
import torch

from taskodec.errors import SettingsError, UsageError
from taskodec.evaluation.suite import read_suite
from taskodec.hooks.handover import load_module
from taskodec.hooks.registry import Registry
from taskodec.settings.model import load_settings
from taskodec.tasks import suite

ROOT = Path(__file__).parents[2]

SUITE = """
losses:
  - {name: blurs}
  - {name: mine, task: human, set: {task.options.metric: mse}}
baseline: untuned
ours: ours
variants:
  - {name: untuned, set: {ttft.steps: 0}}
  - {name: ours, set: {ttft.preset: default, ttft.steps: 6}}
  - {name: other, set: {ttft.preset: paper, ttft.steps: 3, ttft.send: cheapest}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


@pytest.mark.parametrize("name", suite.__all__)
@pytest.mark.parametrize("size", [(64, 96), (61, 93), (17, 40)])
def test_a_loss_is_least_at_the_original_and_has_a_gradient(name, size, photo):
    x = photo[..., : size[0], : size[1]]
    noisy = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = getattr(suite, name)(noisy, x)
    loss.backward()
    assert loss.shape == ()
    assert float(loss.detach()) > float(getattr(suite, name)(x, x)) >= -1e-6
    assert torch.isfinite(noisy.grad).all()
    assert noisy.grad.abs().max() > 0
    flat = torch.zeros_like(x).requires_grad_()
    getattr(suite, name)(flat, torch.zeros_like(x)).backward()
    assert torch.isfinite(flat.grad).all()


def test_the_packaged_suite_is_valid_and_its_losses_are_tasks(photo):
    read = read_suite()
    assert len(read.grid) >= 4
    for variant in read.variants.variants:
        load_settings(overrides=variant.overrides())
    own = [loss for loss in read.losses if loss.task is None]
    assert {loss.name for loss in own} == set(suite.__all__)
    task = Registry().task_from(own[0].spec)
    assert float(task.loss(photo, task.prepare(photo))) == 0


def test_tasks_and_weights_are_added(file):
    read = read_suite(file).with_tasks(["docs/text.py:Text"], {"human": file})
    assert [loss.name for loss in read.losses] == ["blurs", "mine", "text.py:Text"]
    assert read.losses[1].set == {"task.options.metric": "mse", "task.options.weights": str(file)}
    with pytest.raises(UsageError, match="'dog' is no task of the suite; valid: human"):
        read_suite(file).with_tasks([], {"dog": file})


def test_a_loss_whose_file_or_package_is_not_there_is_left_out(run, picture, file, tmp_path):
    missing = "  - {name: text, task: gone/text.py:Text}\n"
    file.write_text(SUITE.replace("  - {name: mine", f"{missing}  - {{name: mine"))
    call = ["bench", "--ttft", "--suite", "--data", picture, "--codec", "tiny", "--variants", file, "--json"]
    code, out, _ = run(*call, "-o", tmp_path / "out", "--jobs", 1, "--qualities", 2)
    report = json.loads(out)
    assert code == 0
    assert [result["loss"] for result in report["results"]] == ["blurs", "mine"]
    assert report["notes"] == ["text is left out: no such plugin file: gone/text.py"]


def test_the_examples_of_the_packaged_suite_are_there():
    named = [loss.task for loss in read_suite().losses if loss.task and ".py:" in loss.task]
    assert len(named) == 3
    for task in named:
        path, _, name = task.partition(":")
        assert hasattr(load_module(ROOT / path), name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  - {name: blurs}\n", "  - {name: mine}\n", "the loss 'mine' is there twice"),
        ("name: blurs", "nme: blurs", r"losses\.0\.\w+: .*a loss has name, task, set"),
        ("  - {name: other", "  # {name: other", "a grid is needed"),
    ],
)
def test_a_wrong_file_is_explained(file, old, new, message):
    file.write_text(SUITE.replace(old, new))
    with pytest.raises(SettingsError, match=message):
        read_suite(file)


def test_the_command(run, picture, file, tmp_path):
    out_dir = tmp_path / "out"
    call = ["bench", "--ttft", "--suite", "--data", picture, "--codec", "tiny", "--variants", file, "-o", out_dir]
    call += ["--jobs", 1, "--qualities", 2]
    code, out, err = run(*call)
    assert (code, err) == (0, "")
    assert "Cost of the default for each loss" in out
    assert {p.name for p in out_dir.iterdir()} == {"rows.jsonl", "suite.json", "suite.md", "report.html", "run.json"}
    rows = (out_dir / "rows.jsonl").read_bytes()
    report = json.loads(run(*call, "--json", "--report-only")[1])
    assert (out_dir / "rows.jsonl").read_bytes() == rows
    blurs, mine = report["results"]
    assert (blurs["loss"], mine["loss"]) == ("blurs", "mine")
    costs = {r["method"]: r["cost"] for r in map(json.loads, rows.splitlines()) if r["task"] == "blurs"}
    assert blurs["of_untuned"] == pytest.approx(costs["ours"] / costs["untuned"])
    assert blurs["of_grid"] == pytest.approx(costs["ours"] / costs["other"])
    assert blurs["worse"] == 0
    assert report["worst"] == max(blurs["of_grid"], mine["of_grid"])


def test_what_does_not_apply_is_refused(run, picture, file, tmp_path):
    call = ["bench", "--ttft", "--data", picture, "--codec", "tiny", "-o", tmp_path / "out"]
    for more, message in (
        (["--weights", f"det={file}"], "only with --suite"),
        (["--suite", "--weights", "det"], "expected TASK=FILE"),
        (["--suite", "--only", "blur"], "did you mean 'blurs'"),
        (["--suite", "--labels", file], "not with --suite"),
    ):
        code, _, err = run(*call, *more)
        assert code != 0
        assert message in err.replace("\n", " ")
    code, _, err = run("bench", "--suite", *call[2:])
    assert code != 0
    assert "only with --ttft" in err
