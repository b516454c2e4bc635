from taskodec.phases import steps_of
from taskodec.settings import PhaseSettings


def phase(*parts, **options):
    return PhaseSettings(train=parts, **options)


def test_total_steps_are_shared():
    phases = [phase("latents", steps=60), phase("encoder", steps=40, schedule="step", milestones=(20,))]
    assert [p.steps for p in steps_of(phases, 10)] == [6, 4]
    assert steps_of(phases, 10)[1].milestones == (2,)
    assert [p.steps for p in steps_of(phases, 0)] == [0, 0]
    assert [p.steps for p in steps_of(phases, None)] == [60, 40]
