import pytest
import torch

from taskodec.codecs.lite.loading import load_lite
from taskodec.contracts import FunctionTask, Latents
from taskodec.tuning.budget import Budget
from taskodec.tuning.filling import filled
from taskodec.tuning.goals import MostBytes, MostLoss
from taskodec.tuning.levels import Levels
from taskodec.tuning.trials import Thinned
from taskodec.tuning.ttft import Tuner


def error(x_hat, x):
    return (x_hat - x).square().mean()


@pytest.fixture(scope="module")
def tuner():
    return Tuner(load_lite(), None, FunctionTask("error", error, 300.0), 3.0)


@pytest.fixture
def start(tuner, photo):
    levels = Levels(tuner, {"untuned": photo}, MostBytes(1, 1), photo, Budget(None))
    return levels.trial("untuned", levels.nearest(3.0))


def smaller(start):
    """A file of the same with fewer bits."""
    return start.of_latents(Thinned(start.candidates.subject.codec, start.latents, start.quality).at(0.1))


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_room_is_used_and_lowers_the_loss(start, share):
    best = smaller(start)
    size = round(best.size + share * (start.size - best.size))
    found = filled(MostBytes(size, 64 * 96), best, start.latents)
    assert found is not None
    assert best.size < found.size <= size
    assert found.candidate.loss < best.candidate.loss
    assert size - found.size <= 0.5 * (size - best.size)


def test_the_same_twice(start):
    best = smaller(start)
    goal = MostBytes((best.size + start.size) // 2, 64 * 96)
    first, second = (filled(goal, best, start.latents).coded.stream for _ in range(2))
    assert first == second


def test_without_room_or_for_a_loss_nothing_is_filled(start):
    best = smaller(start)
    assert filled(MostBytes(best.size, 64 * 96), best, start.latents) is None
    assert filled(MostLoss(1.0), best, start.latents) is None


def test_what_would_not_lower_the_loss_is_not_taken(start):
    """Back to a start that is worse than what has been reached."""
    worse = Latents(torch.randn_like(start.latents.y) * 3, start.latents.z)
    goal = MostBytes(2 * start.size, 64 * 96)
    assert filled(goal, start, worse) is None
