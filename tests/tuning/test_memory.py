import pytest

from taskodec.contracts import FunctionTask, Task, Tiling
from taskodec.errors import ImageError
from taskodec.settings.model import PhaseSettings
from taskodec.settings.ttft import TTFTSettings
from taskodec.tuning.memory import PATCH, TILE, WHOLE_WAY, Way, way_of

LIMIT = 2**22
PHONE = (3024, 4032)


class Looking(Task):
    """One whose network sees every picture at one size."""

    name = "looking"

    def __init__(self, size):
        self.size = size

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return (x_hat - reference).square().mean()

    def sees(self, height, width):
        return self.size


PIXELS = FunctionTask("pixels", lambda x_hat, x: (x_hat - x).square().mean())


def way(codec, size=PHONE, task=PIXELS, train="latents", steps=40, limit=LIMIT, **switches):
    return way_of(size, [PhaseSettings(train=(train,), steps=steps)], TTFTSettings(**switches), limit, task, codec)


def test_only_tuning_is_limited(tiny_codec):
    assert way(tiny_codec, steps=0) == WHOLE_WAY
    assert way(tiny_codec, (2048, 2048)) == WHOLE_WAY
    assert way(tiny_codec, (2048, 2049)) != WHOLE_WAY


def test_a_loss_of_places_is_tuned_in_patches_and_one_of_a_view_in_tiles(tiny_codec):
    tiny_codec.tiling = Tiling(64, 64, 64)
    patches, tiles = way(tiny_codec), way(tiny_codec, task=Looking((256, 341)))
    assert (patches.patch, patches.tile) == (PATCH, None)
    assert "12 megapixels: steps see patches of 512x512 pixels" in patches.note
    assert "there are 5 of them, not 40 (--steps 40 for all)" in patches.note
    assert (tiles.patch, tiles.tile) == (None, TILE)
    assert "the task sees 256x341 pixels of it" in tiles.note
    assert "steps go through tiles of it" in way(tiny_codec, task=Looking((1300, 1300))).note


def test_a_picture_of_which_little_is_seen_takes_no_steps_unless_they_are_asked_for(tiny_codec):
    tiny_codec.tiling = Tiling(64, 64, 64)
    little = way(tiny_codec, task=Looking((256, 341)))
    assert (little.steps, little.starts) == (0, True)
    assert "without steps (--steps 40 for those)" in little.note
    phases, looking = [PhaseSettings(train=("latents",), steps=40)], Looking((256, 341))
    for asked in ({"steps": 40}, {"time_budget": 5.0}, {"start": "picture"}):
        assert not way_of(PHONE, phases, TTFTSettings(**asked), LIMIT, looking, tiny_codec).starts
    assert not way(tiny_codec, task=Looking((1300, 1300))).starts


@pytest.mark.parametrize(("size", "steps"), [(PHONE, 5), ((6000, 8000), 4), ((2048, 2049), 15), ((2048, 2100), 15)])
def test_steps_are_fewer_the_larger_a_picture_is(tiny_codec, size, steps):
    assert way(tiny_codec, size).steps == steps
    assert way(tiny_codec, size, steps=3).steps == 3


@pytest.mark.parametrize("given", [{"steps": 40}, {"time_budget": 5.0}])
def test_whoever_says_how_much_work_is_worth_gets_it(tiny_codec, given):
    phases = [PhaseSettings(train=("latents",), steps=40)]
    found = way_of(PHONE, phases, TTFTSettings(**given), LIMIT, PIXELS, tiny_codec)
    assert (found.patch, found.steps) == (PATCH, None)


def test_settings_for_one_picture():
    given = TTFTSettings(patch=None)
    assert WHOLE_WAY.switches(given) is given
    assert (Way(patch=64).switches(given).patch, Way(patch=64).switches(given).search) == (64, ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 2112}, r"a patch \(ttft\.patch\) of the image has up to .*max_tuning_pixels"),
        ({"limit": 2**12}, r"the image has 12 megapixels, .*--set ttft\.patch=256.*--steps 0"),
        ({"task": Looking((2500, 2500))}, r"'looking' sees 2500x2500 pixels .*see less \(task\.options\.input\)"),
        ({"task": Looking((256, 256)), "train": "encoder"}, r"the image has 12 megapixels"),
    ],
)
def test_what_no_way_is_left_for_is_refused(tiny_codec, options, message):
    tiny_codec.tiling = Tiling(64, 64, 64)
    with pytest.raises(ImageError, match=message):
        way(tiny_codec, **options)


def test_a_codec_without_tiles_needs_the_whole_for_a_view(tiny_codec):
    with pytest.raises(ImageError, match="max_tuning_pixels"):
        way(tiny_codec, task=Looking((256, 256)))
    assert way(tiny_codec).patch == PATCH
