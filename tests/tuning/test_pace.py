from taskodec.adapters.lora import build_svd_lora
from taskodec.contracts.function_task import FunctionTask
from taskodec.settings.model import PhaseSettings, TTFTSettings
from taskodec.tuning.budget import Budget
from taskodec.tuning.candidates import Candidates
from taskodec.tuning.pace import LOOKS, STREAMS, Pace
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


def phase(steps, part="latents", **options):
    return PhaseSettings(train=(part,), steps=steps, **options)


def run(pace, budget, clock, step_seconds):
    """All the steps that the pace allows; the progress before each."""
    progress = []
    while not pace.over:
        progress.append(pace.progress)
        clock.work(budget, "step", step_seconds)
        pace.stepped()
    return progress


def test_steps_count_without_a_budget(clock):
    pace = Pace(phase(4), Budget(None), 1.0)
    assert run(pace, pace.budget, clock, 0) == [0, 0.25, 0.5, 0.75]
    assert pace.progress == 1


def test_time_for_streams_is_left_and_schedules_come_to_their_end(clock):
    budget = Budget(20, clock)
    clock.work(budget, "stream", 1)
    clock.work(budget, "check", 0.5)
    pace = Pace(phase(1000), budget, 1.0)
    progress = run(pace, budget, clock, 0.5)
    assert budget.spent <= 20 - STREAMS - 0.5
    assert budget.spent > 20 - STREAMS - 0.5 * LOOKS - 0.5
    assert progress == sorted(progress)
    assert progress[0] == 0
    assert progress[-1] > 0.85


def test_a_phase_of_two_takes_its_part(clock):
    budget = Budget(20, clock)
    first = Pace(phase(1000), budget, 0.25)
    run(first, budget, clock, 0.5)
    assert budget.spent == 5
    second = Pace(phase(1000), budget, 1.0)
    assert second.progress == 0
    run(second, budget, clock, 0.5)
    assert budget.spent == 20


def test_no_step_when_there_is_no_time(clock):
    budget = Budget(2, clock)
    clock.work(budget, "stream", 1.5)
    pace = Pace(phase(10), budget, 1.0)
    assert pace.over
    assert pace.progress == 1


def test_it_ends_when_a_second_gains_too_little(clock):
    budget = Budget(None, clock)
    pace = Pace(phase(1000), budget, 1.0, min_gain=0.01)
    pace.reached(10.0)
    for cost in (8.0, 7.0, 6.9):
        clock.now += 1
        pace.reached(cost)
        assert not pace.over
    clock.now += 1
    pace.reached(6.85)  # 0.15 in two seconds, where 0.2 are asked for
    assert pace.over


def test_checks_come_every_fifth_step_and_at_the_end():
    pace = Pace(phase(7), Budget(None), 1.0)
    seen = []
    while not pace.over:
        pace.stepped()
        seen.append(pace.at_check)
    assert seen == [False] * 4 + [True, False, True]


def test_phases_share_a_time_budget(tiny_codec, photo, clock, monkeypatch):
    synthesis = tiny_codec.synthesis

    def slow(*args):
        clock.now += 1
        return synthesis(*args)

    monkeypatch.setattr(tiny_codec, "synthesis", slow)
    monkeypatch.setattr("taskodec.tuning.run.Budget", lambda seconds, images: Budget(seconds, clock, images=images))
    found = []
    tuner = Tuner(tiny_codec, build_svd_lora(tiny_codec), mse, 2.0)
    cheapest = "taskodec.tuning.run.Candidates.cheapest"
    original = Candidates.cheapest
    monkeypatch.setattr(cheapest, lambda self, *args: found.append(args[0]) or original(self, *args))
    tuner.tune(photo, [phase(900), phase(100, "decoder")], time_budget=100)
    assert found == ["latents", "decoder"]
    assert clock.now <= 200


def test_a_phase_that_gains_too_little_ends_early(tiny_codec, photo):
    still = [phase(200, lr_latents=1e-9)]
    switches = TTFTSettings(min_gain_per_second=1e-6)
    assert Tuner(tiny_codec, build_svd_lora(tiny_codec), mse, 2.0, switches=switches).tune(photo, still).steps == 10
