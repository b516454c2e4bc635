import pytest
import torch

from taskodec.metrics import psnr


def test_psnr():
    x = torch.zeros(1, 3, 4, 4)
    assert psnr(x + 0.1, x) == pytest.approx(20, abs=1e-4)
    assert psnr(x, x) == 100
