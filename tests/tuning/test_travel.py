import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.coding.singular_values import Absolute, Delta
from taskodec.settings.model import TTFTSettings
from taskodec.stream.delta import STEPS, delta_bits
from taskodec.stream.spike_slab import ABSOLUTE_STEP
from taskodec.tuning.travel import TUNING_STEP, Travel


@pytest.fixture
def adapter(tiny_codec):
    """With singular values of its own."""
    adapter = build_svd_lora(tiny_codec)
    with torch.no_grad():
        for number, name in enumerate(adapter.adapter_params("decoder")):
            if name.endswith("_S"):
                adapter.get_parameter(name).fill_(0.01 * (number + 1))
    return adapter


def delta_of(adapter):
    return torch.linspace(-0.07, 0.09, sum(adapter.delta_groups), requires_grad=True)


def test_ours_is_rounded_and_rated(adapter):
    delta = delta_of(adapter)
    travel = Travel.by(TTFTSettings(), adapter)
    change, bits = travel.of(delta)
    sent = Delta.of(delta.detach(), TUNING_STEP)
    assert travel.as_sent
    assert torch.allclose(change, sent.tensor(delta))
    assert bits.item() == pytest.approx(delta_bits(sent.values, adapter.delta_groups), rel=0.4, abs=14)
    (bits + change.sum()).backward()
    assert delta.grad.abs().min() > 0.5


def test_published_is_neither_until_it_is_sent(adapter):
    delta = delta_of(adapter)
    travel = Travel(adapter, absolute=True, rated=False, rounded=False)
    assert not travel.as_sent
    change, bits = travel.of(delta)
    assert bits == 0
    assert torch.allclose(change, delta, atol=1e-7)
    change, bits = travel.of(delta, sent=True)
    sent = travel.rounding(delta.detach())
    assert isinstance(sent, Absolute)
    assert torch.equal(change, sent.tensor(delta))
    assert bits > 10 * len(delta)


def test_absolute_values_can_be_rated_and_rounded_while_they_are_tuned(adapter):
    delta = delta_of(adapter)
    change, bits = Travel(adapter, absolute=True).of(delta)
    own = adapter.singular_values()
    steps = (own + change) / ABSOLUTE_STEP
    assert torch.allclose(steps, steps.round(), atol=1e-2)
    bits.backward()
    assert torch.equal(delta.grad.sign(), (own + delta).sign())


@pytest.mark.parametrize("absolute", [False, True])
def test_no_change_is_not_sent(adapter, absolute):
    travel = Travel(adapter, absolute=absolute)
    zeros = torch.zeros(sum(adapter.delta_groups))
    change, bits = travel.of(zeros, sent=True)
    assert change is None
    assert bits == 0
    assert travel.rounding(zeros) is None


def test_changes_that_round_to_zero_are_free(adapter):
    small = torch.full((sum(adapter.delta_groups),), STEPS[TUNING_STEP] / 4)
    change, bits = Travel(adapter).of(small, sent=True)
    assert change is None
    assert bits == 0


def test_without_an_adapter_nothing_travels():
    change, bits = Travel(None).of(torch.zeros(0))
    assert change is None
    assert bits == 0
    assert Travel(None).rounding(torch.zeros(0)) is None
