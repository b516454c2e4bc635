import torch

from taskodec.codecs.lite.dct import dct_filters


def test_filters_are_orthonormal():
    filters = dct_filters(192).flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(192), atol=1e-5, rtol=0)


def test_all_filters_of_a_block_lose_nothing():
    filters = dct_filters(48, size=4, luma_share=1 / 3)
    x = torch.rand(1, 3, 8, 8)
    y = torch.nn.functional.conv2d(x, filters, stride=4)
    back = torch.nn.functional.conv_transpose2d(y, filters, stride=4)
    torch.testing.assert_close(back, x, atol=1e-5, rtol=0)


def test_dc_comes_first_and_grey_has_no_colour():
    filters = dct_filters(12, size=4)
    y = torch.nn.functional.conv2d(torch.full((1, 3, 4, 4), 0.5), filters, stride=4).flatten()
    assert abs(float(y[0])) > 1
    torch.testing.assert_close(y[1:], torch.zeros(11), atol=1e-5, rtol=0)
