import json
import warnings

import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.contracts.function_task import FunctionTask
from taskodec.training.costs import task_cost
from taskodec.tuning.calibration import Balance
from taskodec.tuning.slopes import SlopeWatch, no_slope, warn_without_slope, watch


def rounded(x_hat, x):
    """Zero slope everywhere: what is compared are whole numbers."""
    return ((x_hat * 255).round() / 255 - 0.8 * x).square().mean()


def constant(x_hat, x):
    return (x_hat * 0).sum() + 0.5


def partly(x_hat, x):
    """No slope but in a corner."""
    return rounded(x_hat, x) + x_hat[..., :1, :1].mean()


def tolerant(x_hat, x):
    """Nothing is wrong with a picture that is near enough, as here all are."""
    return torch.relu((x_hat - x).square().mean() - 10)


def fine(x_hat, x):
    return (x_hat - x).square().mean()


@pytest.mark.parametrize("loss", [rounded, constant])
@pytest.mark.parametrize("phases", ["[{train: [latents], steps: 3}]", "[{train: [encoder, decoder], steps: 3}]"])
def test_a_loss_without_a_slope_is_said(make_compressor, pieces, loss, phases):
    result = make_compressor(f"ttft.phases={phases}", task=loss).compress(pieces[0])
    (note,) = result.report()["notes"]
    assert f"the loss of task '{loss.__name__}' has no slope: its gradient was zero in all 3 steps" in note
    assert f"at a loss of {result.tuned.untuned.loss:.5g}" in note


def test_a_loss_that_is_at_zero_already_is_told_from_one_without_a_slope(make_compressor, pieces):
    (note,) = make_compressor(task=tolerant).compress(pieces[0]).notes
    assert note == "the loss of task 'tolerant' is 0 before tuning: there was nothing to gain for it, only bits to save"


@pytest.mark.parametrize("loss", [fine, partly])
def test_a_loss_with_a_slope_somewhere_needs_no_note(make_compressor, pieces, loss):
    assert make_compressor(task=loss).compress(pieces[0]).notes == ()


def test_without_steps_there_is_nothing_to_say(make_compressor, pieces):
    assert make_compressor("ttft.steps=0", task=rounded).compress(pieces[0]).notes == ()


def test_patches_are_looked_at_together(make_compressor, pieces):
    """Where one has a slope the loss has one."""

    def corner(x_hat, x):
        return rounded(x_hat, x) + (x.mean() > 0.35) * x_hat.mean()

    sides = ("ttft.patch=16", "ttft.phases=[{train: [latents], steps: 2}]")
    assert make_compressor(*sides, task=corner).compress(pieces[0]).notes == ()
    (note,) = make_compressor(*sides, task=rounded).compress(pieces[0]).notes
    assert "has no slope" in note


def test_every_picture_of_a_pass_has_its_own_note(make_compressor, pieces):
    """One picture is dark, and this loss has a slope for bright ones only."""
    dark, bright = pieces[0] // 8, pieces[0]

    def picky(x_hat, x):
        return rounded(x_hat, x) + (x.mean() > 0.2) * x_hat.mean()

    first, second = make_compressor(task=picky).compress_batch([dark, bright])
    assert "has no slope" in first.notes[0]
    assert second.notes == ()


def test_a_weight_of_zero_is_no_fault_of_the_loss():
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    watches = [SlopeWatch(), SlopeWatch()]
    x_hat = x * 1.0
    watch(x_hat, watches)
    (x_hat[0] * 2).sum().backward()
    assert [(one.gradients, one.found) for one in watches] == [(1, True), (1, False)]
    assert no_slope("mine", watches, 1.0) is None
    assert no_slope("mine", watches[1:], 1.0) is not None
    assert no_slope("mine", [SlopeWatch()], 1.0) is None


def test_the_command_says_so_too(run, picture, tmp_path):
    file = tmp_path / "steps.py"
    file.write_text("def loss(x_hat, x):\n    return ((x_hat * 255).round() / 255 - x).square().mean()\n")
    call = ["compress", picture, "--codec", "tiny", "-q", 2, "--steps", 3, "--task", f"{file}:loss", "--force"]
    code, out, _ = run(*call)
    assert code == 0
    assert "  note: the loss of task 'loss' has no slope" in out
    code, out, _ = run(*call, "--json")
    assert "has no slope" in json.loads(out)["notes"][0]


def test_training_warns_once():
    seen = SlopeWatch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seen.gradients in (63, 64, 65):
            warn_without_slope("mine", seen)
    (warning,) = caught
    assert "'mine' has no slope: its gradient was zero on the first 64 crops" in str(warning.message)
    sloped = SlopeWatch()
    sloped.gradients, sloped.found = 100, True
    warn_without_slope("mine", sloped)


def test_pre_training_looks_at_the_gradients(tiny_codec, pieces):
    x = torch.from_numpy(pieces[0])[None].permute(0, 3, 1, 2) / 255  # (H, W, 3) -> (1, 3, H, W)
    balance = Balance((2.0, 3.0), (5.0, 5.0), (1.0, 1.0))
    adapter = build_svd_lora(tiny_codec.requires_grad_(False))
    found = []
    for loss in (fine, rounded):
        seen = SlopeWatch()
        with adapter.applied(tiny_codec):
            minimised, _ = task_cost(
                tiny_codec, FunctionTask("mine", loss), balance, x, torch.tensor([2.0]), slope=seen
            )
            minimised.backward()
        found.append((seen.gradients, seen.found))
    assert found == [(1, True), (1, False)]
