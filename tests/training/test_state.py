import pytest
import torch

from taskodec.errors import WeightsError
from taskodec.settings.model import StageSettings, TrainSettings
from taskodec.training.state import TrainingState, parameter_groups


def test_learning_rates_by_name(tiny_codec):
    groups = parameter_groups(tiny_codec, TrainSettings(lr_scales={"g_a.0.*": 0.1, "g_a.*": 2.0}))
    sizes = {group["scale"]: len(group["params"]) for group in groups}
    named = [name for name, _ in tiny_codec.named_parameters()]
    assert sizes == {0.1: 2, 2.0: 2, 1.0: len(named) - 4 - sum(name.endswith("quantiles") for name in named)}


def forward(codec, photo, scale=1.0):
    def loss():
        output = codec(photo, 2.0, "ste")
        error = (output.x_hat - photo).square().mean() * scale
        return error, error.detach()[None]

    return loss


def test_a_step_moves_weights_quantiles_and_average(tiny_codec, photo, tmp_path):
    run = TrainingState(tiny_codec, TrainSettings(steps=10), tmp_path)
    before = {name: value.clone() for name, value in tiny_codec.named_parameters()}
    average = {name: value.clone() for name, value in run.ema.items()}
    figures, norm = run.advance(forward(tiny_codec, photo), 1.0)
    assert run.step == 1
    assert figures.shape == (1,)
    assert float(norm) > 0
    for name in ("g_a.0.weight", "entropy_bottleneck.quantiles"):
        assert not torch.equal(before[name], tiny_codec.get_parameter(name))
        assert not torch.equal(average[name], run.ema[name])


def test_a_gradient_that_is_not_finite_is_skipped(tiny_codec, photo, tmp_path):
    run = TrainingState(tiny_codec, TrainSettings(steps=10), tmp_path)
    before = tiny_codec.g_a[0].weight.clone()
    run.advance(forward(tiny_codec, photo, float("nan")), 1.0)
    assert torch.equal(before, tiny_codec.g_a[0].weight)
    assert run.step == 1


@pytest.mark.parametrize("bf16", [False, True])
def test_checkpoints_go_from_precision_to_precision(tiny_codec, photo, tmp_path, bf16):
    run = TrainingState(tiny_codec, TrainSettings(stages=(StageSettings(until=1, bf16=bf16),)), tmp_path)
    run.advance(forward(tiny_codec, photo), 1.0)
    run.save()
    weights = {name: value.clone() for name, value in tiny_codec.state_dict().items()}
    with torch.no_grad():
        tiny_codec.g_a[0].weight.zero_()
    again = TrainingState(tiny_codec, TrainSettings(), tmp_path)
    again.load()
    assert again.step == 1
    assert all(torch.equal(weights[name], value) for name, value in tiny_codec.state_dict().items())
    assert all(torch.equal(run.ema[name], value) for name, value in again.ema.items())


def changed(path, change):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("ema"), "KeyError"),
        (lambda state: state.update(step="x"), "found 'x', expected a number of steps"),
        (lambda state: state.update(step=-1), "found -1"),
        (lambda state: state.update(step=True), "found True"),
        (lambda state: state.update(seconds=float("nan")), "found nan"),
        (lambda state: state.update(codec=[1]), "no checkpoint of a run like this"),
        (lambda state: state["ema"].update({"g_a.0.weight": torch.zeros(3)}), r"average of g_a\.0\.weight found shape"),
        (lambda state: state["ema"].update({"g_a.0.weight": 5}), r"average of g_a\.0\.weight found 5"),
        (
            lambda state: state["codec"].update({"g_a.0.bias": torch.full((8,), torch.nan)}),
            "holds values that are not",
        ),
        (lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)), "exp_avg of an optimiser found"),
        (lambda state: state["optimizer"]["state"][0].update(exp_avg="x"), "exp_avg of an optimiser found"),
        (lambda state: state["optimizer"]["param_groups"][0].update(scale="x"), "groups of parameters"),
        (lambda state: state["optimizer"].update(param_groups=[]), "groups of parameters"),
        (lambda state: state.update(optimizer=None), "no checkpoint of a run like this"),
    ],
)
def test_checkpoints_that_cannot_be(tiny_codec, photo, tmp_path, change, words):
    run = TrainingState(tiny_codec, TrainSettings(), tmp_path)
    run.advance(forward(tiny_codec, photo), 1.0)
    run.save()
    changed(tmp_path / "checkpoint.pt", change)
    with pytest.raises(WeightsError, match=words):
        TrainingState(tiny_codec, TrainSettings(), tmp_path).load()


def test_rates_of_a_file_do_not_count(tiny_codec, photo, tmp_path):
    run = TrainingState(tiny_codec, TrainSettings(), tmp_path)
    run.advance(forward(tiny_codec, photo), 1.0)
    run.save()
    changed(tmp_path / "checkpoint.pt", lambda state: state["optimizer"]["param_groups"][0].update(eps="x", betas=None))
    again = TrainingState(tiny_codec, TrainSettings(), tmp_path)
    again.load()
    again.advance(forward(tiny_codec, photo), 1.0)
    assert again.step == 2
