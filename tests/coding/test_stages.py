from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from taskodec.coding.stages import Stage, count_multiplications, record


class Worker:
    """Works without taking any time but that of a clock."""

    def __init__(self, clock):
        self.clock = clock

    def outer(self, seconds):
        self.clock.now += seconds
        return self.inner(seconds)

    def inner(self, seconds):
        if seconds < 0:
            raise ValueError("no time to lose")
        self.clock.now += seconds
        return "done"


@pytest.fixture
def worker(clock, monkeypatch):
    monkeypatch.setattr("taskodec.coding.stages.time", SimpleNamespace(perf_counter=clock))
    return Worker(clock)


def both(worker):
    return [Stage("analysis", worker, "outer"), Stage("entropy", worker, "inner", "coder")]


def test_calls_are_recorded_in_order_with_their_seconds(worker):
    with record(both(worker)) as spans:
        assert worker.inner(2) == "done"
        assert worker.outer(4) == "done"
    assert [span.stage.name for span in spans] == ["entropy", "analysis"]
    assert spans[0].seconds == 2
    assert spans[1].seconds == 8  # with the inner one, which is not counted again
    assert spans[0].end <= spans[1].begin


def test_objects_are_left_as_they_were(worker):
    layer = nn.Conv2d(3, 4, 1)
    worker.inner = own = lambda seconds: "own"
    before = dict(vars(layer))
    with record([*both(worker), Stage("synthesis", layer, "forward")]) as spans:
        layer(torch.zeros(1, 3, 2, 2))
        assert worker.inner(0) == "own"
    assert [span.stage.name for span in spans] == ["synthesis", "entropy"]
    assert vars(worker) == {"clock": worker.clock, "inner": own}
    assert vars(layer) == before


def test_an_error_passes_through_and_leaves_nothing_behind(worker):
    with pytest.raises(ValueError, match="no time to lose"), record(both(worker)):
        worker.outer(-1)
    assert vars(worker) == {"clock": worker.clock}
    with record(both(worker)) as spans:
        worker.inner(0)
    assert len(spans) == 1


def test_an_unknown_method_changes_nothing(worker):
    with pytest.raises(AttributeError), record([*both(worker), Stage("x", worker, "missing")]):
        pass
    assert vars(worker) == {"clock": worker.clock}


def test_multiplications_are_counted_by_stage():
    conv, linear = nn.Conv2d(3, 8, 5, 2, 2), nn.Linear(7, 11)
    stages = [Stage("analysis", conv, "forward"), Stage("synthesis", linear, "forward")]
    with torch.no_grad(), count_multiplications(stages) as found:
        conv(torch.zeros(1, 3, 16, 24))
        linear(torch.zeros(2, 7))
        linear(torch.zeros(1, 7))
    assert found == {"analysis": 8 * 12 * 8 * 3 * 25, "synthesis": 3 * 7 * 11}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
def test_direct_convolutions_count():
    layer = SimpleNamespace(convolve=torch.mkldnn_convolution)
    x, kernel = torch.zeros(2, 3, 16, 24), torch.ones(8, 3, 5, 5)
    with torch.no_grad(), count_multiplications([Stage("entropy", layer, "convolve")]) as found:
        layer.convolve(x, kernel, None, (2, 2), (2, 2), (1, 1), 1)
    assert found["entropy"] == 2 * 8 * 12 * 8 * 3 * 25


def test_fused_attention_counts():
    class Attention(nn.Module):
        def forward(self, q, bias):
            return F.scaled_dot_product_attention(q, q, q, attn_mask=bias)

    net = Attention()
    with torch.no_grad(), count_multiplications([Stage("analysis", net, "forward")]) as found:
        net(torch.ones(2, 4, 16, 8), torch.zeros(1, 4, 16, 16))
    assert found["analysis"] == 2 * (2 * 4) * 16 * 16 * 8
