from pathlib import Path

import pytest
import torch

from taskodec.hooks.registry import default_registry
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import findings_of

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize("file", ["edges.py", "frequency.py"])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (17, 32)])
def test_an_example_falls_towards_the_original_with_a_gradient_on_the_way(file, size):
    task = default_registry().task_from(f"{EXAMPLES / file}:loss")
    generator = torch.Generator().manual_seed(0)
    x, other = torch.rand(1, 3, *size, generator=generator), torch.rand(1, 3, *size, generator=generator)
    losses = []
    for share in (0.0, 0.1, 0.8):
        x_hat = ((1 - share) * x + share * other).requires_grad_() * 1.0
        loss = checked_loss(task, x_hat, task.prepare(x))
        loss.backward()  # raises if a gradient is not finite
        losses.append(float(loss.detach()))
    if file == "edges.py" and size == (1, 1):
        assert losses == pytest.approx([0, 0, 0], abs=1e-12)  # one pixel has no edges
    else:
        assert losses[0] < 1e-6 < losses[1] < losses[2]


def test_edges_show_what_they_see():
    task = default_registry().task_from(f"{EXAMPLES / 'edges.py'}:loss")
    x = torch.zeros(1, 3, 8, 8)
    x[..., 4:] = 1
    heat = findings_of(task, x).heat
    assert heat.shape == (8, 8)
    assert float(heat[:, 3:5].min()) > 0.9 > 0.1 > float(heat[:, 0].max())
