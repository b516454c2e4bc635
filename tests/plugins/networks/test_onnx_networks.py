import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from taskodec.errors import UsageError
from taskodec.plugins.networks.detectors import load_det
from taskodec.plugins.networks.imagenet import load_cls
from taskodec.plugins.networks.segmenters import load_semseg

MEAN, STD = (1.0, 2.0, 3.0), (2.0, 4.0, 5.0)


def write(path, channels, size, tail, layout="nchw"):
    """A graph: a convolution with stride 4 called `middle`, then `tail`, nodes from `middle` to `y`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Conv2d(3, channels, 4, 4)
    weights = [numpy_helper.from_array(value.detach().numpy(), name) for name, value in conv.named_parameters()]
    weights.append(helper.make_tensor("flat", TensorProto.INT64, [3], [1, channels, -1]))
    nodes, x = [], "x"
    if layout == "nhwc":
        nodes, x = [helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2])], "turned"
    nodes.append(helper.make_node("Conv", [x, "weight", "bias"], ["middle"], strides=[4, 4]))
    shape = [1, 3, *size] if layout == "nchw" else [1, *size, 3]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"y{i}" for i in range(4 if tail == MAP else 3)])]
    if tail == POOL:
        outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels])]
    graph = helper.make_graph([*nodes, *tail], "test", ends, outs, initializer=weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return conv.eval().requires_grad_(False)


POOL = [
    helper.make_node("GlobalAveragePool", ["middle"], ["pooled"]),
    helper.make_node("Flatten", ["pooled"], ["scores"]),
    helper.make_node("Softmax", ["scores"], ["y"], axis=1),
]
MAP = [helper.make_node("Identity", ["middle"], ["y"])]
ANCHORS = [helper.make_node("Reshape", ["middle", "flat"], ["y"])]


@pytest.fixture
def x():
    return torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def prepared(x, order=slice(None)):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (255 * x[:, order] - mean) / std


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_classifier_sees_what_its_options_say(tmp_path, x, layout):
    conv = write(tmp_path / "net.onnx", 5, (16, 24), POOL, layout)
    options = {"features": ["middle"], "channels": "bgr", "white": 255, "mean": MEAN, "std": STD, "layout": layout}
    options |= {"size": [16, 24], "probabilities": True}
    task = load_cls(f"onnx:{tmp_path / 'net.onnx'}", onnx=options)
    middle = conv(prepared(x, [2, 1, 0]))
    assert torch.allclose(task.network.features(x)[0], middle, atol=1e-3)
    assert torch.allclose(task.network.outputs(x).softmax(1), middle.mean((2, 3)).softmax(1), atol=1e-5)
    assert task.network.features(torch.cat([x, x]))[0].shape == (2, 5, 4, 6)
    large = nn.functional.interpolate(x, scale_factor=2)
    assert task.prepare(large).features[0].shape == (1, 5, 4, 6)


def test_a_segmenter_gives_scores_of_the_pictures_pixels(tmp_path, x):
    conv = write(tmp_path / "net.onnx", 5, ("h", "w"), MAP)
    options = {"stride": 8, "white": 255, "mean": MEAN, "std": STD}
    task = load_semseg(f"onnx:{tmp_path / 'net.onnx'}", loss="outputs", onnx=options)
    expected = nn.functional.interpolate(conv(prepared(x)), scale_factor=4, mode="bilinear", align_corners=False)
    assert torch.allclose(task.network.outputs(x), expected, atol=1e-3)
    narrow = x[..., :20]
    assert task.look(narrow).shape == (1, 3, 16, 24)
    assert torch.equal(task.classes(narrow)[..., :14], expected.argmax(1)[..., :14])
    assert task.classes(x[..., :13, :21]).shape == (1, 13, 21)
    x_hat = (0.9 * x).requires_grad_()
    task.loss(x_hat, task.prepare(x)).backward()
    assert float(x_hat.grad.abs().sum()) > 0


def test_a_detectors_boxes_are_turned_into_the_pictures_pixels(tmp_path, x):
    conv = write(tmp_path / "net.onnx", 4 + 1 + 3, (32, 32), ANCHORS)
    options = {"size": [32, 32], "boxes": "cxcywh", "objectness": True, "anchors_last": True, "features": ["middle"]}
    task = load_det(f"onnx:{tmp_path / 'net.onnx'}", onnx={**options, "grey": 0.5})
    wide = nn.functional.interpolate(x, (21, 32), mode="bilinear", antialias=True, align_corners=False)
    raw = conv(nn.functional.pad(wide, (0, 0, 0, 11), value=0.5)).flatten(2).transpose(1, 2)
    found = task.network.outputs(task.look(x))
    left = raw[..., 0] - raw[..., 2] / 2
    assert torch.allclose(found[..., 0], left, atol=1e-5)
    assert torch.allclose(found[..., 4:], raw[..., 4:5] * raw[..., 5:], atol=1e-5)
    seen, objects = task.network.detect(task.look(x)), task.detect(x)
    assert torch.allclose(objects.boxes, (seen.boxes * 24 / 32).clamp(max=torch.tensor([24.0, 16, 24, 16])), atol=0.3)
    assert set(objects.categories.tolist()) <= {1, 2, 3}


def test_without_features_the_error_says_how_to_name_them(tmp_path, x):
    write(tmp_path / "net.onnx", 5, (16, 24), POOL)
    with pytest.raises(UsageError, match=r"'cls': .*net\.onnx: name the tensors .*task\.options\.onnx\.features"):
        load_cls(f"onnx:{tmp_path / 'net.onnx'}", onnx={"size": [16, 24]})


@pytest.mark.parametrize(
    ("load", "channels", "tail", "figure"),
    [
        (load_cls, 5, POOL, "top1_agreement"),
        (load_semseg, 5, MAP, "pixel_agreement"),
        (load_det, 4 + 3, ANCHORS, "objects_kept"),
    ],
)
def test_outputs_alone_are_enough_for_loss_and_figures(tmp_path, x, load, channels, tail, figure):
    write(tmp_path / "net.onnx", channels, (16, 24), tail)
    options = {"size": [16, 24], "anchors_last": load is load_det}
    task = load(f"onnx:{tmp_path / 'net.onnx'}", loss="outputs", onnx=options)
    x_hat = (0.9 * x).requires_grad_()
    task.loss(x_hat, task.prepare(x)).backward()
    assert float(x_hat.grad.abs().sum()) > 0
    assert set(task.metrics(x_hat.detach(), x)) == {figure}
    named = load(f"onnx:{tmp_path / 'net.onnx'}", loss="outputs", onnx={**options, "features": ["middle"]})
    assert set(named.metrics(x_hat.detach(), x)) == {figure, "feature_distance"}


@pytest.mark.parametrize(
    ("load", "other"), [(load_cls, "resnet50"), (load_semseg, "espnetv2"), (load_det, "fastestdet")]
)
def test_options_for_other_networks_are_refused(load, other):
    with pytest.raises(UsageError, match=rf"task\.options\.onnx is for networks onnx:FILE, not for '{other}'"):
        load(other, onnx={"size": [16, 24]})
    with pytest.raises(UsageError, match=r"onnx:net\.onnx has its weights in the file"):
        load("onnx:net.onnx", weights="other.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 1}, r"onnx\.layer = 1: .*valid keys: features, output"),
        ({"channels": "gbr"}, r"onnx\.channels = 'gbr': .*'rgb' or 'bgr'"),
        ({"size": [0, 4]}, r"onnx\.size\.0 = 0"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        load_det("onnx:net.onnx", onnx=options)


def test_features_of_a_graph_of_one_size_are_compared_at_others(tmp_path, x):
    conv = write(tmp_path / "net.onnx", 7, (32, 32), ANCHORS)
    options = {"features": ["middle"], "stride": 4}
    name = f"onnx:{tmp_path / 'net.onnx'}"
    task = load_det(name, onnx=options, input={"scale": 0.5})
    seen = task.look(x)
    assert seen.shape == (1, 3, 8, 12)
    assert torch.allclose(task.prepare(x).features[0], conv(seen), atol=1e-5)
    with pytest.raises(UsageError, match="takes 32x32 pixels only, but for its features, and is shown 8x12"):
        task.network.outputs(seen)
    with pytest.raises(UsageError, match="takes 32x32 pixels only; let it end there"):
        load_det(name, loss="outputs", onnx=options, input={"scale": 0.5})


def test_features_that_do_not_follow_the_size_are_refused(tmp_path):
    write(tmp_path / "net.onnx", 7, (32, 32), ANCHORS)
    graph = onnx.load(tmp_path / "net.onnx")
    graph.graph.initializer.append(helper.make_tensor("four", TensorProto.INT64, [4], [1, 7, 8, 8]))
    graph.graph.node.insert(1, helper.make_node("Reshape", ["middle", "four"], ["level"]))
    onnx.save(graph, tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="takes 32x32 pixels only; let it end there"):
        load_det(f"onnx:{tmp_path / 'net.onnx'}", onnx={"features": ["level"]}, input={"scale": 0.5})
