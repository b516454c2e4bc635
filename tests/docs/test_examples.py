from pathlib import Path

import pytest
import torch

from taskodec.hooks.registry import default_registry
from taskodec.images.tensors import load_image
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


def test_the_jacobian_is_the_distance_of_features_near_the_original_and_a_square_everywhere():
    task = default_registry().task_from(f"{EXAMPLES / 'jacobian.py'}:Jacobian")
    generator = torch.Generator().manual_seed(0)
    x = load_image(EXAMPLES.parent / "images" / "kodim23.png").x[..., :256, :256]
    error = torch.randn(x.shape, generator=generator)
    near = (x + 1e-3 * error).requires_grad_()
    loss = checked_loss(task, near * 1.0, task.prepare(x))
    loss.backward()
    assert float(near.grad.abs().max()) > 0
    distance = task.classifier.loss(near.detach(), task.classifier.prepare(x))
    assert float(loss.detach()) == pytest.approx(float(distance), rel=0.1)
    far = checked_loss(task, x + 4e-3 * error, task.prepare(x))
    assert float(far) == pytest.approx(16 * float(loss.detach()), rel=1e-2)
