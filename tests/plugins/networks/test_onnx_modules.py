import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from taskodec.errors import UsageError, WeightsError
from taskodec.plugins.networks.onnx_modules import convert, follow_sizes, read_graph


def save(path, nodes, inputs=("x",), outputs=("y",), weights=(), rank=1):
    ends = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [f"{n}_{i}" for i in range(rank)]) for n in names]
        for names in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "test", *ends, initializer=list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def bound(name, values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


@pytest.fixture
def gated(tmp_path):
    """y = silu(relu(x)), and a gate of something else."""
    nodes = [
        helper.make_node("Relu", ["x"], ["middle"]),
        helper.make_node("Sigmoid", ["middle"], ["gate"]),
        helper.make_node("Mul", ["gate", "middle"], ["silu"]),
        helper.make_node("Sigmoid", ["x"], ["other"]),
        helper.make_node("Mul", ["silu", "other"], ["y"]),
    ]
    return save(tmp_path / "gated.onnx", nodes)


def test_a_part_between_tensors_becomes_a_module(gated):
    x = torch.linspace(-2, 2, 5).requires_grad_()
    graph = read_graph(gated)
    assert torch.equal(convert(graph, ["x"], ["middle"], gated)(x), x.relu())
    middle, y = convert(graph, ["x"], ["middle", "y"], gated)(x)
    assert torch.allclose(y, nn.functional.silu(x.relu()) * x.sigmoid())
    assert torch.equal(middle, x.relu())
    y.sum().backward()
    assert float(x.grad.abs().sum()) > 0
    assert torch.equal(convert(graph, ["middle"], ["silu"], gated)(x), nn.functional.silu(x))


def test_a_gate_of_the_same_tensor_is_one_operation_and_of_another_is_not(gated):
    module = convert(read_graph(gated), ["x"], ["y"], gated)
    assert sum(node.target is nn.functional.silu for node in module.graph.nodes) == 1
    assert sum(isinstance(part, nn.Sigmoid) for part in module.modules()) == 1


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (([1], [2**62], [0], [2]), lambda x: x[1::2]),
        (([0, 1], [-1, 3], [-1, 0], [1, 1]), lambda x: x[1:3, :-1]),
        (([-1], [-(2**62)], [1], [-1]), lambda x: x.flip(1)),
        (([3], [0], [1], [-2]), lambda x: x[:, [3, 1]]),
        (([1], [3]), lambda x: x[1:3]),
    ],
)
def test_slices_are_onnxs(tmp_path, bounds, expected):
    names = ["starts", "ends", "axes", "steps"][: len(bounds)]
    node = helper.make_node("Slice", ["x", *names], ["y"])
    weights = [bound(name, values) for name, values in zip(names, bounds, strict=True)]
    file = save(tmp_path / "slice.onnx", [node], weights=weights, rank=2)
    x = torch.arange(20.0).view(4, 5)
    assert torch.equal(convert(read_graph(file), ["x"], ["y"], file)(x), expected(x))


def test_what_is_no_usable_graph_says_so(gated, tmp_path):
    (tmp_path / "noise.onnx").write_bytes(b"not a graph at all")
    with pytest.raises(WeightsError, match=r"noise\.onnx is not a usable ONNX file"):
        read_graph(tmp_path / "noise.onnx")
    with pytest.raises(WeightsError, match=r"no such weights file: .*none\.onnx"):
        read_graph(tmp_path / "none.onnx")
    with pytest.raises(WeightsError, match=r"gated\.onnx has no tensors nothing"):
        convert(read_graph(gated), ["x"], ["nothing"], gated)
    odd = save(tmp_path / "odd.onnx", [helper.make_node("Det", ["x"], ["y"])], rank=2)
    with pytest.raises(WeightsError, match=r"odd\.onnx cannot be converted: .*Det"):
        convert(read_graph(odd), ["x"], ["y"], odd)


def test_without_the_converter_the_error_says_what_to_install(gated, without):
    without("onnx2torch")
    with pytest.raises(UsageError, match=r"onnx2torch is not installed: `pip install 'taskodec\[det\]'`"):
        read_graph(gated)


@pytest.mark.parametrize("way", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("size", [(9, 9), (8, 11), (7, 4)])
def test_padding_to_the_same_size_is_onnxs_at_any_size(tmp_path, way, size):
    conv = helper.make_node("Conv", ["x", "w"], ["middle"], strides=[2, 2], dilations=[2, 1], auto_pad=way)
    pool = helper.make_node("MaxPool", ["middle"], ["y"], kernel_shape=[2, 2], strides=[1, 1], auto_pad=way)
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 3, 3, 3, generator=draw)
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.flatten().tolist())
    file = save(tmp_path / "same.onnx", [conv, pool], weights=[tensor], rank=4)
    x = torch.randn(1, 3, *size, generator=draw)
    graph = read_graph(file)
    found = convert(graph, ["x"], ["y"], file)(x)
    expected = ReferenceEvaluator(onnx.load(file)).run(None, {"x": x.numpy()})[0]
    assert found.shape[2:] == (-(-size[0] // 2), -(-size[1] // 2))
    assert torch.allclose(found, torch.from_numpy(expected), atol=1e-5)
    assert torch.equal(convert(graph, ["x"], ["y"], file)(x), found)  # the graph is as it was


def test_weights_may_be_constants_and_copies_of_others(tmp_path):
    weight = numpy_helper.from_array(torch.randn(2, 3, 1, 1, generator=torch.Generator().manual_seed(0)).numpy(), "w")
    bias = numpy_helper.from_array(torch.tensor([1.0, 2.0]).numpy(), "b")
    nodes = [
        helper.make_node("Constant", [], ["constant"], value=weight),
        helper.make_node("Identity", ["b"], ["copy"]),
        helper.make_node("Conv", ["x", "constant", "copy"], ["y"]),
    ]
    file = save(tmp_path / "constants.onnx", nodes, weights=[bias], rank=4)
    x = torch.rand(1, 3, 2, 2)
    expected = nn.functional.conv2d(x, torch.from_numpy(numpy_helper.to_array(weight).copy()), torch.tensor([1.0, 2.0]))
    assert torch.allclose(convert(read_graph(file), ["x"], ["y"], file)(x), expected)


def test_sizes_that_a_graph_writes_out_can_follow_its_input(tmp_path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Resize",
            ["half", "", "", "sizes"],
            ["y"],
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ]
    file = save(tmp_path / "sized.onnx", nodes, weights=[bound("sizes", [1, 3, 8, 12])], rank=4)
    module = convert(read_graph(file), ["x"], ["y"], file)
    whole, other = (torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) for size in ((8, 12), (4, 16)))
    before = module(whole)
    follow_sizes(module, whole)
    follow_sizes(module, whole)
    assert torch.equal(module(whole), before)
    enlarged = nn.functional.interpolate(nn.functional.max_pool2d(other, 2), scale_factor=2)
    assert torch.equal(module(other), enlarged)
