"""Where tuning begins, and how steps go through pictures that are too large to be seen whole."""

import pytest
import torch
from torch.nn import functional as F

from taskodec.adapters.lora import build_svd_lora
from taskodec.api.compressor import Compressor
from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.contracts import Task, Tiling
from taskodec.settings.model import PhaseSettings, TTFTSettings, load_settings
from taskodec.tuning.ttft import Tuner


class Coarse(Task):
    """One that sees a picture at an eighth of its size."""

    name = "coarse"

    def prepare(self, x):
        return F.interpolate(x, scale_factor=1 / 8, mode="bilinear", antialias=True)

    def loss(self, x_hat, reference):
        return (self.prepare(x_hat) - reference).square().mean()

    def lmbda(self, codec, quality):
        return 1.0

    def sees(self, height, width):
        return height // 8, width // 8

    def seen(self, x):
        return F.interpolate(self.prepare(x), x.shape[2:], mode="bilinear")


def phase(steps):
    return PhaseSettings(train=("latents",), steps=steps, lr_latents=1e-6, rounding="ste")


@pytest.fixture
def noisy(photo):
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    return (0.5 * photo + 0.5 * noise).clamp(0, 1)


def tuned(codec, x, steps=1, **switches):
    return Tuner(codec, None, Coarse(), 2.0, switches=TTFTSettings(**switches)).tune(x, [phase(steps)])


def test_it_begins_at_the_picture_that_the_task_sees_where_that_is_cheaper(tiny_codec, noisy):
    seen, picture = tuned(tiny_codec, noisy), tuned(tiny_codec, noisy, start="picture")
    assert seen.untuned.cost == picture.untuned.cost
    assert seen.best.cost < picture.best.cost
    assert seen.best.name in {"seen", "latents"}
    assert picture.best.name in {"untuned", "latents"}


def test_without_steps_nothing_is_tried(tiny_codec, noisy):
    assert tuned(tiny_codec, noisy, steps=0).best.name == "untuned"


def test_it_does_not_where_that_costs_more(tiny_codec, noisy, monkeypatch):
    monkeypatch.setattr(Coarse, "seen", lambda self, x: 50 * torch.rand_like(x))
    found = tuned(tiny_codec, noisy)
    assert found.best.name in {"untuned", "latents"}
    assert found.best.cost <= found.untuned.cost


def test_the_published_algorithm_begins_at_the_picture():
    assert load_settings(overrides=["ttft.preset=paper"]).ttft.start == "picture"
    assert load_settings().ttft.start == "seen"


def test_steps_in_tiles_find_what_steps_of_the_whole_do(tiny_codec, noisy):
    tiny_codec.tiling = Tiling(16, 16, 16)
    adapter = build_svd_lora(tiny_codec)
    phases = [PhaseSettings(train=("latents", "decoder"), steps=8, lr=5e-3, lr_latents=0.1, rounding="ste")]
    whole, tiled = (
        Tuner(tiny_codec, adapter, Coarse(), 2.0, step_tiles=tiles, switches=TTFTSettings(bf16=False, search=())).tune(
            noisy, phases
        )
        for tiles in (WHOLE, Tiles(48 * 48))
    )
    assert tiled.best.cost == pytest.approx(whole.best.cost, rel=1e-2)
    assert tiled.best.cost < tiled.untuned.cost


def test_a_large_picture_is_tuned_without_any_option_and_says_how(tiny_codec, photo, monkeypatch):
    tiny_codec.tiling = Tiling(16, 16, 16)
    phases = "ttft.phases=[{train: [latents], steps: 6}]"
    settings = load_settings(overrides=["limits.max_tuning_pixels=4096", phases, "ttft.steps=6"])
    result = Compressor(settings, task=Coarse(), codec=tiny_codec).compress(photo)
    assert result.tuned.steps == 6
    assert any("the task sees 8x12 pixels of it, steps go through tiles" in note for note in result.notes)
    assert result.tuned.best.cost <= result.tuned.untuned.cost


def test_where_little_is_seen_of_a_large_picture_the_start_alone_is_chosen_at_the_lowest_quality_too(tiny_codec, noisy):
    tiny_codec.tiling = Tiling(16, 16, 16)
    overrides = ["limits.max_tuning_pixels=4096", "limits.tile=4096", "quality=3", "ttft.steps=null"]
    told = []
    compressor = Compressor(load_settings(overrides=overrides), task=Coarse(), codec=tiny_codec)
    result = compressor.compress(noisy, progress=lambda done, of, figures: told.append((done, of)))
    tuned = result.tuned
    assert (tuned.steps, tuned.best.name) == (0, "seen")
    assert tuned.best.cost < tuned.untuned.cost
    assert (tuned.untuned.latents.y.numel(), tuned.untuned.coded.y_hat.numel()) == (0, 0)  # large, and of no more use
    assert tuned.best.latents.y.numel() > 0
    assert result.report()["bpp_before"] == tuned.untuned.bpp
    assert "</html>" in result.report_html()
    assert tuned.best.quality in {tiny_codec.qualities[0], 3.0}
    assert tuned.best.cost == pytest.approx(tuned.best.loss + 8 * len(result.stream) / (noisy[0, 0].numel()))
    assert told[-1][0] == told[-1][1] == len(told)
