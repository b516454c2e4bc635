import importlib.util
import pickle
import warnings

import pytest
import torch

from taskodec.errors import UsageError, WeightsError
from taskodec.plugins.networks import detectron2_networks
from taskodec.plugins.networks.detectors import load_det, load_detector, load_seg
from taskodec.settings.model import load_settings

HERE = importlib.util.find_spec("detectron2") is not None
needs_detectron2 = pytest.mark.skipif(not HERE, reason="detectron2 is not installed: it is built from its source")

CONFIG = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], POST_NMS_TOPK_TEST: 20}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5], SCORE_THRESH_TEST: 0.0}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 32, POOLER_RESOLUTION: 7}
  ROI_MASK_HEAD: {NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 1, CONV_DIM: 16, POOLER_RESOLUTION: 14}
  MASK_ON: true
INPUT: {MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 128, FORMAT: BGR}
DATASETS: {TEST: [coco_2017_val]}
VERSION: 2
"""


@pytest.mark.skipif(HERE, reason="detectron2 is installed")
def test_without_detectron2_the_error_says_where_it_is_from():
    with pytest.raises(UsageError, match=r"detectron2:COCO-Detection/x\.yaml needs detectron2 .*tutorials/install"):
        load_detector("detectron2:COCO-Detection/x.yaml")


def built(config):
    """detectron2's model of a configuration, with random weights."""
    from detectron2.modeling import build_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model(detectron2_networks._settings(str(config)))


@pytest.fixture
def files(tmp_path):
    """A configuration of a small Mask R-CNN, and random weights of it."""
    warnings.simplefilter("ignore")
    (tmp_path / "small.yaml").write_text(CONFIG)
    model, generator = built(tmp_path / "small.yaml"), torch.Generator().manual_seed(0)
    for name in ("cls_score", "bbox_pred"):
        torch.nn.init.normal_(getattr(model.roi_heads.box_predictor, name).weight, std=0.05, generator=generator)
    torch.save({"model": model.state_dict()}, tmp_path / "small.pth")
    return f"detectron2:{tmp_path / 'small.yaml'}", tmp_path / "small.pth"


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loss", ["features", "outputs"])
@pytest.mark.parametrize("load", [load_det, load_seg])
def test_a_configuration_becomes_a_task(files, loss, load):
    task = load(files[0], files[1], loss=loss)
    x = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-3)
    x_hat = (1 - x).requires_grad_()
    task.loss(x_hat, reference).backward()
    assert bool(torch.isfinite(x_hat.grad).all())
    assert float(x_hat.grad.abs().sum()) > 0


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_objects_and_features_are_detectron2s(files):
    network = load_detector(*files).eval()
    x = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shapes = [tuple(f.shape) for f in network.features(x)]
        found, anchors = network.detect(x), network.outputs(x)[0]
    assert shapes == [(1, 16, 16, 24), (1, 16, 8, 12), (1, 16, 4, 6), (1, 16, 2, 3), (1, 16, 1, 2)]
    assert found.masks.shape == (len(found.scores), 50, 70)
    assert set(found.categories.tolist()) <= set(range(1, 91))
    boxes = anchors[:, :4].clamp(min=0).minimum(torch.tensor([70.0, 50, 70, 50]))
    same = ((boxes - found.boxes[0]).abs().amax(1) < 0.1) & ((anchors[:, 4:].amax(1) - found.scores[0]).abs() < 1e-3)
    assert bool(same.any())


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_weights_may_be_a_pickle_as_the_model_zoo_has_them(files, tmp_path):
    state = torch.load(files[1], weights_only=True)["model"]
    content = {"model": {name: value.numpy() for name, value in state.items()}, "__author__": "somebody"}
    (tmp_path / "small.pkl").write_bytes(pickle.dumps(content, 2))
    found = load_detector(files[0], tmp_path / "small.pkl").model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_a_configuration_may_name_its_weights(files, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    file = tmp_path / "small.yaml"
    with pytest.raises(WeightsError, match=r"detectron2-small are published nowhere: .*task\.options\.weights=PATH"):
        load_detector(files[0])
    file.write_text(CONFIG.replace("  MASK_ON: true", f"  MASK_ON: true\n  WEIGHTS: {files[1]}"))
    state = torch.load(files[1], weights_only=True)["model"]
    found = load_detector(files[0]).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    file.write_text(CONFIG.replace("  MASK_ON: true", "  MASK_ON: true\n  WEIGHTS: detectron2://none/x.pkl"))
    with pytest.raises(WeightsError, match=r"https://dl\.fbaipublicfiles\.com/detectron2/none/x\.pkl"):
        load_detector(files[0])


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_weights_that_leave_a_part_random_are_refused(files, tmp_path):
    state = torch.load(files[1], weights_only=True)["model"]
    state["roi_heads.box_head.fc1.bias"] = torch.zeros(3)
    del state["roi_heads.mask_head.predictor.weight"]
    torch.save({"model": state}, tmp_path / "less.pth")
    wanted = rf"less\.pth does not fit .*lacks 2 of {len(state) + 1} tensors.*box_head\.fc1\.bias, roi_heads\.mask_head"
    with pytest.raises(WeightsError, match=wanted):
        load_detector(files[0], tmp_path / "less.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(WeightsError, match=r"noise\.pth cannot be read as weights"):
        load_detector(files[0], tmp_path / "noise.pth")


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(50, 70), (91, 40), (30, 200)])
def test_pictures_are_scaled_as_detectron2_does(files, size):
    from detectron2.data.transforms import ResizeShortestEdge

    network = load_detector(*files)
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).mul(255).round()
    resize = ResizeShortestEdge([network.shortest] * 2, network.longest)
    picture = x[0].permute(1, 2, 0).byte().numpy()[:, :, ::-1]  # (3, H, W) -> (H, W, 3) in BGR
    wanted = torch.from_numpy(resize.get_transform(picture).apply_image(picture.copy())).permute(2, 0, 1)
    found = network._pictures(x / 255)[0]
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1  # Pillow rounds, twice


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_configuration_says_so():
    with pytest.raises(UsageError, match="neither a file nor in detectron2's model zoo"):
        load_detector("detectron2:COCO-Detection/none.yaml")
    with pytest.raises(UsageError, match=r"mask_rcnn_R_50_FPN_50ep_LSJ\.py: a configuration in Python is not read"):
        load_detector("detectron2:new_baselines/mask_rcnn_R_50_FPN_50ep_LSJ.py")


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_networks_of_other_kinds_have_features_or_are_refused(files, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text(CONFIG.replace("GeneralizedRCNN", "ProposalNetwork"))
    with pytest.raises(UsageError, match="ProposalNetwork, which finds no objects"):
        load_detector(*files)
    small.write_text(
        CONFIG.replace("StandardROIHeads", "CascadeROIHeads").replace("NUM_FC", "CLS_AGNOSTIC_BBOX_REG: true, NUM_FC")
    )
    state = built(small).state_dict()
    torch.save({"model": state}, files[1])
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    task = load_det(*files)
    assert float(task.loss(0.5 * x, task.prepare(x))) > 0
    with pytest.raises(UsageError, match=r"no second stage as Faster R-CNN's .*task\.options\.loss=features"):
        load_det(*files, loss="outputs").prepare(x)


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
def test_the_loss_on_features_may_see_the_picture_at_its_own_size(files):
    network = load_det(*files, feature_scale=1).network
    x = torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    shapes = [tuple(f.shape[2:]) for f in network.features(x)]
    assert shapes == [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]
    seen = network._see(x, 1)[0].tensor[0]  # detectron2's own: BGR, 0 to 255, its mean and deviation
    assert torch.allclose(seen, (255 * x[0].flip(0) - network.model.pixel_mean) / network.model.pixel_std, atol=1e-3)


@needs_detectron2
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("preset", ["det-closed", "seg-closed", "pointrend-open"])
def test_the_papers_networks_have_a_loss_a_gradient_and_objects(preset, tmp_path):
    """With random weights, at full size: what the presets of the paper name is built, tuned for and judged."""
    options = dict(load_settings([f"taskodec:paper/{preset}"]).task.options)
    model, generator = built(options["network"].removeprefix("detectron2:")), torch.Generator().manual_seed(0)
    sure = model.roi_heads.box_predictor.cls_score.weight
    torch.nn.init.normal_(sure, std=0.5, generator=generator)  # enough to find something
    state = model.state_dict()
    state |= {name: value / 1000 for name, value in state.items() if "fpn_output" in name}  # features of usual size
    torch.save({"model": state}, tmp_path / "weights.pth")
    load = load_det if preset.startswith("det") else load_seg
    task = load(**options, weights=tmp_path / "weights.pth")
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    x_hat = (0.9 * x).requires_grad_()
    loss = task.loss(x_hat, task.prepare(x))
    loss.backward()
    levels = [((a - b) ** 2).mean() for a, b in zip(*map(task.network.features, (x_hat, x)), strict=True)]
    assert float(loss) == pytest.approx(
        (0.02 if preset.startswith("pointrend") else 0.2) * float(sum(levels)), rel=1e-4
    )
    assert len(levels) == 5
    assert float(x_hat.grad.abs().sum()) > 0
    task.network.model.roi_heads.box_predictor.test_topk_per_image = 5  # which saves most of the time
    found = task.network.detect(x)
    assert 0 < len(found.scores) <= 5
    assert preset.startswith("det") or found.masks.shape == (len(found.scores), 64, 96)
    record = task.evaluator().observe("a", x_hat.detach(), x)
    assert set(record) == {"self"}
