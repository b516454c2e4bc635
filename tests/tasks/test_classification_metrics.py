import json

import pytest
import torch

from taskodec.errors import UsageError
from taskodec.tasks.classification_metrics import ClassificationEvaluator


def predict(x):
    """Seven classes, scored by how near the mean of the picture is to 0, 0.1, … 0.6."""
    return -(x.mean((1, 2, 3))[:, None] - torch.arange(7) / 10).abs()


def picture(level):
    return torch.full((1, 3, 2, 2), level)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text("a.png\t1\nb.png\t6\nc.png\t4\n")
    return path


def records(judge):
    seen = {"a.png": (0.11, 0.12), "b.png": (0.31, 0.61), "c.png": (0.01, 0.02)}
    return [judge.observe(name, picture(x_hat), picture(x)) for name, (x_hat, x) in seen.items()]


def test_a_record_has_the_first_classes_of_both_pictures_and_the_label(labels):
    record = ClassificationEvaluator(predict, labels).observe("a.png", picture(0.11), picture(0.61))
    assert json.loads(json.dumps(record)) == {"found": [1, 2, 0, 3, 4], "original": [6, 5, 4, 3, 2], "label": 1}


def test_labels_give_accuracies_that_count_repeated_images_again(labels):
    judge = ClassificationEvaluator(predict, labels)
    assert next(iter(judge.metrics)) == "top1"
    right, wrong, fifth = records(judge)  # b.png: 3 2 4 1 5 without its 6; c.png: 0 1 2 3 4 with its 4
    assert judge.summarise([right, wrong, fifth]) == pytest.approx({"top1": 1 / 3, "top5": 2 / 3, "agreement": 2 / 3})
    assert judge.summarise([right, wrong, wrong, wrong]) == {"top1": 0.25, "top5": 0.25, "agreement": 0.25}


def test_without_labels_only_the_agreement_is_judged():
    judge = ClassificationEvaluator(predict)
    assert dict(judge.metrics) == {"agreement": True}
    assert judge.summarise(records(judge)) == pytest.approx({"agreement": 2 / 3})


def test_fewer_than_five_classes():
    judge = ClassificationEvaluator(lambda x: predict(x)[:, :3])
    assert judge.observe("a.png", picture(0.0), picture(0.2)) == {"found": [0, 1, 2], "original": [2, 1, 0]}


def test_labels_the_network_or_the_file_do_not_know(labels):
    with pytest.raises(UsageError, match=r"no label for the image 'd\.png'"):
        ClassificationEvaluator(predict, labels).observe("d.png", picture(0.0), picture(0.0))
    with pytest.raises(UsageError, match=r"line 2: the network has no class 6; valid: 0 to 4"):
        ClassificationEvaluator(lambda x: predict(x)[:, :5], labels).observe("a.png", picture(0.0), picture(0.0))
