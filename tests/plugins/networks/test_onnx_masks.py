import onnx
import pytest
import torch
from onnx import helper
from torch.nn import functional as F
from torchvision.ops import box_convert
from yolo_graphs import CLASSES, YoloGraph

from taskodec.errors import UsageError
from taskodec.plugins.networks.detectors import load_det, load_seg
from taskodec.plugins.networks.onnx_networks import OnnxDetector
from taskodec.tasks.detection import Detection

YOLO8 = {"turned": True}


def keep_ends(path, names):
    """Make these tensors the graph's outputs."""
    model = onnx.load(path)
    known = {end.name: end for end in (*model.graph.output, *onnx.shape_inference.infer_shapes(model).graph.value_info)}
    del model.graph.output[:]
    model.graph.output.extend(known[name] for name in names)
    onnx.save(model, path)


LAYOUTS = {
    "v8": (YoloGraph(), YOLO8, {}),
    "v8, prototypes first, other names": (YoloGraph(), {**YOLO8, "first": "prototypes", "names": ("a", "b")}, {}),
    "v8, rows last": (YoloGraph(), {}, {}),
    "v5": (YoloGraph(anchors=3), {}, {}),
    "v5, channels last, parts of the picture": (YoloGraph(3, relative=True), {"nhwc": True}, {"layout": "nhwc"}),
    "v5, square": (YoloGraph(3, size=(64, 64)), {"names": ("output", "516")}, {}),
}


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    graph, written, options = LAYOUTS[request.param]
    return graph, f"onnx:{graph.write(tmp_path / 'net.onnx', **written)}", options


@pytest.fixture
def x():
    return torch.rand(1, 3, 50, 80, generator=torch.Generator().manual_seed(0))


def test_every_layout_of_the_family_is_read_from_what_the_graph_gives(layout, x):
    graph, network, options = layout
    task = load_seg(network, loss="outputs", onnx=options)
    seen = task.look(x)
    assert seen.shape[2:] == graph.size
    boxes, scores, _, _ = graph(seen)
    expected = torch.cat([box_convert(boxes, "cxcywh", "xyxy"), scores], -1)
    assert torch.allclose(task.network.outputs(seen), expected, atol=1e-4)


def test_masks_are_prototypes_by_coefficients_inside_of_boxes(layout, x):
    graph, network, options = layout
    task = load_seg(network, loss="outputs", onnx=options)
    seen = task.look(x)
    boxes, scores, coefficients, prototypes = graph(seen)
    found = task.network.detect(seen)
    assert found.masks.shape[1:] == graph.size
    corners = box_convert(boxes[0], "cxcywh", "xyxy")
    best, which = scores[0].max(1)
    for number in range(len(found.boxes)):
        away = (corners.clamp(min=0) - found.boxes[number]).abs()[:, :2].sum(1) + (best - found.scores[number]).abs()
        anchor = int(away.argmin())
        assert int(found.categories[number]) == int(which[anchor]) + 1
        values = (coefficients[0, anchor][:, None, None] * prototypes[0]).sum(0)
        whole = F.interpolate(values[None, None], graph.size, mode="bilinear", align_corners=False)[0, 0]
        left, top, right, bottom = corners[anchor].tolist()
        rows, columns = torch.arange(graph.size[0])[:, None], torch.arange(graph.size[1])[None]
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        assert float(((whole > 0) & inside != found.masks[number]).float().mean()) < 2e-3
    assert task.detect(x).masks.shape[1:] == x.shape[2:]


def test_the_loss_is_zero_at_the_original_and_masks_are_part_of_it(layout, x):
    _, network, options = layout
    task = load_seg(network, loss="outputs", onnx=options)
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-5)
    x_hat = (0.7 * x).requires_grad_()
    loss = task.loss(x_hat, reference)
    loss.backward()
    assert bool(x_hat.grad.isfinite().all())
    assert float(x_hat.grad.abs().sum()) > 0
    alone = Detection.divergence(task, task.look(x_hat.detach()), reference.outputs)
    assert float(loss.detach()) > float(alone) > 0
    more = task.batch_loss(torch.cat([x, x_hat.detach()]), [reference, reference])
    assert torch.allclose(more, torch.tensor([0.0, float(loss.detach())]), atol=1e-5)


def test_places_have_the_certainty_of_their_own_anchors(tmp_path, x, monkeypatch):
    monkeypatch.setattr("taskodec.plugins.networks.onnx_masks.PLACES", 5)
    task = load_seg(f"onnx:{YoloGraph().write(tmp_path / 'net.onnx', **YOLO8)}", loss="outputs")
    reference = task.prepare(x).outputs
    best = reference.outputs[0, :, 4:].amax(1).sort(descending=True).values
    assert torch.equal(task.network.certainty(reference.outputs, reference.proposals), best[:5])
    assert reference.masks.shape == (5, 28, 28)


def test_pictures_are_shown_in_the_middle_of_grey_at_the_familys_size(tmp_path, x):
    graph = YoloGraph(size=None)
    task = load_seg(f"onnx:{graph.write(tmp_path / 'net.onnx', **YOLO8)}", loss="outputs")
    assert task.look(x).shape == (1, 3, 640, 640)
    told = load_seg(
        f"onnx:{graph.write(tmp_path / 'told.onnx', written={'imgsz': [96, 128]}, **YOLO8)}", loss="outputs"
    )
    seen = told.look(x)
    assert seen.shape == (1, 3, 96, 128)
    assert torch.allclose(seen[:, :, :8], torch.tensor(114 / 255))
    assert torch.allclose(seen[:, :, -8:], torch.tensor(114 / 255))
    assert float(seen[:, :, 8:-8].std()) > 0.1
    own = load_seg(f"onnx:{tmp_path / 'told.onnx'}", loss="outputs", input="picture")
    assert own.look(x).shape == (1, 3, 64, 96)  # multiples of 32


def test_options_say_what_the_graph_cannot(tmp_path, x):
    graph = YoloGraph(size=None)  # whose boxes lie at the corner, so that they look like corners or parts
    options = {"size": [64, 96], "boxes": "cxcywh", "relative": False, "objectness": False, "anchors_last": True}
    task = load_seg(f"onnx:{graph.write(tmp_path / 'net.onnx', **YOLO8)}", loss="outputs", onnx=options)
    boxes, _, _, _ = graph(task.look(x))
    assert torch.allclose(task.network.outputs(task.look(x))[..., :4], box_convert(boxes, "cxcywh", "xyxy"), atol=1e-4)


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ({"names": {0: "owl", 1: "lark", 2: "wren"}}, {"owl", "lark", "wren"}),
        ({}, {"category 1", "category 2", "category 3"}),  # and not COCO's person, bicycle, car
    ],
)
def test_findings_have_the_names_that_the_exporter_wrote(tmp_path, x, written, labels):
    task = load_seg(f"onnx:{YoloGraph().write(tmp_path / 'net.onnx', written=written, **YOLO8)}", loss="outputs")
    found = task.findings(x).found
    assert found
    assert {one.label for one in found} <= labels
    assert found[0].mask.shape == x.shape[2:]


def test_for_det_the_same_file_gives_boxes_without_coefficients(tmp_path, x):
    path = YoloGraph().write(tmp_path / "net.onnx", **YOLO8)
    task = load_det(f"onnx:{path}", loss="outputs")
    assert task.network.outputs(task.look(x)).shape[2] == 4 + CLASSES
    assert float(task.loss(x, task.prepare(x))) == pytest.approx(0, abs=1e-5)


def test_an_objectness_is_known_by_the_number_of_names(tmp_path, x):
    path = YoloGraph().write(tmp_path / "net.onnx", written={"names": ["owl", "lark"]}, **YOLO8)
    network = load_seg(f"onnx:{path}", loss="outputs").network
    assert network.outputs(x.new_zeros(1, 3, 64, 96)).shape[2] == 4 + 2


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"),
    [("TopK", ["raw", "one"], ["best", "places"]), ("NonMaxSuppression", ["boxes", "raw"], ["best"])],
)
def test_graphs_that_choose_objects_are_refused(tmp_path, kind, inputs, outputs):
    path = YoloGraph().write(tmp_path / "chosen.onnx", more=[helper.make_node(kind, inputs, outputs)])
    with pytest.raises(UsageError, match=rf"chosen\.onnx chooses objects itself \({kind}\).*nms=False"):
        load_seg(f"onnx:{path}", loss="outputs")


def test_what_cannot_be_read_says_what_to_name(tmp_path):
    path = YoloGraph().write(tmp_path / "net.onnx", **YOLO8)
    with pytest.raises(UsageError, match=r"net\.onnx gives 4 numbers of an object, and 4 prototypes.*anchors_last"):
        load_seg(f"onnx:{path}", loss="outputs", onnx={"output": "boxes", "anchors_last": False})
    with pytest.raises(UsageError, match=r"prototypes \[1, 126, 3\], expected 3 and 4 axes: name the right outputs"):
        load_seg(f"onnx:{path}", loss="outputs", onnx={"prototypes": "scores"})
    with pytest.raises(UsageError, match=r"are both 'output1'; name two tensors"):
        load_seg(f"onnx:{path}", loss="outputs", onnx={"output": "output1", "prototypes": "output1"})


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (("output0",), r"has the outputs output0, and none that are masks for certain.*or take it for task 'det'"),
        (("output0", "output1", "level0"), r"outputs output0, output1, level0, .*name the prototypes"),
    ],
)
def test_without_certain_prototypes_the_error_says_how_to_name_them(tmp_path, x, ends, message):
    path = YoloGraph().write(tmp_path / "net.onnx", **YOLO8)
    keep_ends(path, ends)
    with pytest.raises(UsageError, match=message):
        load_seg(f"onnx:{path}", loss="outputs")
    if len(ends) > 1:
        task = load_seg(f"onnx:{path}", loss="outputs", onnx={"prototypes": "output1"})
        assert task.detect(x).masks.shape[1:] == x.shape[2:]
    else:
        assert type(load_det(f"onnx:{path}", loss="outputs", onnx={"anchors_last": True}).network) is OnnxDetector


def test_a_picture_without_objects_has_no_masks(tmp_path, x, monkeypatch):
    monkeypatch.setattr("taskodec.plugins.networks.boxes.MIN_SCORE", 1.1)
    task = load_seg(f"onnx:{YoloGraph().write(tmp_path / 'net.onnx', **YOLO8)}", loss="outputs")
    assert task.detect(x).masks.shape == (0, 50, 80)
    assert task.findings(x).found == []
    assert task.metrics(x, x)["objects_kept"] == 1
