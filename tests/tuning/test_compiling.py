import pytest
import torch

from taskodec.tuning import compiling
from taskodec.tuning.compiling import compile_or_not


def test_what_cannot_be_compiled_runs_as_it_is_with_a_warning(monkeypatch):
    def no_backend(function):
        def fail(*args):
            raise RuntimeError("no C++ compiler\nlong story")

        return fail

    monkeypatch.setattr(compiling.torch, "compile", no_backend)
    double = compile_or_not(lambda x, by: x * by)
    with pytest.warns(UserWarning, match=r"without torch\.compile: no C\+\+ compiler$"):
        assert double(torch.ones(2), 2.0).tolist() == [2.0, 2.0]
    assert double(torch.ones(2), 3.0).tolist() == [3.0, 3.0]


def test_a_function_is_compiled_once_and_tried_with_its_gradient(monkeypatch):
    made, gradients = [], []

    def backend(function):
        made.append(function)
        return function

    monkeypatch.setattr(compiling.torch, "compile", backend)

    def square(x):
        y = x * x
        if y.requires_grad:
            y.register_hook(gradients.append)
        return [y]

    fast = compile_or_not(square)
    for _ in range(2):
        assert fast(torch.full((2,), 3.0))[0].tolist() == [9.0, 9.0]
    assert len(made) == len(gradients) == 1
