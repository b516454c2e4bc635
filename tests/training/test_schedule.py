import pytest

from taskodec.errors import UsageError
from taskodec.settings.model import TrainSettings, load_settings
from taskodec.training.schedule import (
    check_batch,
    check_crops,
    crops_of,
    largest_crop,
    learning_rate,
    position,
    stage_at,
)


@pytest.fixture
def settings():
    stages = [{"until": 0.5, "crop": 32, "rounding": "noise"}, {"until": 0.75, "crop": 64}, {"until": 1, "crop": 96}]
    return TrainSettings(stages=stages, batch=16, steps=8)


def test_stages_follow_each_other(settings):
    assert [stage_at(step, settings).crop for step in range(10)] == [32] * 4 + [64] * 2 + [96] * 4
    assert [stage_at(step, settings).rounding for step in (3, 4)] == ["noise", "mixed"]


def test_later_stages_have_as_many_pixels_and_two_crops_at_least(settings):
    assert [crops_of(stage, settings) for stage in settings.stages] == [16, 4, 2]
    assert largest_crop(settings) == 96


def test_no_process_goes_without_crops(settings):
    check_batch(settings, 2)
    with pytest.raises(UsageError, match=r"stage 3 .* 2 crops a step, fewer than the 3 processes: raise the batch"):
        check_batch(settings, 3)


def test_warm_up_then_cosine():
    settings = TrainSettings(steps=1000, lr=1e-3, final_lr=1e-6)
    rates = [learning_rate(step, settings) for step in range(1000)]
    assert rates.index(max(rates)) in range(8, 12)
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-6, rel=0.1)


def test_the_shipped_recipe():
    settings = load_settings().train
    early, late = stage_at(21119, settings), stage_at(21120, settings)
    assert (early.crop, early.rounding, early.bf16) == (128, "mixed", True)
    assert (late.crop, late.rounding, late.bf16) == (256, "mixed", False)


def test_by_the_clock_stages_and_rate_follow_the_seconds(settings):
    timed = settings.model_copy(update={"time_budget": 80.0})
    assert position(7, 0.0, timed) == 0
    assert [position(7, seconds, timed) for seconds in (40.0, 70.0, 90.0)] == [4, 7, 8]
    assert position(7, 40.0, settings) == 7
    assert [stage_at(position(0, seconds, timed), timed).crop for seconds in (39, 41, 61)] == [32, 64, 96]
    with pytest.raises(UsageError, match="time_budget is for one process"):
        check_batch(timed, 2)


def test_rates_between_steps_lie_between_their_rates():
    settings = TrainSettings(steps=1000, lr=1e-3, final_lr=1e-6)
    for step in (0, 5, 9, 300, 999):
        low, high = sorted(learning_rate(s, settings) for s in (step, step + 1))
        assert low <= learning_rate(step + 0.5, settings) <= high


def test_crops_that_a_codec_does_not_take_are_refused(settings):
    check_crops(settings, "some", 32)
    with pytest.raises(UsageError, match=r"stage 1 .* 32 pixels a side, codec 'some' takes multiples of 64: try 64"):
        check_crops(settings, "some", 64)
