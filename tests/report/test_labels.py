import pytest

from taskodec.report.labels import Label, apart, tags
from taskodec.report.sights import Item


def label(text, left, top):
    return Label(text, left, top, 40, 10)


def test_what_hides_nothing_stays():
    labels = [label("a", 0, 0), label("b", 40, 0), label("c", 0, 10)]
    assert apart(labels, 100) == labels


def test_a_label_stands_below_those_that_it_would_hide():
    first, second, third = apart([label("a", 0, 0), label("b", 5, 3), label("c", 30, 2)], 100)
    assert (first.top, second.top, third.top) == (0, 10, 20)
    assert second.left == 5


def test_at_the_lower_edge_it_stays_where_it_is():
    assert [one.top for one in apart([label("a", 0, 88), label("b", 0, 88)], 100)] == [88, 88]


@pytest.mark.parametrize(("shown", "letters"), [((300, 150), 10), ((110, 220), 5)])
def test_names_of_a_page_are_within_the_picture_and_apart(shown, letters):
    def item(name, x, y):
        return Item(name, 0.5, 0, "1,1 2,2", (x, y))

    found = tags([item("cat", 0, 0), item("dog", 0.1, 0.2), item("bicycle", 64, 10)], shown, (64, 32))
    assert [text for text, *_ in found] == ["cat", "dog", "bicycle"]
    assert all(size == pytest.approx(letters) for _, size, _, _ in found)
    assert found[1][3] - found[0][3] >= letters
    assert found[2][2] + 7 * 0.62 * letters <= shown[0] + 1e-6


def test_what_has_no_place_has_no_name_in_the_picture():
    assert tags([Item("tabby", 0.9, 0, "", (0.0, 0.0))], (300, 150), (64, 32)) == []
