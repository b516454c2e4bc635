import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.contracts import Latents
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError
from taskodec.settings.model import PhaseSettings
from taskodec.tuning.objective import Objective
from taskodec.tuning.phases import Point
from taskodec.tuning.subject import Subject
from taskodec.tuning.together import Look, _seed_of_step, run_together
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


def phase(*parts, steps=6, **options):
    return PhaseSettings(train=parts, steps=steps, **options)


LATENTS = phase("latents", lr_latents=0.3, steps=15)


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec)


@pytest.fixture
def made(tiny_codec, photo):
    """An objective with a loss of the caller's, and the untuned point."""

    def make(loss):
        task = FunctionTask("own", loss, lmbda=1.0)
        with torch.no_grad():
            latents = tiny_codec.analysis(photo, 2.0)
        objective = Objective(Subject(tiny_codec, None, task, 2.0, tuple(photo.shape[2:]), photo, 1.0))
        return objective, Point(Latents(latents.y, latents.z), torch.zeros(0))

    return make


def looking(objective, point, times, ends):
    for _ in range(times):
        found = yield Look(objective, point)
    ends.append(times)
    return float(found.cost)


def test_tunings_of_different_lengths_go_on_without_each_other(made):
    objective, point = made(lambda x_hat, x: (x_hat - x).abs().mean())
    ends = []
    costs = run_together([looking(objective, point, times, ends) for times in (3, 1, 2)], 0)
    assert ends == [1, 2, 3]
    assert costs == pytest.approx([costs[0]] * 3)


def test_an_error_of_the_task_goes_to_whom_it_belongs(made):
    calls = []

    def loss(x_hat, x):
        calls.append(len(calls))
        return (x_hat - x).abs().mean() / (float(len(calls) not in (2, 4)) or float("nan"))

    objective, point = made(loss)
    first, second, third = run_together([looking(objective, point, 1, []) for _ in range(3)], 0)
    assert isinstance(second, TaskError) or isinstance(first, TaskError)
    assert isinstance(third, float)


def test_whatever_a_tuning_raises_is_its_outcome(made):
    objective, point = made(lambda x_hat, x: (x_hat - x).abs().mean())

    def broken():
        yield Look(objective, point)
        raise ZeroDivisionError("mine")

    error, cost = run_together([broken(), looking(objective, point, 2, [])], 0)
    assert isinstance(error, ZeroDivisionError)
    assert cost > 0


def shifted(photo):
    """Another picture of the same size."""
    return photo.flip(3).contiguous()


@pytest.mark.parametrize("rounding", ["noise", "ste", "mixed", "sga"])
def test_images_tuned_together_become_what_they_become_alone(tiny_codec, adapter, photo, rounding):
    """Latents, singular values and the encoder's adapter of each are its own, and so is its noise."""
    phases = [
        phase("encoder", "decoder", steps=6, lr=0.02, rounding=rounding),
        phase("latents", "decoder", "encoder", steps=6, lr=0.02, lr_latents=0.1, rounding=rounding),
    ]
    tuner = Tuner(tiny_codec, adapter, mse, 2.0)
    alone = [tuner.tune(x, phases) for x in (photo, shifted(photo))]
    together = tuner.tune_many([photo, shifted(photo)], phases)
    for one, other in zip(alone, together, strict=True):
        assert other.best.name == one.best.name
        assert other.best.cost == pytest.approx(one.best.cost, rel=2e-3)
        assert other.best.cost < other.untuned.cost
        assert (other.steps, other.lmbda) == (one.steps, one.lmbda)
        assert (other.best.x_hat - one.best.x_hat).abs().mean() < 2e-3
    assert not any(module._forward_hooks for module in tiny_codec.modules())


def test_an_image_that_diverges_or_fails_leaves_the_others_alone(tiny_codec, adapter, photo):
    def loss(x_hat, x):
        weight = x.mean() - photo.mean()  # zero for one of them
        return ((x_hat - x).square() / weight.where(weight != 0, torch.tensor(float("nan")))).mean()

    other = photo * 0.5
    task = FunctionTask("picky", loss, lmbda=-2000.0)
    failed, tuned = Tuner(tiny_codec, adapter, task, 2.0).tune_many([photo, other], [LATENTS])
    assert isinstance(failed, TaskError)
    assert "the loss is nan" in str(failed)
    assert tuned.best.cost < tuned.untuned.cost


def test_diverged_images_keep_what_they_had(tiny_codec, adapter, photo, monkeypatch):
    """From the third step on the first image's picture is NaN."""
    calls = []
    synthesis = tiny_codec.synthesis

    def broken(y_hat, quality):
        x_hat = synthesis(y_hat, quality)
        calls.append(len(y_hat))
        if torch.is_grad_enabled() and len(y_hat) == 2 and len(calls) > 8:
            x_hat = x_hat * torch.tensor([float("nan"), 1.0]).view(2, 1, 1, 1)
        return x_hat

    monkeypatch.setattr(tiny_codec, "synthesis", broken)
    first, second = Tuner(tiny_codec, adapter, mse, 2.0).tune_many([photo, shifted(photo)], [LATENTS])
    assert 0 < first.steps < 15
    assert second.steps == 15
    assert second.best.cost < second.untuned.cost


def test_adapters_that_are_one_for_all_are_tuned_one_by_one(tiny_codec, adapter, photo, monkeypatch):
    monkeypatch.setattr(type(adapter), "per_sample", False)
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune_many([photo, shifted(photo)], [phase("decoder", lr=0.2)])
    assert len(tuned) == 2
    assert all(one.steps == 6 for one in tuned)


def test_seeds_of_steps_keep_all_64_bits():
    assert _seed_of_step(7, 3) == (7 << 32) + 3  # as it has always been, so that streams stay the same
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    found = {_seed_of_step(seed, step) for seed in seeds for step in range(3)}
    assert len(found) == 3 * len(seeds)
    assert all(0 <= seed < 2**64 for seed in found)
