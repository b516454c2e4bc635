import copy

import pytest
import torch

from taskodec.errors import UsageError, WeightsError
from taskodec.settings.model import StageSettings, TrainSettings
from taskodec.training.optimizers import parameter_groups
from taskodec.training.state import TrainingState


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


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_that_is_not_finite_is_skipped(tiny_codec, photo, tmp_path, fused):
    run = TrainingState(tiny_codec, TrainSettings(steps=10, fused=fused), tmp_path)
    before = tiny_codec.g_a[0].weight.clone()
    run.advance(forward(tiny_codec, photo, float("nan")), 1.0)
    assert torch.equal(before, tiny_codec.g_a[0].weight)
    assert run.step == 1
    run.advance(forward(tiny_codec, photo), 1.0)
    assert not torch.equal(before, tiny_codec.g_a[0].weight)
    assert bool(tiny_codec.g_a[0].weight.isfinite().all())


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


@pytest.fixture
def matrix_settings(request):
    pytest.importorskip("pytorch_optimizer")
    return TrainSettings(optimizer=request.param, lr_scales={"g_a.*": 0.5}, lr=1e-2, steps=100)


@pytest.mark.parametrize("matrix_settings", ["muon", "soap"], indirect=True)
def test_optimisers_of_matrices_lower_the_loss_and_go_on(tiny_codec, photo, tmp_path, matrix_settings):
    run = TrainingState(tiny_codec, matrix_settings, tmp_path)
    first = float(run.advance(forward(tiny_codec, photo), 1.0)[0])
    for _ in range(14):
        run.advance(forward(tiny_codec, photo), 1.0)
    run.save()
    again = TrainingState(copy.deepcopy(tiny_codec), matrix_settings, tmp_path)
    again.load()
    for each in (run, again):
        for _ in range(10):
            figures, _ = each.advance(forward(each.model, photo), 1.0)
        assert float(figures) < 0.7 * first
    weights, others = run.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("matrix_settings", ["muon", "soap"], indirect=True)
def test_vectors_and_tables_of_levels_are_no_matrices(tiny_codec, matrix_settings):
    tiny_codec.register_parameter("levels", torch.nn.Parameter(torch.zeros(3, 8)))
    groups = parameter_groups(tiny_codec, matrix_settings)
    assert {group["kind"] for group in groups} == {matrix_settings.optimizer}
    plain = [p for group in groups if not group["matrix"] for p in group["params"]]
    assert any(p is tiny_codec.levels for p in plain)
    assert all(p.ndim >= 2 for group in groups if group["matrix"] for p in group["params"])
    assert {group["scale"] for group in groups if group["matrix"]} == {0.5, 1.0}


@pytest.mark.parametrize("matrix_settings", ["soap"], indirect=True)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda moments: moments.update(Q=[torch.zeros(3, 3)]), "Q of an optimiser found"),
        (lambda moments: moments["GG"].__setitem__(0, torch.zeros(3, 3)), "GG of an optimiser found shape"),
        (lambda moments: moments["Q"].__setitem__(0, []), r"Q of an optimiser found \[\]"),
        (lambda moments: moments.update(Q="x"), "Q of an optimiser found 'x'"),
    ],
)
def test_decompositions_that_cannot_be(tiny_codec, photo, tmp_path, matrix_settings, change, words):
    run = TrainingState(tiny_codec, matrix_settings, tmp_path)
    for _ in range(2):
        run.advance(forward(tiny_codec, photo), 1.0)
    run.save()

    def spoil(state):
        change(next(moments for moments in state["optimizer"]["state"].values() if len(moments["GG"]) > 1))

    changed(tmp_path / "checkpoint.pt", spoil)
    with pytest.raises(WeightsError, match=words):
        TrainingState(tiny_codec, matrix_settings, tmp_path).load()


def test_another_optimiser_does_not_go_on(tiny_codec, photo, tmp_path):
    pytest.importorskip("pytorch_optimizer")
    kinds = ("adam", "muon", "soap")
    for kind in kinds:
        run = TrainingState(tiny_codec, TrainSettings(optimizer=kind), tmp_path / kind)
        run.out.mkdir()
        run.advance(forward(tiny_codec, photo), 1.0)
        run.save()
        for other in kinds:
            again = TrainingState(tiny_codec, TrainSettings(optimizer=other), tmp_path / kind)
            if other == kind:
                again.load()
            else:
                with pytest.raises(WeightsError, match="groups of parameters"):
                    again.load()


def test_without_its_package_an_optimiser_is_refused(tiny_codec, tmp_path, without):
    without("pytorch_optimizer")
    with pytest.raises(UsageError, match=r"optimizer 'soap' cannot be used here: .*pip install 'taskodec\[train\]'"):
        TrainingState(tiny_codec, TrainSettings(optimizer="soap"), tmp_path)


def test_fused_kernels_take_the_same_step(tiny_codec, photo, tmp_path):
    other = copy.deepcopy(tiny_codec)
    for codec, fused in ((tiny_codec, False), (other, True)):
        run = TrainingState(codec, TrainSettings(fused=fused), tmp_path)
        run.advance(forward(codec, photo), 1.0)
    for name, value in tiny_codec.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], atol=1e-6), name
