import math

import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.codecs.lite.loading import load_lite
from taskodec.contracts import FunctionTask
from taskodec.errors import TargetError
from taskodec.settings.model import load_settings
from taskodec.tuning.aim import Aim, aimed
from taskodec.tuning.aimed_run import AimedRun
from taskodec.tuning.goals import MetricBound, MostBytes, MostLoss
from taskodec.tuning.levels import levels_of
from taskodec.tuning.run import Share
from taskodec.tuning.ttft import Tuner


def error(x_hat, x):
    return (x_hat - x).square().mean()


TASK = FunctionTask("error", error, 300.0)


@pytest.fixture(scope="module")
def trained():
    """The default codec, whose pictures get better with the quality."""
    return load_lite()


def tune(codec, x, goal, steps=0, *, adapter=None, switches="{}", seed=0):
    settings = load_settings(overrides=[f"ttft={switches}", f"ttft.steps={steps}"]).ttft
    phases = [phase.model_copy(update={"steps": steps}) for phase in settings.phases]
    tuner = Tuner(codec, adapter, TASK, 3.0, switches=settings, seed=seed)
    return aimed(tuner, x, phases, goal, lambda quality: None, Share(None, None, steps, 1))


def sizes(codec, x):
    """Bytes of the untuned files at the first and the last quality."""
    tuner = Tuner(codec, None, TASK, 3.0)
    found = []
    for quality in (codec.qualities[0], codec.qualities[-1]):
        phases = load_settings(overrides=["ttft.steps=1"]).ttft.phases
        phases = [phase.model_copy(update={"steps": 0}) for phase in phases]
        found.append(len(tuner.at(quality, None).tune(x, phases).best.coded.stream))
    return found


def test_levels_are_sixteenths_where_the_codec_has_all_between(tiny_codec):
    levels = levels_of(tiny_codec)
    assert (levels[0], levels[-1], len(levels)) == (1.0, 4.0, 49)
    assert all(level * 16 == round(level * 16) for level in levels)
    tiny_codec.continuous = False
    assert levels_of(tiny_codec) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_a_file_is_never_above_a_size_and_close_below(trained, photo, steps, share):
    low, high = sizes(trained, photo)
    budget = round(low + share * (high - low))
    tuned = tune(trained, photo, MostBytes(budget, 64 * 96), steps)
    assert tuned.best.loss <= tuned.untuned.loss
    assert len(tuned.untuned.coded.stream) <= budget
    assert 0.9 * budget <= len(tuned.best.coded.stream) <= budget
    assert tuned.reached == len(tuned.best.coded.stream)
    assert tuned.steps == steps


def test_a_size_below_the_lowest_quality_has_a_picture_of_less_detail(trained, photo):
    low, _ = sizes(trained, photo)
    tuned = tune(trained, photo, MostBytes(low - 20, 64 * 96))
    assert 0.8 * (low - 20) <= len(tuned.best.coded.stream) <= low - 20
    assert tuned.best.quality == trained.qualities[0]


def test_a_size_that_cannot_be_says_the_least_that_can(trained, photo):
    with pytest.raises(
        TargetError, match=r"no file of 96x64 pixels keeps to at most 5 bytes.*the least .* is (\d+) bytes"
    ) as caught:
        tune(trained, photo, MostBytes(5, 64 * 96))
    least = int(str(caught.value).split(" bytes, ")[0].rpartition(" ")[2])
    assert len(tune(trained, photo, MostBytes(least, 64 * 96)).best.coded.stream) <= least


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_tuned_file_is_no_worse_than_the_best_untuned_one_of_its_size(trained, photo, share):
    low, high = sizes(trained, photo)
    goal = MostBytes(round(low + share * (high - low)), 64 * 96)
    untuned = tune(trained, photo, goal).best
    assert tune(trained, photo, goal, 1).best.loss <= untuned.loss
    assert tune(trained, photo, goal, 5).best.loss <= untuned.loss


def test_untuned_files_are_looked_at_more_closely_only_where_they_could_win(trained, photo, monkeypatch):
    finer, looked = Aim.finer, []
    monkeypatch.setattr(Aim, "finer", lambda aim, place: looked.append(place) or finer(aim, place))
    low, high = sizes(trained, photo)
    goal = MostBytes((low + high) // 2, 64 * 96)
    tune(trained, photo, goal, 10)
    assert not looked
    monkeypatch.setattr(AimedRun, "began_at", 0.0)  # as if a little more of the size could take all loss away
    monkeypatch.setattr("taskodec.tuning.aim.CLEARLY", 0.1)
    tune(trained, photo, goal, 10)
    assert looked


@pytest.mark.parametrize("steps", [0, 2])
def test_more_room_than_the_best_quality_needs_is_said(trained, photo, steps):
    _, high = sizes(trained, photo)
    tuned = tune(trained, photo, MostBytes(2 * high, 64 * 96), steps)
    assert tuned.best.quality == trained.qualities[-1]
    assert "leaves room" in tuned.notes[0]


@pytest.mark.parametrize("steps", [0, 3])
def test_the_smallest_file_with_a_loss(trained, photo, steps):
    best = tune(trained, photo, MostBytes(10**6, 64 * 96)).best
    worst = tune(trained, photo, MostLoss(1.0)).best
    wanted = math.sqrt(best.loss * worst.loss)
    tuned = tune(trained, photo, MostLoss(wanted), steps)
    assert tuned.best.loss <= wanted
    assert tuned.reached == tuned.best.loss
    assert len(worst.coded.stream) < len(tuned.best.coded.stream) < len(best.coded.stream)
    assert len(tuned.best.coded.stream) <= len(tuned.untuned.coded.stream)


def test_a_figure_is_kept_in_the_direction_that_was_asked_for(trained, photo):
    def brightness(x_hat):
        return float(x_hat.mean())

    tuned = tune(trained, photo, MetricBound("error", lambda x_hat: float(error(x_hat, photo)), 0.004, least=False))
    assert float(error(tuned.best.x_hat, photo)) <= 0.004
    tuned = tune(trained, photo, MetricBound("brightness", brightness, 0.1, least=True))
    assert brightness(tuned.best.x_hat) >= 0.1


@pytest.mark.parametrize("steps", [0, 2])
def test_a_figure_that_cannot_be_says_the_best_that_can(trained, photo, steps):
    with pytest.raises(TargetError, match=r"a task loss of at most -1: the best that codec 'lite' comes to is 0\.\d+"):
        tune(trained, photo, MostLoss(-1.0), steps)


def test_the_same_seed_gives_the_same_bytes(trained, photo):
    low, high = sizes(trained, photo)
    goal = MostBytes((low + high) // 2, 64 * 96)
    first, second = (tune(trained, photo, goal, 3, adapter=build_svd_lora(trained, rank=2)) for _ in range(2))
    assert first.best.coded.stream == second.best.coded.stream
    assert torch.equal(first.best.x_hat, second.best.x_hat)


def test_a_codec_of_a_few_qualities_has_the_best_that_fits_at_least(tiny_codec, photo):
    tiny_codec.continuous = False
    for quality in tiny_codec.qualities[1:]:
        level = len(Tuner(tiny_codec, None, TASK, quality).tune(photo, []).best.coded.stream)
        found = tune(tiny_codec, photo, MostBytes(level, 64 * 96))
        assert len(found.best.coded.stream) <= level
        assert found.best.loss <= float(Tuner(tiny_codec, None, TASK, quality).tune(photo, []).best.loss)
