from __future__ import annotations

import numpy as np
import pytest
import torch

from taskodec.stream.delta import delta_bits
from taskodec.tuning.delta_rate import laplace_bits, quantize_ste


def test_rounding_passes_the_gradient() -> None:
    delta = torch.tensor([0.1, -0.26, 0.0, 1.0], requires_grad=True)
    q = quantize_ste(delta, 0.5)
    assert q.tolist() == [0.0, -1.0, 0.0, 2.0]
    q.sum().backward()
    assert delta.grad.tolist() == [2.0] * 4


@pytest.mark.parametrize("rounded", [True, False])
def test_gradient_pulls_to_zero(rounded: bool) -> None:
    delta = torch.tensor([3.2, -1.6, 0.0, 0.0, 0.7, -8.0], requires_grad=True)
    laplace_bits(quantize_ste(delta, 1.0) if rounded else delta, [2, 2, 2]).backward()
    assert torch.equal(torch.sign(delta.grad), torch.sign(delta.detach()))


def test_following_the_gradient_reaches_nothing_to_send() -> None:
    delta = torch.tensor([3.2, -1.6, 0.0, 0.4, 0.7, -8.0], requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        laplace_bits(quantize_ste(delta, 1.0), [2, 2, 2]).backward()
        optimiser.step()
    assert not torch.round(delta.detach()).any()


def test_lonely_groups_are_pulled_hardest() -> None:
    q = torch.tensor([1.0, 0, 0, 0, 1, 4, 4, 4], requires_grad=True)
    laplace_bits(q, [4, 4]).backward()
    assert q.grad[0] > 1.5 * q.grad[4] > 0


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0, 20.0])
def test_close_to_the_true_cost(scale: float) -> None:
    rng = np.random.default_rng(0)
    groups = [4] * 28
    values = np.round(rng.laplace(0, scale, 112)).astype(np.int64)
    values[:32] = 0
    soft = float(laplace_bits(torch.from_numpy(values).float(), groups))
    assert soft + 12 == pytest.approx(delta_bits(values, groups), rel=0.15)


def test_zeros_are_nearly_free_and_finite() -> None:
    q = torch.zeros(112, requires_grad=True)
    bits = laplace_bits(q, [4] * 28)
    bits.backward()
    assert 0 <= bits.item() < 2
    assert torch.isfinite(q.grad).all()


def test_larger_values_cost_more() -> None:
    q = torch.tensor([1.0, 2, 0, 0, 3, 0])
    costs = [float(laplace_bits(q * k, [2, 2, 2])) for k in (0, 1, 2, 4, 8)]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)
