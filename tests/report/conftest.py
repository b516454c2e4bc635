"""A compressed picture, and tasks that say what they see in many ways."""

import pytest
import torch

from taskodec.contracts import Findings, Found, Task


class Seeing(Task):
    """Sees what it is told to, and judges by the mean error."""

    def __init__(self, name, findings):
        self.name, self.told = name, findings

    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return (x_hat - reference).square().mean()

    def findings(self, x):
        return self.told(x) if callable(self.told) else self.told


@pytest.fixture
def seeing():
    """A function from a name and findings, or a function of the picture, to a task."""
    return Seeing


@pytest.fixture
def boxes():
    """Findings with a box, an outline and a mask in a picture of 64x96."""
    mask = torch.zeros(64, 96, dtype=torch.bool)
    mask[10:30, 20:50] = True
    return Findings(
        [
            Found("a <script>alert(1)</script> bird", 0.91, (20, 10, 50, 30), mask=mask),
            Found("text", 0.4, outline=[(5, 5), (25, 8), (24, 20), (4, 17)]),
        ]
    )


@pytest.fixture
def result(make_compressor, photo):
    """What compressing `photo` with the tiny codec gives."""
    return make_compressor().compress(photo)
