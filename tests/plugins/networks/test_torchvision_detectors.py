import pytest
import torch
import torchvision
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD

from taskodec.errors import UsageError
from taskodec.plugins.networks import torchvision_detectors
from taskodec.plugins.networks.detectors import load_det
from taskodec.plugins.networks.torchvision_detectors import DETECTORS, MASK_DETECTORS, torchvision_detector
from taskodec.tasks.detection import Detection, InstanceSegmentation


class Backbone(torch.nn.Module):
    """Two levels of 32 channels."""

    out_channels = 32

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 32, 8, 8), torch.nn.Conv2d(32, 32, 2, 2)

    def forward(self, x):
        first = self.first(x)
        return {"0": first, "1": self.second(first)}


SIZES = {"min_size": 64, "max_size": 128}
ANCHORS = ((16,), (32,))


def small(kind):
    """A detector as torchvision has it, with random weights and four classes."""
    if kind is SSD:
        boxes = DefaultBoxGenerator([[2], [2]])
        backbone = Backbone()
        backbone.out_channels = [32, 32]
        return SSD(backbone, boxes, (64, 64), 4, image_mean=[0.0] * 3, image_std=[1.0] * 3, score_thresh=0)
    if kind is MaskRCNN:
        levels = AnchorGenerator(ANCHORS, ((1.0,),) * 2)
        pools = [torchvision.ops.MultiScaleRoIAlign(["0", "1"], size, 2) for size in (7, 14)]
        options = {"box_roi_pool": pools[0], "mask_roi_pool": pools[1], "box_score_thresh": 0}
        return MaskRCNN(Backbone(), 4, rpn_anchor_generator=levels, **options, **SIZES)
    ratios = ((1.0,), (1.0,)) if kind is FCOS else ((0.5, 1.0, 2.0),) * 2
    return kind(Backbone(), 4, anchor_generator=AnchorGenerator(ANCHORS, ratios), score_thresh=0, **SIZES)


@pytest.fixture(params=[RetinaNet, FCOS, SSD, MaskRCNN], ids=lambda kind: kind.__name__)
def network(request, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = small(request.param)
        for parameter in model.parameters():
            parameter.data.copy_(0.1 * torch.randn_like(parameter))
    monkeypatch.setattr(torchvision_detectors, "PLACES", 20)
    monkeypatch.setattr(torchvision_detectors, "torchvision_model", lambda *args, **options: model)
    return torchvision_detector(request.node.name).eval()


@pytest.fixture
def x():
    return torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(0))


def task_of(network, loss):
    kind = InstanceSegmentation if hasattr(network, "outputs_and_masks") else Detection
    return kind(network, "t", loss=loss)


@pytest.mark.parametrize("loss", ["features", "outputs"])
def test_losses_are_zero_at_the_original_and_reach_the_picture(network, loss, x):
    task = task_of(network, loss)
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=2e-3)
    x_hat = (1 - x).requires_grad_()
    loss = task.loss(x_hat, reference)
    loss.backward()
    assert float(loss.detach()) > 0.01
    assert bool(torch.isfinite(x_hat.grad).all())
    assert float(x_hat.grad.abs().sum()) > 0


@torch.no_grad()
def test_outputs_hold_what_the_network_detects(network, x):
    found = network.detect(x)
    anchors = network.outputs(x)[0]
    boxes = anchors[:, :4].clamp(min=0).minimum(torch.tensor([70, 50, 70, 50]))
    first = 1 if anchors.shape[1] == 4 + 3 else 0  # of networks with a background, whose probability is left out
    again = []
    for box, score, category in zip(found.boxes, found.scores, found.categories, strict=True):
        near = (boxes - box).abs().amax(1) < 0.1
        again.append(bool((near & ((anchors[:, 4 + int(category) - first] - score).abs() < 1e-4)).any()))
    # with a background an anchor has the box of its likeliest category, and the others have boxes of their own
    assert sum(again) >= (len(again) if first == 0 else 1) > 0


def test_features_are_the_backbones_at_the_scale_that_is_asked_for(network, x, monkeypatch):
    sizes = [f.shape[2:] for f in network.features(x)]
    assert sizes[0] in {(8, 12), (8, 8)}
    task = load_det("ssd300_vgg16", input={"scale": 0.5})  # which is the same model here
    half = [tuple(f.shape[2:]) for f in task.prepare(x).features]
    assert half in ([(4, 8), (2, 4)], [(3, 4), (1, 2)])  # SSD takes any size, the others multiples of 32
    assert bool((task.detect(x).boxes <= torch.tensor([70, 50, 70, 50])).all())


def test_the_loss_on_features_may_have_a_scale_of_its_own(network, x):
    found = load_det("ssd300_vgg16", feature_scale=0.5).network
    wanted = network.detect(x).boxes  # of the same model, which a task puts into another memory layout
    features = found.features(x)
    assert torch.equal(found.detect(x).boxes, wanted)
    half = load_det("ssd300_vgg16", input={"scale": 0.5, "antialias": False})
    for one, other in zip(features, half.prepare(x).features, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    with pytest.raises(UsageError, match=r"task\.options\.feature_scale = 0: expected a factor"):
        load_det("ssd300_vgg16", feature_scale=0)
    with pytest.raises(UsageError, match=r"leave it out, or task\.options\.input"):
        load_det("ssd300_vgg16", feature_scale=1, input="picture")


def test_masks_have_the_pictures_size(network, x):
    masks = network.detect(x).masks
    if hasattr(network, "outputs_and_masks"):
        assert masks.dtype == torch.bool
        assert masks.shape[1:] == (50, 70)
    else:
        assert masks is None


def test_the_names_are_torchvisions():
    known = torchvision.models.list_models(module=torchvision.models.detection)
    assert {name for name in known if "keypoint" not in name} == set(DETECTORS)
    assert set(MASK_DETECTORS) < set(DETECTORS)


def test_crops_are_seen_at_the_scale_of_whole_pictures(network):
    before = network.model.transform
    task = Detection(network, "it").for_crops([(90, 160)] * 3)
    crop = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    scaled = 64 / (90 * 160) ** 0.5 if before.fixed_size else 64 / 90
    assert task.look(crop).shape[2:] == (round(40 * scaled),) * 2
    assert network.model.transform is before
    assert task.network.model.transform is not before
    continued = -(-round(40 * scaled) // before.size_divisible) * before.size_divisible
    assert task.network.features(task.look(crop))[0].shape[2] == continued // 8


def test_with_a_factor_of_its_own_crops_are_seen_as_pictures_are(network):
    network.feature_scale = 0.5
    task = Detection(network, "it", loss="features")
    assert task.for_crops([(90, 160)] * 3) is task
