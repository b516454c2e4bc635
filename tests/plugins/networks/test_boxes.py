import pytest
import torch

from taskodec.plugins.networks.boxes import suppress


def test_of_overlapping_boxes_of_a_category_the_best_is_kept():
    anchors = torch.zeros(5, 4 + 80)
    anchors[:, :4] = torch.tensor([[0.0, 0, 10, 10], [0, 1, 10, 11], [0, 0, 10, 10], [-5, 20, 10, 99], [0, 0, 9, 9]])
    for row, (category, score) in enumerate([(0, 0.5), (0, 0.9), (11, 0.4), (79, 0.3), (5, 0.001)]):
        anchors[row, 4 + category] = score
    found = suppress(anchors, (50, 40))
    assert found.scores.tolist() == pytest.approx([0.9, 0.4, 0.3])
    assert found.categories.tolist() == [1, 13, 90]
    assert found.boxes.tolist() == [[0, 1, 10, 11], [0, 0, 10, 10], [0, 20, 10, 50]]


def test_other_categories_than_cocos_count_from_one():
    assert suppress(torch.tensor([[0.0, 0, 9, 9, 0.1, 0.8, 0.1]]), (9, 9)).categories.tolist() == [2]
    assert len(suppress(torch.zeros(0, 7), (9, 9)).scores) == 0
