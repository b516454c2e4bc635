import pytest

from taskodec.errors import UsageError
from taskodec.tasks.labels import ClassLabels


def read(tmp_path, text):
    path = tmp_path / "labels.tsv"
    path.write_text(text, encoding="utf-8")
    return ClassLabels.read(path)


def test_rows_are_file_name_class_and_optionally_a_wordnet_id(tmp_path):
    labels = read(tmp_path, "a b.JPEG\t7\tn02112137\n\nc.png\t0\n")
    assert labels.classes == {"a b.JPEG": 7, "c.png": 0}
    assert labels.of("c.png") == 0


def test_an_image_without_a_label(tmp_path):
    labels = read(tmp_path, "cat_1.png\t7\n")
    with pytest.raises(UsageError, match=r"labels\.tsv has no label for the image 'cat_2\.png', did you mean 'cat_1"):
        labels.of("cat_2.png")


def test_a_class_that_the_network_does_not_know(tmp_path):
    labels = read(tmp_path, "a.png\t9\n\nb.png\t10\n")
    labels.check_classes(11)
    with pytest.raises(UsageError, match=r"labels\.tsv, line 3: the network has no class 10; valid: 0 to 9"):
        labels.check_classes(10)


@pytest.mark.parametrize(
    "row",
    ["b.png", "b.png 3", "b.png\tcat", "b.png\t-1", "\t3", "b.png\t3\tn1\tmore", "b.png\t²", f"b.png\t{'9' * 5000}"],
)
def test_a_bad_row_is_named_with_what_is_valid(tmp_path, row):
    with pytest.raises(UsageError, match=r"labels\.tsv, line 2: .* is no label; valid: file name, class index"):
        read(tmp_path, f"a.png\t1\n{row}\n")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert read(tmp_path, "\ufeffa.png\t3\r\n").classes == {"a.png": 3}


def test_a_name_that_comes_twice(tmp_path):
    with pytest.raises(UsageError, match=r"line 2: 'a\.png' is in line 1 already"):
        read(tmp_path, "a.png\t1\na.png\t1\n")


def test_files_without_labels(tmp_path):
    with pytest.raises(UsageError, match="holds no labels; valid: file name"):
        read(tmp_path, "\n")
    with pytest.raises(UsageError, match=r"cannot read the labels .*No such file"):
        ClassLabels.read(tmp_path / "none.tsv")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UsageError, match=r"cannot read the labels .*picture\.png"):
        ClassLabels.read(tmp_path / "picture.png")
