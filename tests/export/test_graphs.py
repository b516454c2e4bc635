import onnx
import pytest
import torch
from torch import nn

from taskodec.errors import UsageError
from taskodec.export.graphs import OnnxFunction, export_graph


class TwoOutputs(nn.Module):
    def forward(self, x, shift):
        return torch.floor(x) + shift[:, None, None], x.sum(1, keepdim=True)


@pytest.fixture(scope="module")
def model():
    return export_graph(TwoOutputs(), [torch.rand(1, 3, 4, 6), torch.arange(3.0)])


@pytest.mark.parametrize("optimise", [True, False])
@pytest.mark.parametrize("size", [(4, 6), (9, 5)])
def test_a_graph_computes_what_the_network_does_at_any_size(model, optimise, size):
    x, shift = torch.rand(1, 3, *size) * 9, torch.arange(3.0) * 2
    found = OnnxFunction(model, optimise=optimise)(x, shift)
    for one, other in zip(found, TwoOutputs()(x, shift), strict=True):
        torch.testing.assert_close(one, other)


def test_one_output_is_no_tuple():
    function = OnnxFunction(export_graph(nn.Conv2d(2, 3, 1).eval(), [torch.rand(1, 2, 5, 5)]))
    assert function(torch.rand(1, 2, 7, 3)).shape == (1, 3, 7, 3)


def test_a_graph_is_valid(model):
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)


def test_a_network_that_cannot_be_exported_is_named():
    class Sorting(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(UsageError, match="Sorting cannot be exported"):
        export_graph(Sorting(), [torch.rand(1, 1, 4, 4)])


def test_missing_packages_are_named(without):
    without("onnx", "onnxscript")
    with pytest.raises(UsageError, match=r"onnx, onnxscript are not installed: .*taskodec\[export\]"):
        export_graph(nn.Identity(), [torch.rand(1, 1, 4, 4)])


class Sum(nn.Module):
    def forward(self, first, second):
        return first + 2 * second


def test_an_example_given_twice_stays_two_inputs():
    x = torch.zeros(1, 2, 3, 4)
    function = OnnxFunction(export_graph(Sum(), (x, x)))
    a, b = torch.rand(2, 1, 2, 5, 6).unbind(0)
    torch.testing.assert_close(function(a, b), a + 2 * b)


def test_names_and_metadata():
    x = torch.zeros(1, 2, 3, 4)
    data = export_graph(Sum(), (x, x), (("a", "b"), ("c",)), metadata={"licence": "none"})
    graph = onnx.load_from_string(data)
    assert [value.name for value in (*graph.graph.input, *graph.graph.output)] == ["a", "b", "c"]
    assert [(entry.key, entry.value) for entry in graph.metadata_props] == [("licence", "none")]
