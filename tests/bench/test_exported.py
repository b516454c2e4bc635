import pytest
import torch

from taskodec.bench import exported as export_bench
from taskodec.bench.exported import measure_costs


@pytest.fixture
def costs(monkeypatch, exported, small_lite, small_adapter, photo):
    monkeypatch.setattr(export_bench, "ROUNDS", 1)
    y_hat = torch.ones(1, 16, 4, 4)
    with torch.no_grad():
        before = small_lite.synthesis(y_hat, 3.0)
        found = measure_costs(small_lite, small_adapter, exported, photo, 3.0)
        assert torch.equal(small_lite.synthesis(y_hat, 3.0), before)  # the adapter is no longer in use
    return found


def test_ratios_are_those_of_what_was_measured(costs, exported, small_lite):
    report = costs.report()
    assert min(costs.latents, costs.merged) > 0
    assert report["decode_of_torch"] == costs.decode / costs.torch_decode
    assert report["singular_values_of_merged"] == costs.synthesis / costs.merged
    size, held = costs.sizes["synthesis.onnx"]
    assert size == (exported / "synthesis.onnx").stat().st_size
    assert 4 * sum(p.numel() for p in small_lite.g_s.parameters()) < held < size
