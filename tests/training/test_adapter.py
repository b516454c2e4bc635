import json
import os
import signal

import pytest
import torch

from taskodec.adapters.files import load_adapter, read_card
from taskodec.adapters.lora import build_svd_lora
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts import JointTask, Part
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import UsageError, WeightsError
from taskodec.images.framing import Framing
from taskodec.settings.model import PretrainSettings, StageSettings
from taskodec.training.adapter import Pretraining, pretrain
from taskodec.training.costs import relative_cost, validate


def dark(x_hat, x):
    """Nothing that the codec was made for, so that an adapter has much to win."""
    return (x_hat - 0.5 * x).square().mean()


TASK = FunctionTask("dark", dark)


@pytest.fixture
def settings():
    return PretrainSettings(
        stages=(StageSettings(until=1, crop=32),),
        batch=4,
        steps=8,
        lr=1e-2,
        validate_every=2,
        validation_images=2,
        calibration_crops=2,
        checkpoint_minutes=60,
    )


@pytest.fixture
def images(request):
    return [request.config.rootpath / "docs" / "images" / "kodim23.png"]


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec, rank=2)


class InPictures(FunctionTask):
    """Remembers of which pictures the crops are."""

    sizes = None

    def for_crops(self, sizes):
        InPictures.sizes = sizes
        return self


def state(path):
    return torch.load(path / "checkpoint.pt", weights_only=True)["ema"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_lowers_the_cost_and_leaves_the_codec_alone(tiny_codec, adapter, images, tmp_path, settings):
    weights = {name: value.clone() for name, value in tiny_codec.state_dict().items()}
    longer = settings.model_copy(update={"steps": 60, "validate_every": 20})
    costs = []
    run = pretrain(
        tiny_codec,
        adapter,
        TASK,
        images,
        tmp_path,
        longer,
        validation=images,
        progress=lambda step, total, info: costs.append(info["cost"]),
    )
    assert sum(costs[-10:]) < 0.9 * sum(costs[:10])
    assert run.best_cost < 0.9
    assert same(weights, tiny_codec.state_dict())
    assert all(p.grad is None for p in tiny_codec.parameters())
    pictures = [torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(1))]
    plain = validate(tiny_codec, TASK, run.balance, pictures)
    adapter.attach(tiny_codec)
    assert relative_cost(validate(tiny_codec, TASK, run.balance, pictures), plain) < 1
    for side in ("encoder", "decoder"):
        for name, branch in adapter.branches(side).items():
            fresh = build_svd_lora(tiny_codec, rank=2).branches(side)[name]
            for factor in ("w_lora_U", "w_lora_S", "w_lora_V"):
                assert not torch.equal(getattr(branch, factor), getattr(fresh, factor))


def test_a_resumed_run_ends_like_an_unbroken_one(tiny_codec, images, tmp_path, settings):
    def run(folder, **more):
        return pretrain(
            tiny_codec, build_svd_lora(tiny_codec), TASK, images, folder, settings, validation=images, **more
        )

    def interrupt(step, total, info):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 5 of 8.* --resume"):
        run(tmp_path / "broken", progress=interrupt)
    again = run(tmp_path / "broken", resume=True)
    assert same(state(tmp_path / "whole"), state(tmp_path / "broken"))
    assert same(whole.best, again.best)
    assert (whole.best_cost, whole.best_step, whole.balance) == (again.best_cost, again.best_step, again.balance)
    files = [tmp_path / name / "adapter.safetensors" for name in ("whole", "broken")]
    assert read_card(files[0]) == read_card(files[1])
    assert same(*(load_adapter(file, tiny_codec).state() for file in files))


def test_a_run_that_no_longer_improves_ends_early_and_keeps_its_best(tiny_codec, images, tmp_path, settings):
    wild = settings.model_copy(update={"lr": 0.5, "final_lr": 0.5, "steps": 40, "validate_every": 1, "patience": 3})
    seen = []
    run = pretrain(
        tiny_codec,
        build_svd_lora(tiny_codec),
        TASK,
        images,
        tmp_path,
        wild,
        validation=images,
        progress=lambda step, *_: seen.append(step),
    )
    assert run.ended
    assert seen[-1] == run.step == run.best_step + 3 < 40
    kept = load_adapter(tmp_path / "adapter.safetensors", tiny_codec)
    assert same(kept.state(), run.best)
    assert same(run.model.state(), run.best)
    again = pretrain(tiny_codec, build_svd_lora(tiny_codec), TASK, images, tmp_path, wild, resume=True)
    assert again.step == run.step


def test_what_a_run_writes(tiny_codec, adapter, images, tmp_path, settings):
    run = pretrain(tiny_codec, adapter, TASK, images, tmp_path, settings, validation=images, resolved={"a": 1})
    card = read_card(tmp_path / "adapter.safetensors")
    assert (card["codec"], card["task"], card["codec_fingerprint"]) == (
        "tiny",
        "dark",
        codec_fingerprint(tiny_codec).hex(),
    )
    assert float(card["relative_cost"]) == pytest.approx(run.best_cost, abs=1e-4)
    stored = json.loads((tmp_path / "settings.json").read_text())
    assert stored["a"] == 1
    assert stored["balance"]["qualities"] == list(tiny_codec.qualities)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    points = [line["validation"] for line in lines if "validation" in line]
    assert len(points) == 4
    assert [p["quality"] for p in points[0]] == list(tiny_codec.qualities)
    for point, lmbda in zip(points[0], stored["balance"]["lmbdas"], strict=True):
        assert point["cost"] == pytest.approx(lmbda * point["loss"] + point["bpp"])


@pytest.mark.parametrize(("borne", "same_crops"), [((), True), (("flip", "shift"), False)])
def test_views_are_shown_to_tasks_that_bear_them(tiny_codec, images, tmp_path, settings, borne, same_crops):
    seen = []

    def loss(x_hat, x):
        seen.append(x)
        return (x_hat - x).square().mean()

    crops = []
    for views in (True, False):
        seen.clear()
        task, chosen = FunctionTask("mine", loss, views=borne), settings.model_copy(update={"views": views})
        pretrain(tiny_codec, build_svd_lora(tiny_codec), task, images, tmp_path / str(views), chosen)
        crops.append(torch.cat(seen))
    assert torch.equal(*crops) is same_crops


@pytest.mark.parametrize("change", ["weights", "task"])
def test_runs_of_other_things_are_not_resumed(tiny_codec, images, tmp_path, settings, change):
    pretrain(tiny_codec, build_svd_lora(tiny_codec), TASK, images, tmp_path, settings)
    with pytest.raises(UsageError, match="--resume"):
        pretrain(tiny_codec, build_svd_lora(tiny_codec), TASK, images, tmp_path, settings)
    task = TASK
    if change == "task":
        task = FunctionTask("bright", dark)
    else:
        with torch.no_grad():
            tiny_codec.g_a[0].bias.add_(1)
    says = "run of task 'dark', not of 'bright'" if change == "task" else "run of codec_fingerprint"
    with pytest.raises(WeightsError, match=says):
        pretrain(tiny_codec, build_svd_lora(tiny_codec), task, images, tmp_path, settings, resume=True)


def test_adapters_without_a_file_are_refused(tiny_codec, images, tmp_path, settings):
    class Other(torch.nn.Module):
        kind = "other"

    with pytest.raises(UsageError, match="'other' has no file format"):
        pretrain(tiny_codec, Other(), TASK, images, tmp_path, settings)


def test_the_average_is_kept_without_validation(tiny_codec, adapter, images, tmp_path, settings):
    run = pretrain(tiny_codec, adapter, TASK, images, tmp_path, settings)
    assert isinstance(run, Pretraining)
    assert run.best == {}
    assert same(load_adapter(tmp_path / "adapter.safetensors", tiny_codec).state(), run.ema)
    assert "relative_cost" not in read_card(tmp_path / "adapter.safetensors")


def red(x_hat, x):
    return 1000 * (x_hat[:, :1] - 0.5 * x[:, :1]).abs().mean()


def test_an_adapter_for_several_tasks(tiny_codec, images, tmp_path, settings):
    task = JointTask("dark,red", [Part("dark", TASK, 1), Part("red", FunctionTask("red", red), 3)])
    broken = pretrain(tiny_codec, build_svd_lora(tiny_codec, rank=2), task, images, tmp_path / "a", settings)
    assert read_card(tmp_path / "a" / "adapter.safetensors")["task"] == "dark,red"
    assert len(broken.balance.parts) == len(tiny_codec.qualities)
    shares = [dark_part * 1 / red_part for dark_part, red_part in broken.balance.parts]
    assert all(share > 100 for share in shares)  # a thousandth of the unit, and its square

    stopped = pretrain(
        tiny_codec, build_svd_lora(tiny_codec, rank=2), task, images, tmp_path / "b", settings, validation=images
    )
    assert stopped.untuned[0]["loss"] > 0
    again = pretrain(
        tiny_codec,
        build_svd_lora(tiny_codec, rank=2),
        task,
        images,
        tmp_path / "b",
        settings.model_copy(update={"steps": 10}),
        validation=images,
        resume=True,
    )
    assert again.balance == stopped.balance
    assert again.best_cost < 1


def test_a_part_without_a_slope_is_named(tiny_codec, images, tmp_path, settings):
    def stepped(x_hat, x):
        return (torch.round(x_hat * 4) - torch.round(x * 4)).square().mean()

    task = JointTask("both", [Part("dark", TASK), Part("stepped", FunctionTask("stepped", stepped))])
    longer = settings.model_copy(update={"steps": 17})
    with pytest.warns(UserWarning, match="the loss of task 'stepped' has no slope"):
        pretrain(tiny_codec, build_svd_lora(tiny_codec, rank=2), task, images, tmp_path, longer)


def test_the_task_is_told_of_what_pictures_it_judges_crops(tiny_codec, adapter, images, tmp_path, settings):
    task = InPictures("dark", dark)
    settings = settings.model_copy(update={"steps": 1})
    pretrain(tiny_codec, adapter, task, images, tmp_path / "run", settings)
    assert InPictures.sizes == [(512, 768)]
    pretrain(tiny_codec, adapter, task, images, tmp_path / "cut", settings, framing=Framing(resize=100, center_crop=64))
    assert InPictures.sizes == [(64, 64)]


def test_crops_of_which_a_network_would_see_little_are_warned_of(tiny_codec, adapter, images, tmp_path, settings):
    task = InPictures("dark", dark)
    task.sees = lambda height, width: (height // 4, width // 4)
    with pytest.warns(UserWarning, match=r"sees a crop of 32 pixels at 8x8.*data\.resize"):
        pretrain(tiny_codec, adapter, task, images, tmp_path / "run", settings.model_copy(update={"steps": 1}))
