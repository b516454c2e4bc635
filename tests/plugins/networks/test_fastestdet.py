import runpy
from pathlib import Path

import pytest
import torch

from taskodec.errors import WeightsError
from taskodec.plugins.networks.fastestdet import FastestDet, fastestdet
from taskodec.tasks.detection import COCO_IDS, Detection

REFERENCE = {
    "keys": "d3b1f2e49282a32f71c6f1ee64b5d2fd87438eb879d3594140f94f06aa6f540f",
    "features": (
        [0.0, 0.0, 0.23075, 0.135003, 0.0509354, 0.166652, 0.299677],
        [0.0, 0.0, 0.0, 0.181897, 0.275729, 0.0670931, 0.129296],
        [0.456487, 0.0, 0.112721, 0.116334, 0.0, 0.0916298, 0.167999],
    ),
    "head": [0.507838, 0.0108273, 0.0102926, 0.0130308, 0.013405, 0.0176058, 0.0611703],
}
"""What the authors' code gives, as tests/reference/README.md says."""


@pytest.fixture(scope="module")
def parity():
    return runpy.run_path(str(Path(__file__).parents[2] / "reference" / "network_parity.py"))


@pytest.fixture(scope="module")
def network(parity):
    return parity["fill"](FastestDet()).requires_grad_(False)


def test_it_has_the_names_and_computes_what_the_authors_code_does(parity, network):
    assert parity["keys"](network) == REFERENCE["keys"]
    heads = []
    hook = network.detect_head.register_forward_hook(lambda module, given, found: heads.append(torch.cat(found, 1)))
    x = parity["picture"](352)
    for level, expected in zip(network.features(x), REFERENCE["features"], strict=True):
        assert parity["summary"](level) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    network.outputs(x)
    hook.remove()
    assert parity["summary"](heads[0]) == pytest.approx(REFERENCE["head"], rel=1e-3, abs=1e-5)


def test_boxes_scores_and_categories_are_decoded(monkeypatch):
    """One sure cell, its neighbour with the same object and less sure, and another category in the same place."""
    objects, boxes = torch.full((1, 1, 22, 22), 1e-5), torch.zeros(1, 4, 22, 22)
    classes = torch.full((1, 80, 22, 22), 1e-5)
    for column, score, category in ((7, 0.5, 79), (8, 0.4, 79), (9, 0.3, 0)):
        objects[0, 0, 5, column] = score
        classes[0, category, 5, column] = 0.8
    network = FastestDet().eval()
    monkeypatch.setattr(network.detect_head, "forward", lambda x: (objects, boxes, classes))
    found = Detection(network, "det").detect(torch.rand(1, 3, 220, 440))
    assert found.categories.tolist() == [COCO_IDS[79], COCO_IDS[0]] == [90, 1]
    assert found.scores.tolist() == pytest.approx([0.5**0.6 * 0.8**0.4, 0.3**0.6 * 0.8**0.4])
    assert found.boxes[0].tolist() == pytest.approx([30, 0, 250, 105])  # 140 ± 110, and 50 ± 55 within the picture
    assert found.masks is None


def test_any_size_of_picture_has_a_gradient(network):
    x = torch.rand(1, 3, 40, 90, generator=torch.Generator().manual_seed(1)).requires_grad_()
    outputs = network.outputs(Detection(network, "det").look(x))
    assert outputs.shape == (1, 22 * 22, 84)
    outputs[..., 4:].amax().backward()
    assert torch.isfinite(x.grad).all()
    assert float(x.grad.abs().sum()) > 0


def test_weights_of_something_else(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth does not fit FastestDet"):
        fastestdet(tmp_path / "other.pth")


def test_a_local_file_is_loaded(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    loaded = fastestdet(tmp_path / "mine.pth")
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())
