import copy
from contextlib import nullcontext

import pytest
import torch

from taskodec.adapters.lora import attached, build_lora, build_svd_lora
from taskodec.coding.singular_values import Absolute
from taskodec.coding.streams import read_latents
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError, UsageError, WeightsError
from taskodec.images.tensors import crop_to, to_8bit
from taskodec.settings.model import PhaseSettings, TTFTSettings, load_settings
from taskodec.stream.bitstream import Stream
from taskodec.tuning.budget import Budget
from taskodec.tuning.calibration import calibrate_lmbda
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


def edges(x_hat, x):
    difference = x_hat - x
    return (difference[..., 1:] - difference[..., :-1]).square().mean()


def phase(*parts, steps=6, **options):
    return PhaseSettings(train=parts, steps=steps, **options)


@torch.no_grad()
def acts_alone(codec, plain, x):
    """Whether nothing is beside the codec's layers: it gives what a copy gives that was made before."""
    return torch.equal(codec(x, 2.0, "hard").x_hat, plain(x, 2.0, "hard").x_hat)


LATENTS = phase("latents", lr_latents=0.3, steps=15)
PAPER = load_settings(overrides=["ttft.preset=paper"]).ttft
SWITCHES = ("singular_values", "adapter_rate", "adapter_rounding", "keep", "send", "search")


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec)


def test_tuning_latents_lowers_the_true_cost(tiny_codec, adapter, photo):
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [LATENTS])
    assert tuned.best.cost < tuned.untuned.cost
    assert tuned.best.loss < tuned.untuned.loss
    assert tuned.best.name == "latents"
    assert tuned.steps == 15


def test_costs_are_those_of_the_file(tiny_codec, adapter, photo):
    """What is reported can be computed again from the stream alone."""
    x = photo[..., :61, :93]
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune(x, [phase("latents", "decoder", lr=0.5, lr_latents=0.03)])
    best = tuned.best
    y_hat, delta = read_latents(Stream.from_bytes(best.coded.stream), tiny_codec, adapter)
    with torch.no_grad(), attached(adapter, tiny_codec):
        adapter.set_delta(delta.tensor(y_hat) if delta else None)
        x_hat = to_8bit(crop_to(tiny_codec.synthesis(y_hat, 2.0), 61, 93))
    assert torch.equal(x_hat, best.x_hat)
    assert best.bpp == 8 * len(best.coded.stream) / (61 * 93)
    assert best.loss == pytest.approx(float((x_hat - x).square().mean()))
    assert best.cost == pytest.approx(2000 * best.loss + best.bpp)


@pytest.mark.parametrize("first", ["latents", "encoder"])
def test_phases_go_on_where_the_last_one_ended(tiny_codec, adapter, photo, first):
    """The second phase hardly moves, so its cost is that of the first one's end - from the start on."""
    costs = []
    phases = [
        phase(first, steps=20, lr=0.02, lr_latents=0.3, rounding="ste"),
        phase("encoder", steps=2, lr=1e-9, rounding="ste"),
    ]
    tuner = Tuner(tiny_codec, adapter, mse, 2.0)
    tuner.tune(photo, phases, progress=lambda step, total, info: costs.append(info["cost"]))
    assert costs[20] < costs[0]
    assert costs[20] == pytest.approx(min(costs[:21]), rel=1e-4)


def test_nothing_to_train_is_said(tiny_codec, photo):
    only_decoder = build_svd_lora(tiny_codec, encoder_layers=[])
    with pytest.raises(UsageError, match="nothing to train"):
        Tuner(tiny_codec, only_decoder, mse, 2.0).tune(photo, [phase("encoder")])


def test_a_codec_that_yields_nan_is_to_blame_not_the_task(tiny_codec, adapter, photo):
    with torch.no_grad():
        tiny_codec.g_s[2].bias += float("nan")
    with pytest.raises(WeightsError, match="codec 'tiny'"):
        Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [LATENTS])


def test_singular_values_travel(tiny_codec, adapter, photo):
    """A task that wants another brightness: the decoder can give it for a few bytes."""
    brighter = FunctionTask("brighter", lambda x_hat, x: (x_hat - x - 0.1).square().mean(), lmbda=2000.0)
    tuned = Tuner(tiny_codec, adapter, brighter, 1.0).tune(photo, [phase("decoder", steps=40, lr=0.2)])
    assert tuned.best.name == "decoder"
    assert tuned.best.coded.delta is not None
    assert 4 < tuned.best.coded.adapter_bytes < 40
    assert tuned.best.loss < tuned.untuned.loss


def test_encoder_adapter_changes_only_the_latents(tiny_codec, adapter, photo):
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [phase("encoder", steps=30, lr=0.02)])
    assert tuned.best.name == "encoder"
    assert tuned.best.coded.delta is None
    assert tuned.best.coded.adapter_bytes == 0
    assert tuned.best.cost < tuned.untuned.cost


def cost_of(stream, codec, adapter, photo, lmbda=2000):
    """What a file costs, from nothing but the file."""
    height, width = photo.shape[2:]
    read = Stream.from_bytes(stream)
    y_hat, delta = read_latents(read, codec, adapter)
    with torch.no_grad(), attached(adapter, codec) if read.header.adapter_fingerprint else nullcontext():
        adapter.set_delta(delta.tensor(y_hat) if delta else None)
        x_hat = to_8bit(crop_to(codec.synthesis(y_hat, 2.0), height, width))
    adapter.set_delta(None)
    return lmbda * float((x_hat - photo).square().mean()) + 8 * len(stream) / (height * width)


def test_never_worse(tiny_codec, adapter, photo):
    wild = [phase("latents", "encoder", "decoder", lr=50.0, lr_latents=50.0, rounding="noise")]
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, wild)
    costs = [cost_of(c.coded.stream, tiny_codec, adapter, photo) for c in (tuned.best, tuned.untuned)]
    assert costs == pytest.approx([tuned.best.cost, tuned.untuned.cost])
    assert costs[0] <= costs[1]


@pytest.mark.parametrize("rounding", ["noise", "ste", "mixed", "sga"])
def test_every_rounding_runs(tiny_codec, adapter, photo, rounding):
    steps = phase("latents", lr_latents=0.1, rounding=rounding, steps=20)
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [steps])
    assert cost_of(tuned.best.coded.stream, tiny_codec, adapter, photo) < tuned.untuned.cost


def test_same_seed_same_stream_and_nothing_is_left_behind(tiny_codec, adapter, photo):
    before = {name: value.clone() for name, value in tiny_codec.state_dict().items()}
    kept, plain = adapter.state(), copy.deepcopy(tiny_codec)
    tuner = Tuner(tiny_codec, adapter, mse, 2.0, seed=3)
    phases = [phase("encoder", "decoder"), phase("latents", lr_latents=0.03)]
    first, second = (tuner.tune(photo, phases).best.coded.stream for _ in range(2))
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in tiny_codec.state_dict().items())
    assert all(torch.equal(value, kept[name]) for name, value in adapter.state().items())
    assert acts_alone(tiny_codec, plain, photo)


def test_without_an_adapter(tiny_codec, photo):
    tuned = Tuner(tiny_codec, None, mse, 2.0).tune(photo, [LATENTS])
    assert tuned.best.name == "latents"
    with pytest.raises(UsageError, match="nothing to train"):
        Tuner(tiny_codec, None, mse, 2.0).tune(photo, [phase("encoder")])


def test_plain_lora_tunes_the_encoder(tiny_codec, photo):
    tuned = Tuner(tiny_codec, build_lora(tiny_codec), mse, 2.0).tune(photo, [phase("encoder", steps=30, lr=0.02)])
    assert tuned.best.cost < tuned.untuned.cost


def test_progress_tells_loss_rate_and_cost(tiny_codec, adapter, photo):
    seen = []
    Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [phase("latents")], progress=lambda *a: seen.append(a))
    assert [(step, total) for step, total, _ in seen] == [(i, 6) for i in range(1, 7)]
    assert seen[0][2]["cost"] == pytest.approx(2000 * seen[0][2]["loss"] + seen[0][2]["bpp"], rel=1e-4)


def test_calibrated_weight_is_the_slope(tiny_codec, photo):
    task = FunctionTask("edges", edges)
    assert Tuner(tiny_codec, None, task, 2.0).tune(photo, []).lmbda > 0
    lmbda = calibrate_lmbda(tiny_codec, task, photo, photo, 2.0)
    scaled = FunctionTask("edges", lambda x_hat, x: 1000 * edges(x_hat, x))
    assert calibrate_lmbda(tiny_codec, scaled, photo, photo, 2.0) == pytest.approx(lmbda / 1000, rel=1e-3)


def test_fixed_rate_weight_is_rate_over_loss(tiny_codec, photo):
    tiny_codec.continuous = False
    task = FunctionTask("edges", edges)
    lmbda = calibrate_lmbda(tiny_codec, task, photo, photo, 2.0)
    untuned = Tuner(tiny_codec, None, task, 2.0).tune(photo, []).untuned
    assert lmbda * untuned.loss == pytest.approx(untuned.bpp, rel=0.5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x_hat, x: (x_hat - x).square(), "scalar"),
        (lambda x_hat, x: x.mean(), "does not depend"),
        (lambda x_hat, x: (x_hat - x).mean() / 0.0 * 0.0, "nan"),
    ],
)
def test_bad_losses_name_the_task(tiny_codec, adapter, photo, loss, message):
    plain = copy.deepcopy(tiny_codec)
    with pytest.raises(TaskError, match=rf"'broken'.*{message}"):
        Tuner(tiny_codec, adapter, FunctionTask("broken", loss, lmbda=1.0), 2.0).tune(photo, [LATENTS])
    assert acts_alone(tiny_codec, plain, photo)


def test_an_adapter_that_does_not_suit_the_image_is_left_out(tiny_codec, adapter, photo):
    """Its decoder's part makes every picture worse than the codec alone, however it is tuned."""
    with torch.no_grad():
        for name in adapter.adapter_params("decoder"):
            if name.endswith("_S"):
                adapter.get_parameter(name).fill_(3.0)
    tuned = Tuner(tiny_codec, adapter, mse, 2.0).tune(photo, [phase("latents", steps=1, lr_latents=1e-4)])
    assert tuned.best.name == "plain"
    assert tuned.best.cost < tuned.untuned.cost
    assert Stream.from_bytes(tuned.best.coded.stream).header.adapter_fingerprint is None
    plain = Tuner(tiny_codec, None, mse, 2.0).tune(photo, [])
    assert tuned.best.coded.stream == plain.best.coded.stream


def test_the_scale_multiplies_a_weight_that_is_set_or_the_task_has_or_is_found(tiny_codec, photo):
    for task, lmbda in ((mse, 5.0), (mse, None), (FunctionTask("edges", edges), None)):
        plain, scaled = (
            Tuner(tiny_codec, None, task, 2.0, lmbda=lmbda, lmbda_scale=scale).tune(photo, []) for scale in (1.0, 0.25)
        )
        assert scaled.lmbda == pytest.approx(plain.lmbda / 4)
        assert scaled.untuned.cost == pytest.approx(scaled.lmbda * scaled.untuned.loss + scaled.untuned.bpp)


@pytest.fixture
def trained(adapter):
    """An adapter whose decoder does something of its own."""
    with torch.no_grad():
        for name in adapter.adapter_params("decoder"):
            if name.endswith("_S"):
                adapter.get_parameter(name).fill_(0.02)
    return adapter


def test_the_published_algorithm_sends_its_last_state_whatever_it_costs(tiny_codec, trained, photo):
    phases = [phase("encoder", "decoder", lr=0.1, rounding="noise")]
    tuned = Tuner(tiny_codec, trained, mse, 2.0, lmbda=1.0, switches=PAPER).tune(photo, phases)
    assert tuned.best.name == "encoder+decoder"
    assert tuned.best.cost > tuned.untuned.cost
    stream = Stream.from_bytes(tuned.best.coded.stream)
    assert stream.header.absolute
    values = tuned.best.coded.delta
    assert isinstance(values, Absolute)
    assert tuned.best.coded.adapter_bytes > 2 * len(values.values)
    assert cost_of(tuned.best.coded.stream, tiny_codec, trained, photo, 1) == pytest.approx(tuned.best.cost)


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_alone_changes_what_is_written(tiny_codec, trained, photo, name):
    phases = [phase("encoder", "decoder", lr=0.1, steps=7, rounding="noise")]
    absolute = name not in ("search", "adapter_rounding")  # the one is for changes only, the other hardly moves them
    published = PAPER if absolute else PAPER.model_copy(update={"singular_values": "change"})
    switched = published.model_copy(update={name: getattr(TTFTSettings(), name)})
    tuned, other = (
        Tuner(tiny_codec, trained, mse, 2.0, lmbda=1.0, switches=switches).tune(photo, phases).best
        for switches in (switched, published)
    )
    assert tuned.coded.stream != other.coded.stream
    assert cost_of(tuned.coded.stream, tiny_codec, trained, photo, 1) == pytest.approx(tuned.cost)


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "send"])
def test_whatever_compares_is_never_worse(tiny_codec, adapter, photo, name):
    switched = TTFTSettings().model_copy(update={name: getattr(PAPER, name)})
    wild = [phase("latents", "encoder", "decoder", lr=0.5, lr_latents=2.0)]
    tuned = Tuner(tiny_codec, adapter, mse, 2.0, lmbda=1.0, switches=switched).tune(photo, wild)
    assert tuned.best.cost <= tuned.untuned.cost
    assert cost_of(tuned.best.coded.stream, tiny_codec, adapter, photo, 1) == pytest.approx(tuned.best.cost)


def test_diverging_leaves_the_published_algorithm_where_it_started(tiny_codec, trained, photo):
    wild = [phase("decoder", lr=1e30, rounding="noise")]
    tuned = Tuner(tiny_codec, trained, mse, 2.0, switches=PAPER).tune(photo, wild)
    assert tuned.best.cost == tuned.untuned.cost


@pytest.mark.parametrize("parts", [("latents", "decoder"), ("decoder",), ("encoder",)])
@pytest.mark.parametrize("seconds", [12, 30, 100])
def test_a_time_budget_leaves_time_for_writing(tiny_codec, trained, photo, clock, monkeypatch, parts, seconds):
    """Every synthesis takes a second, and its gradient as much."""
    synthesis = tiny_codec.synthesis

    def slow(*args):
        clock.now += 2 if torch.is_grad_enabled() else 1
        return synthesis(*args)

    monkeypatch.setattr(tiny_codec, "synthesis", slow)
    monkeypatch.setattr("taskodec.tuning.run.Budget", lambda seconds, images: Budget(seconds, clock, images=images))
    phases = [phase(*parts, steps=1000, lr=0.1, lr_latents=0.1)]
    tuned = Tuner(tiny_codec, trained, mse, 2.0).tune(photo, phases, time_budget=seconds)
    assert tuned.seconds == clock.now - 100
    assert tuned.seconds <= seconds
    assert tuned.seconds > 0.6 * seconds - 4
    assert tuned.steps > 0
