import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from taskodec.errors import WeightsError
from taskodec.plugins.networks.detectors import load_det
from taskodec.plugins.networks.yolox import YOLOX_NANO_TENSORS, YoloX
from taskodec.tasks.detection import COCO_IDS, Detection


class Graph:
    """Nodes with random weights, to write a network as ONNX down."""

    def __init__(self):
        self.nodes, self.weights = [], []
        self.generator = torch.Generator().manual_seed(0)

    def constant(self, values):
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(torch.tensor(values).numpy(), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x, output, channels, stride=1, gain=1.0):
        weight = gain * torch.randn(*channels, stride, stride, generator=self.generator) / channels[1] ** 0.5
        return self.node("Conv", [x, self.constant(weight.tolist())], output, strides=[stride, stride])

    def silu(self, x, output):
        return self.node("Mul", [x, self.node("Sigmoid", [x], f"{output}_gate")], output)


@pytest.fixture(scope="session")
def yolox_file(tmp_path_factory):
    """A detector as YOLOX-Nano's file has it, with one layer for each level, for pictures of any size."""
    graph = Graph()
    corners = []
    for column, row in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x = "images"
        for start, axis in ((row, 2), (column, 3)):
            bounds = [graph.constant([value]) for value in (start, 2**60, axis, 2)]
            x = graph.node("Slice", [x, *bounds], f"{x}_{column}{row}{axis}")
        corners.append(x)
    x = graph.node("Concat", corners, YOLOX_NANO_TENSORS.stem, axis=1)
    flat = []
    for i, (feature, level) in enumerate(zip(YOLOX_NANO_TENSORS.features, YOLOX_NANO_TENSORS.levels, strict=True)):
        stride, channels = (4, (6, 12)) if i == 0 else (2, (6, 6))
        x = graph.silu(graph.conv(x, f"conv_{i}", channels, stride, 0.02 if i == 0 else 1), feature)
        parts = [graph.conv(x, f"boxes_{i}", (4, 6), gain=0.2)]
        for name, count in (("object", 1), ("classes", 80)):
            parts.append(graph.node("Sigmoid", [graph.conv(x, f"{name}_{i}", (count, 6))], f"{name}_{i}_sure"))
        graph.node("Concat", parts, level, axis=1)
        flat.append(graph.node("Reshape", [level, graph.constant([1, 85, -1])], f"flat_{i}"))
    graph.node("Transpose", [graph.node("Concat", flat, "all", axis=2)], "output", perm=[0, 2, 1])
    ends = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, "anchors", 85]),
    ]
    made = helper.make_graph(graph.nodes, "tiny", ends[:1], ends[1:], graph.weights)
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def x():
    small = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (64, 96), mode="bicubic").clamp(0, 1)


def test_outputs_are_those_of_the_file_decoded(yolox_file, x):
    network = YoloX(yolox_file)
    session = onnxruntime.InferenceSession(yolox_file)
    raw = torch.from_numpy(session.run(None, {"images": (x.flip(1) * 255).numpy()})[0])[0]
    found = network.outputs(x)[0]
    assert torch.allclose(found[:, 4:], raw[:, 4:5] * raw[:, 5:], atol=1e-5)
    anchor = 8 * 12 + 2 * 6 + 3  # second level: third row, fourth column
    left, top, right, bottom = found[anchor, :4].tolist()
    assert (left + right) / 2 == pytest.approx(float((raw[anchor, 0] + 3) * 16), rel=1e-4)
    assert (top + bottom) / 2 == pytest.approx(float((raw[anchor, 1] + 2) * 16), rel=1e-4)
    assert (right - left, bottom - top) == pytest.approx((raw[anchor, 2:4].exp() * 16).tolist(), rel=1e-4)


def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(yolox_file, x):
    large = torch.nn.functional.interpolate(x, scale_factor=3, mode="bilinear")
    task = Detection(YoloX(yolox_file), "det")
    usual, tripled = (task.detect(v) for v in (x, large))
    assert torch.allclose(tripled.boxes[:3] / 3, usual.boxes[:3], atol=3)
    assert torch.allclose(tripled.scores[:3], usual.scores[:3], atol=0.05)
    assert bool((tripled.boxes[:, 2] > 96).any())


def test_features_have_three_levels_of_what_is_seen(yolox_file, x):
    shapes = [f.shape for f in load_det(weights=yolox_file).prepare(x).features]
    assert shapes == [(1, 6, 52, 52), (1, 6, 26, 26), (1, 6, 13, 13)]
    shapes = [f.shape for f in load_det(weights=yolox_file, input={"scale": 0.4}).prepare(x).features]
    assert shapes == [(1, 6, 4, 8), (1, 6, 2, 4), (1, 6, 1, 2)]


def test_objects_are_found_within_the_picture(yolox_file, x):
    found = Detection(YoloX(yolox_file), "det").detect(x)
    assert len(found.scores) > 0
    assert bool((found.scores.diff() <= 0).all())
    assert set(found.categories.tolist()) <= set(COCO_IDS)
    assert bool((found.boxes >= 0).all())
    assert bool((found.boxes <= torch.tensor([96, 64, 96, 64])).all())


@pytest.mark.parametrize("loss", ["features", "outputs"])
@pytest.mark.parametrize("size", [(1, 1), (37, 150)])
def test_the_task_takes_any_size(yolox_file, loss, size):
    task = load_det(weights=yolox_file, loss=loss)
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    x_hat = (0.8 * x).requires_grad_()
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-5)
    task.loss(x_hat, reference).backward()
    assert bool(torch.isfinite(x_hat.grad).all())
    assert float(x_hat.grad.abs().sum()) > 0


def test_the_default_weighs_levels_by_their_variances(yolox_file):
    task = load_det(weights=yolox_file)
    assert task.layers == pytest.approx([1 / 0.0618, 1 / 0.1536, 1 / 0.2108])
    assert load_det(weights=yolox_file, layers=[1, 2, 3]).layers == [1, 2, 3]


def test_another_graph_is_refused_by_name(yolox_file, tmp_path):
    model = onnx.load(yolox_file)
    for node in model.graph.node:
        node.output[:] = ["other" if name == "input.531" else name for name in node.output]
        node.input[:] = ["other" if name == "input.531" else name for name in node.input]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match=r"other\.onnx has no tensors input\.531: is it the file"):
        load_det(weights=tmp_path / "other.onnx")


def test_without_the_file_the_error_says_what_to_fetch_and_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_det(offline=True)
    for part in ("releases/download/0.1.1rc0/yolox_nano.onnx", "SHA-256 e8af074932d4", str(tmp_path / "hub")):
        assert part in str(caught.value)
