import pytest
import torch

from taskodec.contracts import Latents
from taskodec.settings.model import PhaseSettings
from taskodec.tuning.phases import Point, Variables, rate_factor, steps_of


def phase(*parts, **options):
    return PhaseSettings(train=parts, **options)


def test_total_steps_are_shared():
    phases = [phase("latents", steps=60), phase("encoder", steps=40, schedule="step", milestones=(20,))]
    assert [p.steps for p in steps_of(phases, 10)] == [6, 4]
    assert steps_of(phases, 10)[1].milestones == (2,)
    assert [p.steps for p in steps_of(phases, 0)] == [0, 0]
    assert [p.steps for p in steps_of(phases, None)] == [60, 40]


@pytest.fixture
def latents():
    y = torch.cat([torch.full((1, 1, 3, 3), 4.0), torch.zeros(1, 1, 3, 3)], 1)
    return Latents(y, torch.full((1, 1, 1, 1), -0.25))


def moved(latents, **options):
    """How far one step moves y and z under a loss that is steep everywhere."""
    variables = Variables(
        phase("latents", steps=1, lr=0.1, **options),
        Point(latents, torch.zeros(0)),
        None,
        None,
        torch.zeros(1),
        1.0,
    )
    (variables.y.sum() + variables.z.sum()).backward()
    variables.step(0.0)
    return latents.y - variables.y.detach(), latents.z - variables.z.detach()


def test_uniform_steps_move_all_latents_alike(latents):
    y, z = moved(latents, lr_z=0.2)
    torch.testing.assert_close(y, torch.full_like(y, 0.1))
    torch.testing.assert_close(z, torch.full_like(z, 0.2))


def test_local_steps_go_by_the_size_of_latents(latents):
    y, z = moved(latents, latent_steps="local")
    torch.testing.assert_close(y[:, 0], torch.full_like(y[:, 0], 0.2))  # sqrt(4)
    torch.testing.assert_close(y[:, 1], torch.full_like(y[:, 1], 0.01))  # sqrt(0.01), though all are zero
    torch.testing.assert_close(z, torch.full_like(z, 0.025))


def test_the_rate_warms_up_and_falls_in_five_cycles_of_half_the_height():
    tuning = phase("encoder", steps=40, schedule="cosine_warmup")
    rates = [rate_factor(tuning, step / 40) for step in range(40)]
    # CosineAnnealingWarmupRestarts of the authors' code: cycles of 8 steps, 4 of them up, from 1 % of the rate
    first = [0.01, 0.2575, 0.505, 0.7525, 1, 0.855017, 0.505, 0.154983]
    assert rates[:8] == pytest.approx(first, abs=1e-6)
    assert rates[8:16] == pytest.approx([0.01 + (rate - 0.01) * 0.49 / 0.99 for rate in first], abs=1e-6)
    assert [rates[n] for n in (4, 12, 20, 28, 36)] == pytest.approx([1, 0.5, 0.25, 0.125, 0.0625])
