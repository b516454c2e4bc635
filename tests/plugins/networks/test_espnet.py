import runpy
from pathlib import Path

import pytest
import torch

from taskodec.errors import WeightsError
from taskodec.plugins.networks.espnet import WIDTHS, ESPNetV2, espnet
from taskodec.plugins.networks.inputs import put_input
from taskodec.tasks.semantic import Semantic

REFERENCE = {
    256: (
        "ffbbfa9d8d4e6214b8d0c66641b886c8cdd63e9597c615ed13ce4caf86ff989c",
        [-0.0847555, 0.301642, -0.252402, -0.434781, 0.488956, 0.00675154, 0.32119],
    ),
    512: (
        "f82a5e455fd35b03c67f53b90521db75ed0b64b262e4285bd951d0d79d56b237",
        [-0.133732, 0.572733, 0.52226, -0.00500324, -0.0945225, 0.0615333, 0.51408],
    ),
}
"""Names, and scores, of the authors' code, as tests/reference/README.md says."""


@pytest.fixture(scope="module")
def parity():
    return runpy.run_path(str(Path(__file__).parents[2] / "reference" / "network_parity.py"))


@pytest.fixture(scope="module")
def network(parity):
    return parity["fill"](ESPNetV2(WIDTHS[256])).requires_grad_(False)


@pytest.mark.parametrize("width", REFERENCE)
def test_it_has_the_names_and_computes_what_the_authors_code_does(parity, width):
    network = parity["fill"](ESPNetV2(WIDTHS[width]))
    keys, scores = REFERENCE[width]
    assert parity["keys"](network) == keys
    with torch.no_grad():
        assert parity["summary"](network.outputs(parity["picture"](384))) == pytest.approx(scores, rel=1e-3, abs=1e-5)


def test_scores_have_the_size_of_the_picture_and_a_gradient(network):
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)).requires_grad_()
    scores = network.outputs(x)
    assert scores.shape == (1, 21, 64, 96)
    scores.square().mean().backward()
    assert torch.isfinite(x.grad).all()
    assert float(x.grad.abs().sum()) > 0


def test_features_are_the_levels_of_the_encoder(network):
    levels = network.features(Semantic(network, "semseg").look(torch.rand(1, 3, 64, 90)))
    assert [tuple(level.shape) for level in levels] == [
        (1, channels, side, side) for channels, side in zip(WIDTHS[256], (192, 96, 48, 24), strict=True)
    ]
    assert len(network.variances) == len(levels)


@pytest.mark.parametrize(("side", "scale", "seen"), [(256, 0.75, 192), (256, 0.8, 224), (40, 0.1, 32)])
def test_with_a_scale_it_sees_every_picture_scaled_to_multiples_of_32(side, scale, seen):
    task = Semantic(ESPNetV2(WIDTHS[256]), "semseg")
    put_input(task.network, "espnetv2", {"scale": scale})
    levels = task.network.features(task.look(torch.rand(1, 3, side, 2 * side)))
    wide = -(-round(2 * side * scale) // 32) * 32
    assert tuple(levels[0].shape[2:]) == (seen // 2, wide // 2)
    assert task.classes(torch.rand(1, 3, side, side)).shape == (1, side, side)


def test_a_local_file_tells_its_size(tmp_path, parity):
    state = parity["fill"](ESPNetV2(WIDTHS[512])).state_dict()
    torch.save(state, tmp_path / "mine.pth")
    loaded = espnet(tmp_path / "mine.pth").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())


def test_weights_of_something_else(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth does not fit ESPNetV2.*valid: espnetv2_s_1\.0_pascal_384x384"):
        espnet(tmp_path / "other.pth")
