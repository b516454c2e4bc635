import pytest
import torch

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.contracts.function_task import FunctionTask
from taskodec.settings.model import PhaseSettings, load_settings
from taskodec.stream.delta import STEPS
from taskodec.tuning.budget import Budget
from taskodec.tuning.candidates import Candidates
from taskodec.tuning.networks import TuningNetworks
from taskodec.tuning.pace import Pace
from taskodec.tuning.phases import Point, Variables, points
from taskodec.tuning.promise import HELD, Pull, asked, drifts
from taskodec.tuning.travel import TUNING_STEP
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


def brightness(x_hat, x):
    """What every layer's scale changes at once, so that a few singular values pay."""
    return (x_hat - 0.5 * x).square().mean()


dark = FunctionTask("dark", brightness, lmbda=3000.0)


def phase(steps=20, **options):
    return PhaseSettings(
        train=("latents", "decoder"),
        steps=steps,
        rounding="mixed",
        schedule="constant",
        average=10,
        backtrack=0.3,
        **options,
    )


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec)


@pytest.fixture
def searches(monkeypatch):
    """How many searches for changes were begun, and with how many decodings."""
    begun, search = [], Candidates._search

    def counted(self, y_hat, decodings):
        begun.append(decodings)
        return search(self, y_hat, decodings)

    monkeypatch.setattr(Candidates, "_search", counted)
    return begun


@pytest.mark.parametrize(("steps", "when"), [(40, 20), (20, 10), (10, 10), (12, 10), (3, 3)])
def test_it_is_asked_half_way_or_at_the_end(steps, when):
    pace = Pace(phase(steps), Budget(None), 1.0)
    found = []
    while not pace.over:
        pace.stepped()
        found += [pace.done] if asked(pace) else []
    assert found[0] == when


def test_changes_drift_once_most_would_not_be_rounded_to_zero():
    half = STEPS[TUNING_STEP] / 2
    assert drifts(torch.full((9,), 1.01 * half))
    assert not drifts(torch.full((9,), -0.99 * half))


def pull_of(slopes):
    pull = Pull()
    for slope in slopes:
        pull.felt(slope)
    return pull


def test_slopes_that_are_the_same_agree_and_those_of_chance_do_not():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(HELD, 1000, generator=generator)
    steady = torch.randn(1000, generator=generator)
    assert pull_of([steady] * HELD).agreement == pytest.approx(1)
    assert pull_of(noise).agreement == pytest.approx(1 / HELD, abs=0.03)
    assert not pull_of(noise).drawn
    assert pull_of(noise + steady).drawn


def test_agreement_has_no_unit_and_leaves_out_values_without_a_slope():
    slopes = torch.randn(HELD, 50, generator=torch.Generator().manual_seed(1))
    scales = 10.0 ** torch.arange(-25, 25).float().clamp(-6, 6)
    scaled = [torch.cat([slope * scales, torch.zeros(7)]) for slope in slopes]
    assert pull_of(scaled).agreement == pytest.approx(pull_of(slopes).agreement, rel=1e-4)
    assert pull_of([torch.zeros(7)] * HELD).agreement == 0
    assert [pull_of([torch.ones(2)] * n).over for n in (HELD - 1, HELD)] == [False, True]


def test_while_changes_are_held_they_move_and_nothing_sees_it(tiny_codec, adapter, photo):
    start = Point(tiny_codec.analysis(photo, 2.0), torch.zeros(sum(adapter.delta_groups)))
    variables = Variables(phase(lr=0.1), start, TuningNetworks(tiny_codec, dark), adapter, photo, 2.0)
    variables.hold_decoder()
    slope = torch.linspace(0.5, 1, len(start.delta))
    for _ in range(HELD):
        variables.optimizer.zero_grad()
        (points([variables])[0].delta * slope).sum().backward()
        assert torch.equal(variables.delta.grad, slope)
        variables.step(0.0)
    assert not points([variables])[0].delta.any()
    assert not variables.kept().delta.any()
    assert variables.pull.agreement == pytest.approx(1)
    variables.pull = None
    assert (points([variables])[0].delta < 0).all()


def restless(views):
    """A loss that wants all brighter in one step and darker in the next, as if by what it is shown."""
    signs = iter([1.0, -1.0] * 400)

    def loss(x_hat, x):
        return (x_hat - x).square().mean() + (next(signs) * x_hat.mean() if torch.is_grad_enabled() else 0.0)

    return FunctionTask("restless", loss, lmbda=2000.0, views=views)


def changed(tuned):
    """Whether any step saw another change than none."""
    return any(step.changed for step in tuned.history)


def test_where_views_give_changes_no_steady_slope_no_step_sees_any(tiny_codec, adapter, photo, searches):
    phases = [phase(lr=0.1, lr_latents=1e-4, decoder="auto")]
    tuned = Tuner(tiny_codec, adapter, restless(("flip",)), 2.0).tune(photo, phases)
    assert not changed(tuned)
    assert not searches
    assert changed(Tuner(tiny_codec, adapter, restless(()), 2.0).tune(photo, phases))  # steps that see one picture do


def test_where_views_agree_changes_are_seen_from_then_on(tiny_codec, adapter, photo):
    task = FunctionTask("dark", brightness, lmbda=3000.0, views=("flip",))
    tuned = Tuner(tiny_codec, adapter, task, 2.0).tune(photo, [phase(lr=0.02, lr_latents=1e-3, decoder="auto")])
    seen = [step.changed > 0 for step in tuned.history]
    assert not any(seen[:HELD])
    assert any(seen[HELD:])
    assert tuned.best.coded.delta is not None


def test_singular_values_that_earn_nothing_are_left_without_a_search(tiny_codec, adapter, photo, searches):
    """They hardly move in so few and small steps; without the test they are searched for."""
    tuner = Tuner(tiny_codec, adapter, mse, 2.0)
    tuned = tuner.tune(photo, [phase(lr=1e-3, lr_latents=0.1, decoder="auto")])
    assert not searches
    assert tuned.best.coded.delta is None
    assert tuned.best.cost < tuned.untuned.cost
    tuner.tune(photo, [phase(lr=2e-3, lr_latents=0.1)])
    assert searches == [None]


def test_singular_values_that_pay_are_kept_and_their_search_is_bounded(tiny_codec, adapter, photo, searches):
    tuner = Tuner(tiny_codec, adapter, dark, 2.0)
    tuned = tuner.tune(photo, [phase(lr=0.02, lr_latents=1e-3, decoder="auto")])
    assert searches == [10]
    assert tuned.best.coded.delta is not None
    alone = tuner.tune(photo, [phase(lr_latents=1e-3).model_copy(update={"train": ("latents",)})])
    assert tuned.best.cost < alone.best.cost


def test_images_of_a_pass_decide_each_for_itself(tiny_codec, adapter, photo):
    phases = [phase(lr=5e-3, lr_latents=0.1, decoder="auto")]
    tuner, pictures = Tuner(tiny_codec, adapter, dark, 2.0), [photo, photo.flip(3).contiguous() * 0.2]
    together = tuner.tune_many(pictures, phases)
    for picture, one in zip(pictures, together, strict=True):
        alone = tuner.tune(picture, phases)
        assert (one.best.coded.delta is None) == (alone.best.coded.delta is None)
        assert one.best.cost == pytest.approx(alone.best.cost, rel=5e-3)
        assert one.steps == 20


def test_where_nothing_else_is_trained_nothing_is_left_out(tiny_codec, adapter, photo, searches):
    only = phase(lr=0.02, decoder="auto").model_copy(update={"train": ("decoder",)})
    assert Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [only]).steps == 20


def test_presets_leave_it_to_the_test_and_phases_of_ones_own_do_not():
    for preset in ("default", "quick", "thorough"):
        assert load_settings(overrides=[f"ttft.preset={preset}"]).ttft.phases[0].decoder == "auto"
    own = load_settings(overrides=["ttft.phases=[{train: [latents, decoder], steps: 4}]"]).ttft
    assert own.phases[0].decoder == "always"


def test_the_adapter_is_as_it_was_after_a_pass_that_left_it_out(tiny_codec, adapter, photo):
    Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [phase(lr=2e-3, lr_latents=0.1, decoder="auto")])
    with torch.no_grad():
        before = tiny_codec(photo, 2.0, "hard").x_hat
        with attached(adapter, tiny_codec):
            adapter.set_delta(None)
            assert torch.allclose(tiny_codec(photo, 2.0, "hard").x_hat, before, atol=1e-5)
