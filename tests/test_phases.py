import pytest

from taskodec.phases import rate_factor, steps_of
from taskodec.settings import PhaseSettings


def phase(*parts, **options):
    return PhaseSettings(train=parts, **options)


def test_total_steps_are_shared():
    phases = [phase("latents", steps=60), phase("encoder", steps=40, schedule="step", milestones=(20,))]
    assert [p.steps for p in steps_of(phases, 10)] == [6, 4]
    assert steps_of(phases, 10)[1].milestones == (2,)
    assert [p.steps for p in steps_of(phases, 0)] == [0, 0]
    assert [p.steps for p in steps_of(phases, None)] == [60, 40]


def test_the_rate_warms_up_and_falls_in_five_cycles_of_half_the_height():
    tuning = phase("encoder", steps=40, schedule="cosine_warmup")
    rates = [rate_factor(tuning, step / 40) for step in range(40)]
    # CosineAnnealingWarmupRestarts of the authors' code: cycles of 8 steps, 4 of them up, from 1 % of the rate
    first = [0.01, 0.2575, 0.505, 0.7525, 1, 0.855017, 0.505, 0.154983]
    assert rates[:8] == pytest.approx(first, abs=1e-6)
    assert rates[8:16] == pytest.approx([0.01 + (rate - 0.01) * 0.49 / 0.99 for rate in first], abs=1e-6)
    assert [rates[n] for n in (4, 12, 20, 28, 36)] == pytest.approx([1, 0.5, 0.25, 0.125, 0.0625])
