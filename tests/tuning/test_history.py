import pytest

from taskodec.tuning.history import History, Step
from taskodec.tuning.travel import Travel


def test_every_step_is_there_with_what_it_was(make_compressor, photo):
    told = []
    tuned = make_compressor().compress(photo, lambda step, total, info: told.append(info)).tuned
    assert [step.cost for step in tuned.history] == pytest.approx([info["cost"] for info in told])
    assert [step.loss for step in tuned.history] == pytest.approx([info["loss"] for info in told])
    assert {step.phase for step in tuned.history} == {"encoder+decoder+latents"}
    assert tuned.history[0].changed == 0
    assert tuned.history[-1].changed > 0
    assert tuned.history[-1].bits_adapter > 0


def test_states_that_were_looked_at(make_compressor, photo):
    tuned = make_compressor().compress(photo).tuned
    assert tuned.checks[0].steps == 0
    assert tuned.checks[-1].steps == len(tuned.history)
    for check in tuned.checks:
        assert check.cost == pytest.approx(tuned.lmbda * check.loss + check.bpp, rel=1e-4)


def test_images_together_have_their_own(make_compressor, photo):
    compressor = make_compressor()
    together = compressor.compress_batch([photo, photo.flip(3)])
    for result, x in zip(together, (photo, photo.flip(3)), strict=True):
        alone = compressor.compress(x).tuned
        assert [s.loss for s in result.tuned.history] == pytest.approx([s.loss for s in alone.history], rel=1e-2)


def test_a_step_that_came_to_nothing():
    history = History(Travel(None))
    history.note("latents", None, None)
    assert history.told() == ((Step("latents", None, None, None, None, None),), ())


def test_nothing_tuned(make_compressor, photo):
    tuned = make_compressor("ttft.steps=0").compress(photo).tuned
    assert (tuned.history, tuned.checks) == ((), ())
