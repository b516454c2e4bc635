import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle

from taskodec.tasks.coco_masks import BOUNDARY, Runs, decode_runs, read_mask

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: arrays(np.uint8, size, elements=st.integers(0, 1))
)
NUMBERS = (
    st.floats()
    | st.integers()
    | st.floats(-100, 100)
    | st.sampled_from([2**31, 2**63, 10**400, 1e300, True, "1", None])
)


def runs_of(mask):
    """Background first, down the columns, some of them split in two around nothing."""
    flat = mask.T.reshape(-1)  # (h, w) -> (h w,)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], edges, [len(flat)])))
    return [0, *counts.tolist()] if flat[0] else counts.tolist()


def pixels(mask):
    return rle.decode(mask.rle())


@given(MASKS)
def test_run_lengths_in_letters_and_in_numbers_are_the_mask(mask):
    size = mask.shape
    letters = rle.encode(np.asfortranarray(mask))["counts"].decode()
    counts = runs_of(mask)
    np.testing.assert_array_equal(decode_runs(letters), counts)
    for given_ in (letters, counts):
        read = read_mask({"size": list(size), "counts": given_}, size)
        np.testing.assert_array_equal(pixels(read), mask)
        assert not read.beyond
        assert rle.area(read.rle()) == mask.sum()


@given(MASKS, st.data())
def test_empty_runs_in_between_change_nothing(mask, data):
    """pycocotools' intersection of masks stops where both have such a run."""
    counts = runs_of(mask)
    split = []
    for count in counts:
        first = data.draw(st.integers(0, count))
        split += data.draw(st.sampled_from([[count], [first, 0, count - first], [0, 0, count], [count, 0, 0]]))
    read = read_mask({"size": list(mask.shape), "counts": split}, mask.shape)
    assert isinstance(read, Runs)
    np.testing.assert_array_equal(pixels(read), mask)
    assert (read.counts[1:] > 0).all()


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40) | st.text(max_size=9))
@example("o" * 8)
@example("_____O")
def test_any_letters_are_a_mask_or_a_value_error(letters):
    try:
        read = read_mask({"size": [6, 8], "counts": letters}, (6, 8))
    except ValueError:
        return
    assert read.counts.sum() == 48
    assert (read.counts >= 0).all()


@given(st.lists(NUMBERS, max_size=9) | st.none() | st.integers() | st.dictionaries(st.text(), NUMBERS, max_size=2))
def test_any_counts_are_a_mask_or_a_value_error(counts):
    try:
        read_mask({"size": [6, 8], "counts": counts}, (6, 8))
    except ValueError:
        return
    assert sum(counts) == 48


@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=12), max_size=3))
def test_any_polygons_are_a_mask_or_a_value_error(polygons):
    try:
        read = read_mask(polygons, (6, 8))
    except ValueError:
        return
    assert pixels(read).shape == (6, 8)


COORDINATES = st.integers(-400, 400).map(lambda value: value / 8)


@given(
    st.lists(
        st.lists(COORDINATES, min_size=3, max_size=8).filter(lambda one: len(one) % 2 == 0 and len(one) >= 6),
        min_size=1,
        max_size=2,
    )
)
def test_what_is_near_goes_to_pycocotools_as_it_is(polygons):
    size = (60, 60)
    read = read_mask(polygons, size)
    expected = rle.decode(rle.merge(rle.frPyObjects(polygons, *size)))
    np.testing.assert_array_equal(pixels(read), expected)


@given(st.lists(st.tuples(st.integers(-3000, 3000), st.integers(-3000, 3000)), min_size=3, max_size=6))
def test_what_is_far_outside_is_cut_off_and_the_rest_stays(points):
    """But for pixels that the edge of a polygon goes through, whose steps it takes from another start."""
    size = (10, 12)
    flat = [float(side) for point in points for side in point]
    whole = rle.decode(rle.merge(rle.frPyObjects([flat], *size)))
    cut = pixels(read_mask([flat], size))
    inside = np.zeros(size, bool)
    for x, y in np.ndindex(12, 10):
        inside[y, x] = all(
            _distance((x + 0.5, y + 0.5), a, b) > 2 for a, b in zip(points, points[1:] + points[:1], strict=True)
        )
    np.testing.assert_array_equal(cut[inside], whole[inside])


def _distance(p, a, b):
    p, a, b = (np.array(v, float) for v in (p, a, b))
    length = ((b - a) ** 2).sum()
    along = 0 if not length else np.clip(((p - a) @ (b - a)) / length, 0, 1)
    return np.hypot(*(p - a - along * (b - a)))


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 5, 2, 5, float("nan")]], "not finite, or beyond any picture"),
        ([[1, 2, 5, 2, 5, float("inf")]], "not finite"),
        ([[1, 2, 5, 2, 5, 1e12]], "beyond any picture"),
        ([[1, 2, 5, 2]], "of three points at least"),
        ([[1, 2, 5, 2, 5, 5, 1]], "not an even number"),
        ([[1, 2, 5, 2, 5, "5"]], "not an even number of coordinates"),
        ([[1, 2, 5, 2, 5, True]], "not an even number of coordinates"),
        ([[[1, 2], [5, 2], [5, 5]]], "not an even number"),
        ([], "no polygon"),
        ("x", "neither a list of polygons nor run lengths"),
        ({"size": [8, 6], "counts": [48]}, r"size \[8, 6\], its image \[6, 8\]"),
        ({"counts": [48]}, "size None"),
        ({"size": [6, 8], "counts": [2**31, 48 - 2**31]}, "must be at least 0 and sum to 6"),
        ({"size": [6, 8], "counts": [40, -8, 16]}, "at least 0"),
        ({"size": [6, 8], "counts": [40]}, "sum to 6"),
        ({"size": [6, 8], "counts": [10**400]}, "beyond any picture"),
        ({"size": [6, 8], "counts": [48.0]}, "neither a list of whole numbers"),
        ({"size": [6, 8], "counts": ""}, "not in COCO's letters"),
        ({"size": [6, 8], "counts": "o"}, "not in COCO's letters"),
        ({"size": [6, 8], "counts": "é"}, "not in COCO's letters"),
        ({"size": [6, 8], "counts": "oooooooo0"}, "beyond any picture"),
        ({"size": [6, 8], "counts": 5}, "counts 5 are neither"),
    ],
)
def test_what_is_refused(segmentation, words):
    with pytest.raises(ValueError, match=words):
        read_mask(segmentation, (6, 8))


def test_polygons_that_take_too_long_to_draw():
    zigzag = [coordinate for i in range(BOUNDARY // 1000) for coordinate in (1000 * (i % 2), i % 3)]
    with pytest.raises(ValueError, match=f"pixels long, more than {BOUNDARY}"):
        read_mask([zigzag * 2], (1000, 1000))


def test_what_lies_beyond_is_said():
    assert read_mask([[0, 0, 8.9, 0, 8.9, 6.5]], (6, 8)).beyond is False
    assert read_mask([[0, 0, 9.1, 0, 8, 6]], (6, 8)).beyond is True
    assert pixels(read_mask([[100, 100, 120, 100, 110, 120]], (6, 8))).sum() == 0
