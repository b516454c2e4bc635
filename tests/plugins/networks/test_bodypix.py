import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from taskodec.errors import WeightsError
from taskodec.plugins.networks.bodypix import LEVELS
from taskodec.plugins.networks.segmenters import load_semseg


@pytest.fixture
def file(tmp_path):
    """A graph with BodyPix's names, whose person is where red is above a half."""
    steps = [("input_first", LEVELS[0], 4), (LEVELS[0], LEVELS[1], 2), (LEVELS[1], LEVELS[2], 2)]
    eye = torch.eye(3).view(3, 3, 1, 1).numpy()
    weights = [numpy_helper.from_array(eye, "eye")]
    weights.append(numpy_helper.from_array(torch.tensor([[9.0], [0], [0]]).T.reshape(1, 3, 1, 1).numpy(), "red"))
    nodes = [helper.make_node("Transpose", ["input"], ["input_first"], perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("Conv", [x, "eye"], [y], strides=[s, s], auto_pad="SAME_UPPER", kernel_shape=[1, 1])
        for x, y, s in steps
    ]
    nodes.append(helper.make_node("Conv", [LEVELS[2], "red"], ["score"]))
    nodes.append(helper.make_node("Transpose", ["score"], ["segments"], perm=[0, 2, 3, 1]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])
        for name, shape in (("input", ["h", "w", 3]), ("segments", ["a", "b", 1]))
    ]
    graph = helper.make_graph(nodes, "bodypix", ends[:1], ends[1:], initializer=weights)
    path = tmp_path / "bodypix.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=8), path)
    return path


@pytest.fixture
def x():
    """Red on the left of a picture."""
    x = torch.zeros(1, 3, 100, 180)
    x[:, 0, :, :90] = 1
    return x


def test_cells_lie_on_every_16th_pixel_and_persons_where_they_are(file, x):
    task = load_semseg("bodypix", file, loss="outputs")
    assert task.look(x).shape == (1, 3, 513, 513)
    classes = task.classes(x)
    assert classes.shape == (1, 100, 180)
    assert float((classes[0, :, :86] == 1).float().mean()) == 1
    assert float((classes[0, :, 94:] == 0).float().mean()) == 1
    own = load_semseg("bodypix", file, loss="outputs", input="picture")
    ramp = torch.linspace(0, 1, 161).expand(1, 3, 65, 161)
    scores = own.network.outputs(ramp)
    assert torch.allclose(scores[0, 1], 9 * (2 * ramp[0, 0] - 1), atol=1e-4)  # no shift anywhere
    assert own.network.outputs(ramp[..., :50, :150]).shape == (1, 2, 50, 150)


def test_it_is_a_network_of_semseg_with_two_classes(file, x):
    task = load_semseg("bodypix", file, loss="outputs")
    x_hat = (0.6 * x + 0.1).requires_grad_()
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-5)
    task.loss(x_hat, reference).backward()
    assert float(x_hat.grad.abs().sum()) > 0
    assert [level.shape[1:] for level in task.network.features(task.look(x))] == [
        (3, 129, 129),
        (3, 65, 65),
        (3, 33, 33),
    ]
    assert task.findings(x).names == ("background", "person")
    table = task.evaluator().table
    assert (table[0].item(), table[1].item(), table[18].item()) == (255, 1, 0)  # nothing, a person, a dog


def test_without_its_file_the_error_says_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"MobileNetV1-x050-stride16\.onnx \(SHA-256 f2e51d18"):
        load_semseg("bodypix", offline=True)
