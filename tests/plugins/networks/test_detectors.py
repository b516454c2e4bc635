import pytest

from taskodec.errors import UsageError, WeightsError
from taskodec.hooks.registry import default_registry
from taskodec.plugins.networks.detectors import load_detector


def test_det_and_seg_are_registered_and_name_their_options():
    tasks = default_registry().tasks
    for name in ("det", "seg"):
        assert "loss=features|outputs" in tasks[name].description


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "yolox_nan",
            {},
            r"no detector 'yolox_nan', did you mean 'yolox_nano'.*valid: yolox_nano, fastestdet, fasterrcnn",
        ),
    ],
)
def test_what_does_not_exist_says_what_does(name, options, message):
    with pytest.raises(UsageError, match=message):
        load_detector(name, **options)


def test_seg_needs_a_network_with_masks(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("taskodec.plugins.networks.detectors.load_detector", lambda *args, **options: object())
    with pytest.raises(UsageError, match="'ssd300_vgg16' gives no masks"):
        default_registry().task_from("seg", network="ssd300_vgg16")


def test_networks_of_one_scale_have_none_for_features(monkeypatch):
    monkeypatch.setattr("taskodec.plugins.networks.detectors.load_detector", lambda *args, **options: object())
    with pytest.raises(UsageError, match=r"'fastestdet' has one scale for all; leave out task\.options\.feature_scale"):
        default_registry().task_from("det", network="fastestdet", feature_scale=1)


def test_without_internet_seg_names_its_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"maskrcnn_resnet50_fpn_coco-bf2d0c1e\.pth \(SHA-256 bf2d0c1e"):
        default_registry().task_from("seg", offline=True)
