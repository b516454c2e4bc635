from types import SimpleNamespace

import pytest
import torch
from torch import nn

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Latents, Tiling
from taskodec.contracts.function_task import FunctionTask
from taskodec.errors import TaskError, UsageError
from taskodec.settings.model import PhaseSettings, TTFTSettings
from taskodec.tuning.budget import Budget
from taskodec.tuning.networks import TuningNetworks
from taskodec.tuning.objective import Objective
from taskodec.tuning.patches import Area, areas, at_once, check_side
from taskodec.tuning.phases import Point, Variables
from taskodec.tuning.subject import Subject
from taskodec.tuning.together import Slope, run_together
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)
PATCHES = TTFTSettings(patch=32)


def phase(*parts, steps=6, **options):
    return PhaseSettings(train=parts, steps=steps, **options)


ALL = ("encoder", "decoder", "latents")


@pytest.fixture
def local_codec(tiny_codec):
    """A codec none of whose kernels overlap: what patches give is what the whole picture gives."""
    torch.manual_seed(0)
    tiny_codec.g_a = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.Conv2d(8, 8, 4, 4))
    tiny_codec.g_s = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 4), nn.GELU(), nn.ConvTranspose2d(8, 3, 4, 4))
    return tiny_codec.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (64, [(0, 64)]),
        (128, [(0, 64), (64, 128)]),
        (96, [(0, 64), (64, 96)]),
        (80, [(0, 32), (32, 80)]),  # 16 more than a patch: two of nearly one size
        (144, [(0, 64), (64, 96), (96, 144)]),
    ],
)
def test_patches_are_a_grid_without_slivers(length, expected):
    found = areas((length, 64), 64, 16)
    assert [(area.top, area.bottom) for area in found] == expected
    assert {(area.left, area.right) for area in found} == {(0, 64)}


@pytest.mark.parametrize("side", [16, 32, 48, 64, 256])
def test_patches_cover_every_size_once_and_are_no_larger_than_asked_for(side):
    for height in range(16, 400, 16):
        covered = torch.zeros(1, 1, height, 80)
        for area in areas((height, 80), side, 16):
            part = area.of(covered)
            part += 1
            assert max(part.shape[2:]) <= side
            assert area.top % 16 == area.left % 16 == 0
        assert bool((covered == 1).all())


def test_gradients_of_slices_go_where_the_slices_lie():
    area = Area(16, 48, 0, 32, (64, 48))
    y, still = torch.rand(1, 2, 4, 3, requires_grad=True), torch.rand(1, 2, 4, 3)
    for _ in range(2):
        (3 * area.variable(y)).sum().backward()
    expected = torch.zeros_like(y)
    expected[:, :, 1:3, :2] = 6
    assert torch.equal(y.grad, expected)
    assert not area.variable(still).requires_grad


def test_patches_must_fit_the_stride():
    codec = SimpleNamespace(name="tiny", stride=16)
    for side in (None, 16, 256):
        check_side(side, codec)
    for side, near in ((100, 96), (3, 16)):
        with pytest.raises(UsageError, match=rf"ttft\.patch is {side}.*stride, 16; set ttft\.patch={near}"):
            check_side(side, codec)


def test_a_step_sees_no_more_than_a_patch():
    assert at_once((64, 96), None) == 64 * 96
    assert at_once((64, 96), 32) == 32 * 32
    assert at_once((20, 96), 32) == 20 * 32


def slope(codec, x, adapter, side, task=mse):
    """Loss, rate, cost and gradients of everything a phase can train."""
    size, networks = tuple(x.shape[2:]), TuningNetworks(codec, task)
    padded = nn.functional.pad(x, (0, -size[1] % 16, 0, -size[0] % 16), mode="replicate")
    made = codec.analysis(padded, 2.0)
    subject = Subject(codec, adapter, task, 2.0, size, x, 2000.0)
    with attached(adapter, codec):
        start = Point(Latents(made.y, made.z), torch.full((sum(adapter.delta_groups),), 0.1))
        variables = Variables(phase(*ALL), start, networks, adapter, padded, 2.0)
        objectives = [Objective(patch, networks=networks) for patch in subject.in_patches(x, side)]

        def once():
            return (yield Slope(objectives, variables, "ste", 0))

        (found,) = run_together([once()], 0)
    trained = {"y": variables.y, "z": variables.z, "S": variables.delta, **variables.encoder}
    return found, {name: value.grad for name, value in trained.items()}


@pytest.mark.parametrize("size", [(64, 96), (61, 93), (33, 70)])
def test_a_step_over_patches_is_the_step_over_the_picture(local_codec, photo, size):
    x, adapter = photo[..., : size[0], : size[1]], build_svd_lora(local_codec).requires_grad_(False)
    (whole, expected), (parts, found) = (slope(local_codec, x, adapter, side) for side in (None, 32))
    assert expected["S"].any()
    for name, value in vars(whole).items():
        assert float(getattr(parts, name)) == pytest.approx(float(value), rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


def test_the_task_keeps_of_every_patch_what_it_needs(tiny_codec, photo):
    x, seen = photo[..., :61, :93], []
    task = FunctionTask("own", lambda x_hat, x: (x_hat - x).square().mean())
    task.prepare = lambda x: seen.append(tuple(x.shape[2:])) or x
    subject = Subject(tiny_codec, None, task, 2.0, (61, 93), x, 1.0)
    patches = subject.in_patches(x, 32)
    assert seen == [patch.size for patch in patches] == [(h, w) for h in (32, 29) for w in (32, 32, 29)]
    assert sum(patch.share for patch in patches) == pytest.approx(1)
    assert subject.in_patches(x, None) == subject.in_patches(x, 96) == [subject]


@pytest.fixture
def adapter(tiny_codec):
    return build_svd_lora(tiny_codec)


@pytest.mark.parametrize("parts", [("latents",), ("encoder",), ("decoder",), ALL])
@pytest.mark.parametrize("rounding", ["ste", "sga"])
def test_every_part_can_be_tuned(tiny_codec, adapter, photo, parts, rounding):
    brighter = FunctionTask("brighter", lambda x_hat, x: (x_hat - x - 0.1).square().mean(), lmbda=2000.0)
    steps = phase(*parts, steps=20, lr=0.02 if "encoder" in parts else 0.2, lr_latents=0.3, rounding=rounding)
    tuned = Tuner(tiny_codec, adapter, brighter, 2.0, switches=PATCHES).tune(photo[..., :61, :93], [steps])
    assert tuned.steps == 20
    assert tuned.best.name == "+".join(parts)
    assert tuned.best.cost < tuned.untuned.cost


def test_it_comes_to_much_the_same_as_the_whole_picture(local_codec, photo):
    tuned, whole = (
        Tuner(local_codec, build_svd_lora(local_codec), mse, 2.0, switches=switches).tune(
            photo[..., :61, :93], [phase("latents", "decoder", lr_latents=1.0, rounding="ste", steps=20)]
        )
        for switches in (PATCHES, TTFTSettings())
    )
    gains = [one.untuned.cost - one.best.cost for one in (tuned, whole)]
    assert gains[0] == pytest.approx(gains[1], rel=0.1)
    assert gains[1] > 1


def test_never_worse(tiny_codec, adapter, photo):
    wild = [phase(*ALL, lr=50.0, lr_latents=50.0, rounding="ste")]
    tuned = Tuner(tiny_codec, adapter, mse, 2.0, switches=PATCHES).tune(photo, wild)
    assert tuned.best.cost <= tuned.untuned.cost


def test_the_best_state_is_that_of_the_whole_picture(tiny_codec, adapter, photo):
    """A loss that falls on patches where it rises on the picture: what steps report is not the cost of the file."""

    def loss(x_hat, x):
        brighter = x_hat.mean() - x.mean()
        return brighter + 1 if x.shape[3] > 32 else -brighter

    task = FunctionTask("odd", loss, lmbda=1e4)
    seen = []
    switches = TTFTSettings(patch=32, send="tuned")
    tuned = Tuner(tiny_codec, adapter, task, 2.0, switches=switches).tune(
        photo,
        [phase("latents", lr_latents=0.3, rounding="ste", steps=10)],
        progress=lambda step, total, info: seen.append(info["loss"]),
    )
    assert seen[-1] < seen[0]
    assert tuned.best.name == "latents"
    assert tuned.best.cost <= tuned.untuned.cost


def test_one_patch_is_the_whole_picture(tiny_codec, adapter, photo):
    phases = [phase(*ALL, lr=0.02, lr_latents=0.1), phase("latents", lr_latents=0.1, rounding="ste")]
    first, second = (
        Tuner(tiny_codec, adapter, mse, 2.0, switches=switches).tune(photo, phases).best.coded.stream
        for switches in (TTFTSettings(patch=96), TTFTSettings())
    )
    assert first == second


def test_images_tuned_together_become_what_they_become_alone(tiny_codec, adapter, photo):
    phases = [phase(*ALL, lr=0.02, lr_latents=0.1, rounding="sga")]
    tuner = Tuner(tiny_codec, adapter, mse, 2.0, switches=PATCHES)
    pictures = (photo, photo.flip(3).contiguous())
    for x, other in zip(pictures, tuner.tune_many(pictures, phases), strict=True):
        one = tuner.tune(x, phases)
        assert other.best.cost == pytest.approx(one.best.cost, rel=2e-3)
        assert other.best.cost < other.untuned.cost


def test_an_image_that_fails_or_diverges_in_one_patch_leaves_the_others_alone(tiny_codec, photo):
    """The first has a patch that the loss does not bear, and is found after gradients of others were taken."""

    def loss(x_hat, x):
        return (x_hat - x).square().mean() / (float(x.mean() != 0) or float("nan"))

    dark = photo.clone()
    dark[..., 32:, 64:] = 0
    task = FunctionTask("picky", loss, lmbda=2000.0)
    tuner = Tuner(tiny_codec, None, task, 2.0, switches=PATCHES)
    phases = [phase("latents", lr_latents=0.1)]
    failed, tuned = tuner.tune_many([dark, photo], phases)
    assert isinstance(failed, TaskError)
    assert tuned.best.coded.stream == tuner.tune(photo, phases).best.coded.stream


def test_a_patch_that_is_not_finite_ends_tuning(tiny_codec, photo, monkeypatch):
    synthesis, calls = tiny_codec.synthesis, []

    def broken(y_hat, quality):
        x_hat = synthesis(y_hat, quality)
        calls.append(torch.is_grad_enabled())
        return x_hat * float("nan") if sum(calls) == 15 and calls[-1] else x_hat

    monkeypatch.setattr(tiny_codec, "synthesis", broken)
    tuned = Tuner(tiny_codec, None, mse, 2.0, switches=PATCHES).tune(photo, [phase("latents", lr_latents=0.3)])
    assert tuned.steps == 2
    assert tuned.best.cost <= tuned.untuned.cost


def test_neither_steps_nor_looks_nor_slopes_see_more_than_they_may(tiny_codec, adapter, photo, monkeypatch):
    """With gradients patches, without them tiles."""
    synthesis, analysis, seen = tiny_codec.synthesis, tiny_codec.analysis, {True: 0, False: 0}

    def noted(pixels):
        seen[torch.is_grad_enabled()] = max(seen[torch.is_grad_enabled()], pixels)

    monkeypatch.setattr(tiny_codec, "synthesis", lambda y, q: (noted(256 * y[0, 0].numel()), synthesis(y, q))[1])
    monkeypatch.setattr(tiny_codec, "analysis", lambda x, q: (noted(x[0, 0].numel()), analysis(x, q))[1])
    tiny_codec.tiling = Tiling(16, 16, 16)
    darker = FunctionTask("darker", lambda x_hat, x: (x_hat - x + 0.1).square().mean(), lmbda=2000.0)
    tuner = Tuner(tiny_codec, adapter, darker, 2.0, switches=PATCHES, tiles=Tiles(48 * 48))
    tuned = tuner.tune(photo, [phase("encoder", "decoder", steps=20, lr=0.1)])
    assert tuned.best.coded.delta is not None
    assert seen[True] == 32 * 32
    assert 32 * 32 < seen[False] <= 48 * 48


def test_a_time_budget_counts_all_patches_of_a_step(tiny_codec, photo, clock, monkeypatch):
    """Every synthesis takes a second, and its gradient as much: a step of six patches takes twelve."""
    synthesis = tiny_codec.synthesis

    def slow(*args):
        clock.now += 2 if torch.is_grad_enabled() else 1
        return synthesis(*args)

    monkeypatch.setattr(tiny_codec, "synthesis", slow)
    monkeypatch.setattr("taskodec.tuning.run.Budget", lambda seconds, images: Budget(seconds, clock, images=images))
    tuner = Tuner(tiny_codec, None, mse, 2.0, switches=PATCHES)
    tuned = tuner.tune(photo, [phase("latents", steps=1000, lr=0.1)], time_budget=100)
    assert 60 < tuned.seconds <= 100
    assert tuned.steps == (tuned.seconds - 4) // 12


def test_adapters_that_are_one_for_all_are_tuned_one_by_one(tiny_codec, adapter, photo, monkeypatch):
    monkeypatch.setattr(type(adapter), "per_sample", False)
    tuner = Tuner(tiny_codec, adapter, mse, 2.0, switches=PATCHES)
    tuned = tuner.tune_many([photo, photo.flip(3).contiguous()], [phase("decoder", lr=0.2)])
    assert [one.steps for one in tuned] == [6, 6]


def test_networks_are_chosen_by_the_pixels_of_a_patch(tiny_codec, photo, monkeypatch):
    seen = []
    sized = TuningNetworks.sized
    monkeypatch.setattr(TuningNetworks, "sized", lambda *args: seen.append(args[1]) or sized(*args))
    Tuner(tiny_codec, None, mse, 2.0, switches=PATCHES).tune(photo, [phase("latents", steps=1)])
    assert seen == [32 * 32]
