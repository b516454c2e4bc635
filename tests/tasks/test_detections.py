import torch

from taskodec.tasks.detections import Detections


def found(masks):
    return Detections(torch.tensor([[2.0, 1, 6, 5]]), torch.ones(1), torch.ones(1, dtype=torch.long), masks)


def test_boxes_and_masks_move_to_another_size():
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[:, 1:5, 2:6] = True
    scaled = found(mask).scaled((6, 8), (12, 24))
    assert scaled.boxes.tolist() == [[6, 2, 18, 10]]
    wanted = torch.zeros(1, 12, 24, dtype=torch.bool)
    wanted[:, 2:10, 6:18] = True
    wrong = scaled.masks ^ wanted
    assert int(wrong.sum()) <= 4  # corners are rounded
    assert torch.equal(scaled.scaled((12, 24), (6, 8)).masks, mask)


def test_the_same_size_and_no_masks_or_objects():
    one = found(None)
    assert one.scaled((6, 8), (6, 8)) is one
    assert one.scaled((6, 8), (12, 16)).masks is None
    empty = Detections(*(torch.zeros(shape) for shape in ((0, 4), (0,), (0,), (0, 6, 8))))
    assert empty.scaled((6, 8), (12, 16)).masks.shape == (0, 12, 16)
