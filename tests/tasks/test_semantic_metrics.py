import json
import math
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from taskodec.errors import UsageError
from taskodec.tasks.semantic_metrics import VOC_IN_COCO, SemanticEvaluator, classes_from_coco


def predict(x):
    """Three classes by brightness of the first channel: below 1/3, below 2/3, above."""
    return (x[0, 0] * 3).floor().clamp(0, 2).long()


def picture(classes):
    x = (torch.tensor(classes) + 0.5) / 3
    return x.expand(1, 3, *x.shape)


def label(folder, name, values, mode="L"):
    Image.fromarray(np.array(values, np.uint8)).convert(mode).save(folder / name)


TRUTH = [[0, 0, 0, 0], [1, 1, 255, 255]]
FOUND = [[0, 0, 0, 1], [1, 2, 2, 2]]


def test_right_true_and_predicted_pixels_of_each_class_are_kept(tmp_path):
    label(tmp_path, "a.png", TRUTH)
    judge = SemanticEvaluator(predict, tmp_path)
    record = json.loads(json.dumps(judge.observe("a.jpg", picture(FOUND), picture([[0, 0, 0, 0], [1, 1, 1, 1]]))))
    assert record["labels"] == {"0": [3, 4, 3], "1": [1, 2, 2], "2": [0, 0, 1]}
    assert record["self"] == {"0": [3, 4, 3], "1": [1, 4, 2], "2": [0, 0, 3]}
    figures = judge.summarise([record])
    assert figures == pytest.approx({"miou": (3 / 4 + 1 / 3) / 2, "self_miou": (3 / 4 + 1 / 5) / 2})
    assert list(figures) == list(judge.metrics)


def test_pixels_are_added_up_over_images_that_may_repeat(tmp_path):
    label(tmp_path, "a.png", TRUTH)
    label(tmp_path, "b.png", [[2, 2], [2, 0]])
    judge = SemanticEvaluator(predict, tmp_path)
    a = judge.observe("a.jpg", picture(FOUND), picture(FOUND))
    b = judge.observe("b.jpg", picture([[2, 2], [0, 0]]), picture([[2, 2], [0, 0]]))
    expected = ((6 + 1) / (8 + 1 + 1), 2 / (4 + 4 - 2), 2 / (3 + 2 + 2 - 2))  # right / union, class by class
    assert judge.summarise([a, b, a])["miou"] == pytest.approx(sum(expected) / 3)
    assert judge.summarise([a, b, a])["self_miou"] == 1


def test_without_labels_only_the_agreement_is_judged():
    judge = SemanticEvaluator(predict)
    assert dict(judge.metrics) == {"self_miou": True}
    assert judge.summarise([judge.observe("a.jpg", picture(FOUND), picture(FOUND))]) == {"self_miou": 1}


def test_coco_labels_for_a_network_of_pascal_voc(tmp_path):
    table = classes_from_coco()
    assert [table[category] for category in VOC_IN_COCO[1:]] == list(range(1, 21))
    label(tmp_path, "a.png", [[0, 1, 72, 187]])  # nothing, person, tv, sky
    judge = SemanticEvaluator(lambda x: torch.tensor([[0, 15, 20, 0]]), tmp_path, table=table)
    record = judge.observe("a.jpg", torch.rand(1, 3, 1, 4), torch.rand(1, 3, 1, 4))
    assert record["labels"] == {"0": [1, 1, 1], "15": [1, 1, 1], "20": [1, 1, 1]}


def test_pictures_without_a_judged_pixel_give_no_figure(tmp_path):
    label(tmp_path, "a.png", [[255]])
    judge = SemanticEvaluator(predict, tmp_path)
    record = judge.observe("a.jpg", picture([[1]]), picture([[1]]))
    assert record["labels"] == {}
    assert math.isnan(judge.summarise([record])["miou"])


def test_texts_of_any_length_in_a_label_are_none_of_our_business(tmp_path):
    x = picture([[0, 1]])
    label(tmp_path, "a.png", [[0, 1]])
    plain = SemanticEvaluator(predict, tmp_path).observe("a.jpg", x, x)
    about = PngImagePlugin.PngInfo()
    about.add_text("about", "x" * 2**21, zip=True)
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "a.png", pnginfo=about)
    assert SemanticEvaluator(predict, tmp_path).observe("a.jpg", x, x) == plain


def test_labels_that_cannot_be_used(tmp_path):
    with pytest.raises(UsageError, match=r"none: it is no folder; valid: one with a PNG"):
        SemanticEvaluator(predict, tmp_path / "none")
    judge = SemanticEvaluator(predict, tmp_path)
    x = picture([[0, 1]])
    with pytest.raises(UsageError, match=r"cannot read the label .*a\.png"):
        judge.observe("a.jpg", x, x)
    label(tmp_path, "a.png", [[0], [1]])
    with pytest.raises(UsageError, match=r"a\.png has 1x2 pixels, its image 2x1"):
        judge.observe("a.jpg", x, x)
    label(tmp_path, "a.png", [[0, 1]], mode="RGB")
    with pytest.raises(UsageError, match=r"mode RGB; valid: one channel of 8 bits"):
        judge.observe("a.jpg", x, x)


def head(width, height, depth=8):
    """The head of a PNG of this size, with its checksum; no pixels follow."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


BOMB = zlib.compress(b"x\0\0" + b"y" * 10**8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (head(2**31 - 1, 2**31 - 1), "cannot read|has 2147483647x2147483647 pixels"),
        (head(100_000, 100_000), "cannot read|has 100000x100000 pixels, its image 1x1"),
        (head(0, 1), "cannot read"),
        (head(1, 1), "cannot read"),
        (head(1, 1, 16), "cannot read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot read"),
        (b"GIF89a" + b"\0" * 40, "cannot read"),
        (b"", "cannot read"),
        (head(1, 1)[:33] + struct.pack(">I", len(BOMB)) + b"zTXt" + BOMB, "cannot read"),
    ],
)
def test_damaged_label_pictures(tmp_path, data, words):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UsageError, match=rf"a\.png.*({words})|({words}).*a\.png"):
        SemanticEvaluator(predict, tmp_path).observe("a.jpg", torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1))


def test_other_formats_called_png_are_refused(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "a.png", "GIF")
    with pytest.raises(UsageError, match="cannot read the label"):
        SemanticEvaluator(predict, tmp_path).observe("a.jpg", torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1))
