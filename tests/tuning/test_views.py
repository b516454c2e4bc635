"""Random views: what they make of a picture, and that tuning uses them for its steps and for nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from taskodec.api.compressor import Compressor
from taskodec.contracts import JointTask, Part, Task
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError
from taskodec.settings.model import load_settings
from taskodec.settings.ttft import VIEWS, PhaseSettings, TTFTSettings
from taskodec.tuning.task_calls import views_of
from taskodec.tuning.ttft import Tuner
from taskodec.tuning.views import random_view

GEOMETRY = ("scale", "shift", "flip")


def view(kinds, seed=0, size=(40, 56), seen=None):
    return random_view(kinds, seed, size, seen)


def picture(height=40, width=56):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


class Watched(Task):
    """Mean square error that notes what it is asked about: with a gradient, or without."""

    name = "watched"

    def __init__(self, views=VIEWS):
        self.views, self.prepared, self.steps, self.looks = views, [], [], []

    def prepare(self, x):
        self.prepared.append(x)
        return x

    def loss(self, x_hat, reference):
        (self.steps if torch.is_grad_enabled() else self.looks).append((x_hat.detach(), reference))
        return (x_hat - reference).square().mean()

    def lmbda(self, codec, quality):
        return 2000.0


def phase(steps=3, **options):
    return PhaseSettings(**{"train": ("latents",), "steps": steps, "lr_latents": 0.05, "rounding": "ste", **options})


def tuned(codec, x, task, *, seed=0, steps=3, options=None, **switches):
    tuner = Tuner(codec, None, task, 2.0, seed=seed, switches=TTFTSettings(**switches))
    return tuner.tune(x, [phase(steps, **(options or {}))])


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kinds=st.sets(st.sampled_from(VIEWS)),
)
@settings(max_examples=40, deadline=None)
def test_a_view_has_the_size_of_its_picture_and_a_slope_everywhere(seed, size, kinds):
    x = picture(*size).requires_grad_()
    found = view(kinds, seed, size)(x)
    assert found.shape == x.shape
    assert bool(found.isfinite().all())
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert bool(gradient.isfinite().all())
    assert float(gradient.sum()) != 0


@pytest.mark.parametrize("kind", VIEWS)
def test_every_kind_changes_the_picture_another_way_at_every_seed(kind):
    x, seen = picture(), [view([kind], seed)(picture()) for seed in range(8)]
    assert any(not torch.equal(one, x) for one in seen)
    assert any(not torch.equal(one, seen[0]) for one in seen)
    assert torch.equal(view([kind], 3)(x), seen[3])


def test_without_kinds_it_is_the_picture():
    assert torch.equal(view([])(picture()), picture())


def test_what_a_kind_draws_does_not_depend_on_the_others():
    for seed in range(5):
        both, alone = view(("scale", "flip"), seed), view(VIEWS, seed)
        assert (both.down, both.across, both.mirrored) == (alone.down, alone.across, alone.mirrored)


def test_it_leaves_the_random_numbers_of_others_alone():
    before = torch.get_rng_state()
    view(VIEWS)(picture())
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_of_a_batch_are_seen_alike():
    x = torch.cat([picture(), picture().flip(2)])
    together = view(VIEWS)(x)
    torch.testing.assert_close(together[1:], view(VIEWS)(x[1:]))


def test_geometry_moves_what_is_in_a_picture_and_keeps_its_colours():
    flat = torch.full((1, 3, 30, 50), 0.3)
    for seed in range(20):
        torch.testing.assert_close(view(GEOMETRY, seed, (30, 50))(flat), flat)


def test_noise_is_as_fine_as_what_the_loss_sees():
    fine, coarse = (view(["noise"], 1, (64, 64), seen)(torch.zeros(1, 3, 64, 64)) for seen in (None, (8, 8)))
    fine, coarse = (one.diff(dim=3).std() / one.std() for one in (fine, coarse))
    assert fine > 3 * coarse


def test_steps_are_asked_about_views_and_everything_else_about_the_picture(tiny_codec, photo):
    task = Watched(GEOMETRY)
    outcome = tuned(tiny_codec, photo, task)
    seen = [reference for _, reference in task.steps]
    assert len(seen) == 3
    for a, b in zip(seen, [photo, *seen], strict=False):
        assert not torch.equal(a, b)
    assert all(torch.equal(reference, photo) for _, reference in task.looks)
    assert outcome.best.loss == pytest.approx(float((outcome.best.x_hat - photo).square().mean()))
    assert outcome.best.cost <= outcome.untuned.cost


def test_what_is_compared_is_seen_alike(tiny_codec, photo):
    task = Watched(("flip",))
    tuned(tiny_codec, photo, task, steps=8, options={"lr_latents": 1e-9})  # so that it stays the same picture
    plain = [x_hat for x_hat, reference in task.steps if torch.equal(reference, photo)]
    mirrored = [x_hat for x_hat, reference in task.steps if torch.equal(reference, photo.flip(3))]
    assert len(plain) + len(mirrored) == 8
    torch.testing.assert_close(mirrored[0].flip(3), plain[0])
    assert not torch.allclose(mirrored[0], plain[0])


@pytest.mark.parametrize(("views", "switch"), [((), True), (VIEWS, False), (("flip",), ("noise",))])
def test_a_task_or_a_user_that_wants_no_views_gets_none(tiny_codec, photo, views, switch):
    task = Watched(views)
    tuned(tiny_codec, photo, task, views=switch)
    assert task.steps
    assert all(torch.equal(reference, photo) for _, reference in task.steps)


def test_the_switch_may_name_kinds(tiny_codec, photo):
    task = Watched()
    tuned(tiny_codec, photo, task, steps=6, views=("flip",))
    for _, reference in task.steps:
        assert torch.equal(reference, photo) or torch.equal(reference, photo.flip(3))
    assert {torch.equal(reference, photo) for _, reference in task.steps} == {True, False}


def test_the_same_seed_gives_the_same_views_and_file(tiny_codec, photo):
    first, again, other = Watched(), Watched(), Watched()
    files = [
        tuned(tiny_codec, photo, task, seed=seed).best.coded.stream
        for task, seed in ((first, 1), (again, 1), (other, 2))
    ]
    assert files[0] == files[1]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first.steps, again.steps, strict=True))
    assert not any(torch.equal(a, b) for (_, a), (_, b) in zip(first.steps, other.steps, strict=True))


def test_together_it_becomes_what_it_becomes_alone(tiny_codec, photo):
    xs = [photo, photo.flip(2)]
    tuner = Tuner(tiny_codec, None, Watched(), 2.0)
    together = tuner.tune_many(xs, [phase(5)])
    for x, one in zip(xs, together, strict=True):
        assert one.best.cost == pytest.approx(tuner.tune(x, [phase(5)]).best.cost, rel=1e-3)


def test_patches_have_views_of_their_own_size(tiny_codec, photo):
    task = Watched(GEOMETRY)
    outcome = tuned(tiny_codec, photo, task, patch=32)
    assert {reference.shape[2:] for _, reference in task.steps} == {(32, 32)}
    assert outcome.best.cost <= outcome.untuned.cost


def test_a_look_is_not_disturbed_by_views(tiny_codec, photo):
    """Back-tracking goes by the cost of the picture itself, so that steps without effect never go back."""
    still = {"lr_latents": 1e-9, "average": 3, "backtrack": 0.5, "rounding": "mixed"}
    costs = []
    tuner = Tuner(tiny_codec, None, Watched(), 2.0)
    tuner.tune(photo, [phase(12, **still)], progress=lambda step, total, info: costs.append(info["loss"]))
    assert len(set(costs)) > 6  # of other views
    assert tuner.tune(photo, [phase(12, **still)]).best.cost == pytest.approx(tuner.tune(photo, [phase(0)]).best.cost)


@pytest.mark.parametrize("views", ["flip", ("flip", "upside down"), 3, None, [["flip"]]])
def test_views_that_do_not_exist_are_the_tasks_fault(tiny_codec, photo, views):
    task = Watched(views)
    with pytest.raises(TaskError, match=r"task 'watched': its views are .*scale, shift, flip"):
        tuned(tiny_codec, photo, task)


def test_a_function_says_its_views_by_an_attribute():
    def loss(x_hat, x):
        return (x_hat - x).abs().mean()

    assert views_of(FunctionTask("own", loss)) == frozenset()
    loss.views = ("flip", "shift")
    assert views_of(FunctionTask("own", loss)) == {"flip", "shift"}
    assert views_of(FunctionTask("own", loss, views=("noise",))) == {"noise"}
    assert views_of(FunctionTask("own", loss, views=())) == frozenset()


def test_fidelity_keeps_more_of_the_picture_and_only_where_there_are_views(tiny_codec, photo):
    class Corner(Watched):
        """Looks at nothing else."""

        def loss(self, x_hat, reference):
            return super().loss(x_hat[..., :8, :8], reference[..., :8, :8])

    def error(**switches):
        x_hat = tuned(tiny_codec, photo, Corner(("flip",)), steps=20, **switches).best.x_hat
        return float(F.mse_loss(x_hat, photo))

    none, some = error(fidelity=0), error(fidelity=50)
    assert some < none
    assert error(fidelity=50, views=False) == error(fidelity=0, views=False)


def test_a_loss_without_slope_is_told_of_beside_fidelity(tiny_codec, photo):
    class Steps(Watched):
        def loss(self, x_hat, reference):
            return (x_hat.round() - reference).square().mean()

    assert "has no slope" in tuned(tiny_codec, photo, Steps(("flip",)), fidelity=1.0).notes[0]


def test_several_tasks_are_shown_what_all_of_them_bear(tiny_codec, photo):
    parts = [Watched(("flip", "shift")), Watched(("flip", "noise"))]
    task = JointTask("both", [Part("a", parts[0]), Part("b", parts[1])])
    assert views_of(task) == {"flip"}
    outcome = tuned(tiny_codec, photo, task, steps=8)
    references = [[reference for _, reference in part.steps] for part in parts]
    assert all(torch.equal(a, b) for a, b in zip(*references, strict=True))
    assert {torch.equal(reference, photo) for reference in references[0]} == {True, False}
    assert outcome.notes == ()  # each part's slope is seen in views too
    with pytest.raises(TaskError, match="its views are 3, expected some of"):
        views_of(JointTask("both", [Part("a", Watched(3)), Part("b", parts[1])]))


@pytest.mark.parametrize(("target", "seen"), [({"bytes": 130}, True), ({"loss": 0.12}, False)])
def test_towards_a_loss_steps_see_the_picture_itself(tiny_registry, photo, target, seen):
    task = Watched(("flip",))
    overrides = [
        "codec.name=tiny",
        "ttft.preset=latents",
        "ttft.steps=8",
        *(f"target.{k}={v}" for k, v in target.items()),
    ]
    Compressor(load_settings(overrides=overrides), tiny_registry, task).compress(photo)
    assert any(torch.equal(reference, photo.flip(3)) for _, reference in task.steps) == seen
