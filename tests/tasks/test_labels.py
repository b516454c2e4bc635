import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    [
        "b.png",
        "490",
        "n01440764",
        "b.png cat",
        "b.png n00000000",
        "b.png\tcat",
        "b.png\t-1",
        "\t3",
        "b.png\t3\tn1\tmore",
        "b.png\t²",
        f"b.png\t{'9' * 5000}",
    ],
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


@pytest.mark.parametrize(
    "text",
    [
        "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\n",
        "ILSVRC2012_val_00000001.JPEG n01751748\nILSVRC2012_val_00000002.JPEG n09193705\n",
        "ILSVRC2012_val_00000001.JPEG\tn01751748\nILSVRC2012_val_00000002.JPEG\tn09193705\n",
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01751748 111 108 354 348 \n"
        "ILSVRC2012_val_00000002,n09193705 1 2 3 4 n09193705 5 6 7 8 \n",
    ],
)
def test_imagenets_labels_as_they_go_round(tmp_path, text):
    labels = read(tmp_path, text)
    assert [labels.of(f"ILSVRC2012_val_0000000{i}.JPEG") for i in (1, 2)] == [65, 970]


def folders(tmp_path, *names):
    for i, name in enumerate(names):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / f"{i}.JPEG").write_bytes(b"whatever")
    return ClassLabels.read(tmp_path / "val")


def test_folders_of_wordnet_ids_have_imagenets_indices(tmp_path):
    labels = folders(tmp_path, "n09193705", "n01440764", "n01751748")
    assert labels.classes == {"0.JPEG": 970, "1.JPEG": 0, "2.JPEG": 65}
    labels.check_classes(971)
    with pytest.raises(UsageError, match=r"val, 0\.JPEG: the network has no class 970"):
        labels.check_classes(970)


@pytest.mark.parametrize("names", [("cat", "dog"), ("n00000001", "n00000002")])
def test_other_folders_are_counted_by_name(tmp_path, names):
    assert folders(tmp_path, *names).classes == {"0.JPEG": 0, "1.JPEG": 1}


def test_the_version_of_folders_is_that_of_the_labels(tmp_path):
    first = folders(tmp_path, "a", "b")
    (tmp_path / "val" / "a" / "0.JPEG").write_bytes(b"other pixels")
    assert ClassLabels.read(tmp_path / "val").version == first.version
    (tmp_path / "val" / "a" / "0.JPEG").rename(tmp_path / "val" / "b" / "0.JPEG")
    (tmp_path / "val" / "b" / "1.JPEG").rename(tmp_path / "val" / "a" / "1.JPEG")
    assert ClassLabels.read(tmp_path / "val").version != first.version
    assert read(tmp_path, "a.png\t1\n").version is None


def test_a_folder_without_folders(tmp_path):
    (tmp_path / "val").mkdir()
    with pytest.raises(UsageError, match=r"val has no folder for each class, such as n01440764/ of ImageNet"):
        ClassLabels.read(tmp_path / "val")


def test_images_of_one_name_in_two_classes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "1.png").write_bytes(b"whatever")
    with pytest.raises(UsageError, match=r"has images '1\.png' of two classes, and labels go by file name"):
        ClassLabels.read(tmp_path / "val")


@given(st.binary(max_size=60) | st.text("a \t,.0123n\n\x1b\x85é", max_size=60).map(str.encode))
def test_any_file_is_labels_or_a_usage_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    path.write_bytes(data)
    try:
        classes = ClassLabels.read(path).classes
    except UsageError:
        return
    assert all(name and 0 <= index < 10**9 for name, index in classes.items())
