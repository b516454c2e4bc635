"""Files of other formats, of about a given size."""

import pytest
from PIL import Image

from taskodec.codecs.anchors import avif, jpeg
from taskodec.errors import PluginError, UsageError
from taskodec.images.tensors import to_pil
from taskodec.report.anchors import anchor_near
from taskodec.report.study import study


class Scale:
    """Files of a size for every level; what it was asked for is kept."""

    def __init__(self, sizes, qualities):
        self.sizes, self.qualities, self.asked = sizes, qualities, []

    def encode(self, image, quality):
        self.asked.append(quality)
        if quality not in self.sizes:
            raise UsageError(f"quality {quality} is not valid")
        return bytes(self.sizes[quality])

    def decode(self, data):
        return Image.new("RGB", (4, 4))


def near(scale, wanted):
    return anchor_near(scale, "scale", Image.new("RGB", (4, 4)), wanted)


def test_the_closest_size_is_found_by_halving():
    scale = Scale({level: 10 * level for level in range(1, 101)}, (3, 50, 94))
    found = near(scale, 424)
    assert (found.quality, len(found.data), found.bounded) == (42, 420, "")
    assert len(scale.asked) < 12


def test_levels_below_the_usual_ones_are_tried_where_files_are_too_large():
    scale = Scale({level: 10 * level for level in range(1, 101)}, (3, 50, 94))
    assert (near(scale, 19).quality, near(scale, 19).bounded) == (2, "")
    assert (near(scale, 1).quality, near(scale, 1).bounded) == (1, "smallest")
    assert (near(scale, 5000).quality, near(scale, 5000).bounded) == (94, "largest")


def test_a_scale_on_which_high_is_small():
    assert near(Scale({level: 3000 // level for level in range(1, 241)}, (240, 60, 12)), 100).quality == 30


def test_what_an_anchor_raises_is_named():
    broken = Scale({3: 1, 4: 2}, (3, 4))
    broken.decode = lambda data: 1 / 0
    with pytest.raises(PluginError, match=r"anchor 'scale' raised .*ZeroDivisionError"):
        near(broken, 1)


@pytest.mark.parametrize("anchor", [jpeg(), avif()])
@pytest.mark.parametrize("size", [(96, 64), (1, 1)])
def test_formats_of_pillow(anchor, photo, size):
    picture = to_pil(photo).resize(size)
    found = anchor_near(anchor, anchor.name, picture, 900)
    assert found.image.size == size
    assert abs(len(found.data) - 900) < 60 or found.bounded


def test_a_study_has_them_behind_the_others_and_says_what_is_missing(result):
    too_large = Scale({}, (1, 2))
    found = study(result.compressed("one"), anchors={"jpeg": jpeg(), "scale": too_large})
    assert [take.key for take in found.takes] == ["original", "plain", "tuned", "jpeg"]
    assert found.takes[3].x.shape == result.x.shape
    assert found.opinions[0].losses.keys() == {"original", "plain", "tuned", "jpeg"}
    assert found.missing == ["scale is left out: quality 1.0 is not valid"]
