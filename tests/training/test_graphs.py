"""Steps as CUDA graphs: what can be said of them without a GPU."""

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from taskodec.codecs.lite.codec import Lite
from taskodec.settings.model import StageSettings
from taskodec.training.graphs import GraphedCalls
from taskodec.training.losses import StepLoss


class Waits(TorchDispatchMode):
    """Notes what makes a processor wait for a GPU, and is refused while a graph is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        copied = any(value.device.type == "cpu" and value.ndim for value in given)  # scalars travel with the kernel
        if copied or func.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero"):
            self.found.append(func.name())
        return result


def on_a_pretended_gpu(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(mode.from_tensor(value.detach()).to("cuda"))
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = mode.from_tensor(value).to("cuda")
    return module


def waits(step: nn.Module, side: int = 64) -> list[str]:
    """What a step on a GPU would wait for; nothing is computed."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # autocast says that there is no GPU
        module = on_a_pretended_gpu(step, mode)
        x = torch.rand(2, 3, side, side, device="cuda")
        with Waits() as seen:
            loss, _ = module(x, torch.rand(2, device="cuda"), torch.rand(2, device="cuda"))
    assert loss.device.type == "cuda"
    return seen.found


@pytest.mark.parametrize("rounding", ["noise", "ste", "mixed"])
def test_a_step_of_lite_never_waits_for_the_gpu(rounding):
    small = Lite(M=32, N=24, D=20, stem=8, Z=8, F=8, C=8, depth=2).train()
    stage = StageSettings(until=1, rounding=rounding, bf16=True)
    assert waits(StepLoss(small, stage), 128) == []


def test_what_would_wait_is_found():
    class Waiting(nn.Module):
        def forward(self, x, quality, lmbda):
            kernel = x.new_zeros(2, 5)
            kernel[:, [0, 2]] = quality[:, None]  # the list is copied to the GPU
            return kernel.sum(), quality

    assert waits(Waiting())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which records")
def test_where_nothing_can_be_recorded_the_module_is_called():
    made: list[str] = []

    def make(key: str) -> nn.Module:
        made.append(key)
        return nn.Linear(3, 2)

    calls = GraphedCalls(make)
    x = torch.ones(4, 3)
    with pytest.warns(UserWarning, match="no CUDA graph"):
        first = calls("first", x)
    assert torch.equal(calls("first", x), first)  # the same module, and no second warning
    with pytest.warns(UserWarning, match="no CUDA graph"):
        calls("second", x)
    assert set(made) == {"first", "second"}
