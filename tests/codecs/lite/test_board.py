import pytest
import torch

from taskodec.codecs.lite.board import BLACK, WHITE, anchors, fields, in_reading_order, on_board, put_back


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 5), (1, 1), (9, 11), (2, 2)])
def test_fields_are_those_of_the_mask_and_go_back(size):
    x = torch.randn(2, 3, *size)
    again = torch.zeros_like(x)
    for colour in (BLACK, WHITE):
        values = in_reading_order(x, colour)
        assert torch.equal(values, x[..., anchors(x) == (colour == BLACK)])
        put_back(values, colour, again)
    assert torch.equal(again, x)


def test_memory_format_makes_no_difference():
    x = torch.randn(2, 3, 4, 6)
    for colour in (BLACK, WHITE):
        assert torch.equal(fields(x.to(memory_format=torch.channels_last), colour), fields(x, colour))
    alone = on_board(fields(x, WHITE), WHITE)
    assert torch.equal(alone, torch.where(anchors(x), 0.0, x))
