import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from taskodec.export.precision import with_precision


@pytest.fixture(scope="module")
def model():
    """A matrix product with a weight (256, 96) whose columns are of very different sizes, and a bias."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((256, 96)) * np.geomspace(1e-3, 1, 96)).astype(np.float32)
    values = {"weight": weight, "bias": np.full(96, 0.1, dtype=np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["p"]), helper.make_node("Add", ["p", "bias"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("x", 256), ("y", 96))]
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def run(model):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.linspace(-1, 1, 256, dtype=np.float32)[None]})[0]


@pytest.mark.parametrize(("precision", "share", "close"), [("float16", 0.55, 1e-3), ("int8", 0.35, 1e-2)])
def test_the_file_is_smaller_and_the_result_nearly_the_same(model, precision, share, close):
    smaller = with_precision(model, precision)
    assert len(smaller) < share * len(model)
    exact, found = run(model), run(smaller)
    assert found.dtype == np.float32
    assert 0 < np.linalg.norm(found - exact) < close * np.linalg.norm(exact)


def test_every_column_has_its_own_scale(model):
    graph = onnx.load_model_from_string(with_precision(model, "int8")).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert tensors["weight_int8"].dtype == np.int8
    assert (np.abs(tensors["weight_int8"]).max(0) == 127).all()
    assert tensors["weight_scale"].shape == (1, 96)
    assert tensors["bias"].dtype == np.float32


def test_float32_is_left_alone(model):
    assert with_precision(model, "float32") is model


def test_the_last_weights_keep_more_bits(model):
    rng = np.random.default_rng(1)
    last = numpy_helper.from_array(rng.standard_normal((96, 16)).astype(np.float32), "last")
    longer = onnx.load_model_from_string(model)
    longer.graph.initializer.append(last)
    longer.graph.node.append(helper.make_node("MatMul", ["y", "last"], ["z"]))
    longer.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 16]))
    graph = onnx.load_model_from_string(with_precision(longer.SerializeToString(), "int8")).graph
    stored = {tensor.name for tensor in graph.initializer}
    assert {"weight_int8", "last_float16"} <= stored
    assert "weight_float16" not in stored  # alone it is all that there is: too much
