import pytest
import torch

from taskodec.codecs.lite.graph import fast_synthesis


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (12, 20)])
def test_it_is_the_synthesis(small_lite, size):
    """Sides at 1/16 that do and do not hold whole windows of 8."""
    y_hat = 3 * torch.randn(1, 16, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(fast_synthesis(small_lite.g_s, y_hat), small_lite.g_s(y_hat), rtol=1e-5, atol=1e-5)
