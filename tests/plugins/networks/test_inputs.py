from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms.functional import normalize

from taskodec.errors import UsageError
from taskodec.hooks.registry import default_registry
from taskodec.images.tensors import load_image, to_pil
from taskodec.plugins.networks.imagenet import load_cls, timm_view
from taskodec.plugins.networks.inputs import put_input
from taskodec.plugins.networks.segmenters import load_semseg
from taskodec.plugins.networks.torchvision_models import published_view
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import AS_IS, Pixels, View


class Network(FeatureNetwork):
    """One that is shown pictures in a certain way, and asks nothing of them."""

    view = View(short=20, crop=(16, 16), interpolation="bicubic", grey=0.5)
    pixels = Pixels()

    def features(self, x):
        return [x]

    def outputs(self, x):
        return x


def changed(given, **attributes):
    network = Network()
    for name, value in attributes.items():
        setattr(network, name, value)
    put_input(network, "it", given)
    return network


def test_without_the_option_it_is_the_owners():
    assert changed(None).view == Network.view


def test_a_picture_may_be_seen_as_it_is():
    assert changed("picture").view == View(grey=0.5)


@pytest.mark.parametrize(
    ("given", "view"),
    [
        ({"short": 64}, View(short=64, interpolation="bicubic", grey=0.5)),
        ({"short": 64, "longest": 90}, View(short=64, longest=90, interpolation="bicubic", grey=0.5)),
        ({"size": [3, 4], "interpolation": "bilinear"}, View(size=(3, 4), grey=0.5)),
        (
            {"letterbox": 9, "grey": 51, "align": "centre", "interpolation": "bilinear"},
            View(letterbox=(9, 9), grey=0.2, centred=True),
        ),
        ({"antialias": False}, View(short=20, crop=(16, 16), interpolation="bicubic", grey=0.5, antialias=False)),
        ({"scale": 0.5}, View(scale=0.5, nearest=True, interpolation="bicubic", grey=0.5)),
    ],
)
def test_geometry_replaces_the_owners_and_other_keys_change_one_thing(given, view):
    assert changed(given).view == view


def test_values_change_one_by_one():
    assert changed({"channels": "bgr", "white": 255}).pixels == Pixels(white=255, bgr=True)
    assert changed({"mean": [1, 2, 3]}, pixels=Pixels(std=(2, 2, 2))).pixels == Pixels((1, 2, 3), (2, 2, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("own", r"input = 'own': valid: picture, or keys short, longest, size"),
        ({}, r"input = \{\}: valid: picture"),
        (224, r"input = 224: valid"),
        ({"shrt": 2}, r"input\.shrt = 2: .*valid: picture, or keys short"),
        ({"short": 0}, r"input\.short = 0: "),
        ({"size": [1, 2, 3]}, r"input\.size = \[1, 2, 3\]"),
        ({"scale": 0}, r"input\.scale = 0: .*greater than 0"),
        ({"scale": 5}, r"input\.scale = 5: .*less than or equal to 4"),
        ({"std": [1, 1, 0]}, r"input\.std = "),
        ({"interpolation": "area"}, r"input\.interpolation = 'area': .*'bilinear' or 'bicubic'"),
        ({"short": 9, "size": 9}, r"in two ways, short and size; keep one"),
        ({"longest": 9}, r"input\.longest = 9 .*found None; give short"),
        ({"short": 9, "longest": 8}, r"input\.longest = 8 .*found 9"),
        ({"letterbox": 9, "crop": 4}, r"leave out crop, or letterbox"),
        ({"short": 9, "crop": 10}, r"input\.crop = 10 is more than pictures are scaled to, 9"),
        ({"size": [9, 20], "crop": [10, 9]}, r"input\.crop = \(10, 9\) is more"),
    ],
)
def test_what_cannot_be_says_what_was_found_and_what_is_valid(given, message):
    with pytest.raises(UsageError, match=message):
        changed(given)


def test_networks_that_take_one_size_are_given_it():
    assert changed({"size": 16}, fixed=(16, 16)).view.seen == (16, 16)
    for given in ("picture", {"short": 16}, {"letterbox": 32}):
        with pytest.raises(UsageError, match=r"'it' takes 16x16 pixels only; let it end there, .*: \[16, 16\]"):
            changed(given, fixed=(16, 16))


def test_networks_that_scale_and_normalise_themselves():
    network = changed({"size": 16}, scales_itself=True)
    assert not network.scales_itself
    with pytest.raises(UsageError, match=r"'it' scales pictures itself; with task\.options\.input\.antialias, say how"):
        changed({"antialias": False}, scales_itself=True)
    with pytest.raises(UsageError, match=r"'it' normalises pictures itself; leave out task\.options\.input\.mean"):
        changed({"mean": [1, 1, 1]}, pixels=None)


def test_a_segmenter_must_see_every_pixel(monkeypatch):
    monkeypatch.setattr("taskodec.plugins.networks.segmenters.load_semantic", lambda *args: Network())
    with pytest.raises(UsageError, match=r"judges every pixel, .*leaves some out"):
        load_semseg(input={"crop": 9})
    assert load_semseg(input={"short": 9}).network.view.short == 9


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2", "beit_base_patch16_224", "resnet50"]
)
def test_it_is_timms_transform(name, photo):
    """Centre, and what else timm's metadata say; the same to within the rounding of 8 bits."""
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False)
    config = timm.data.resolve_model_data_config(model)
    wanted = timm.data.create_transform(**config, is_training=False)(to_pil(photo))
    view = timm_view(model)
    found = normalize(view.show(photo, view.place(*photo.shape[2:])), config["mean"], config["std"])[0]
    assert found.shape == wanted.shape == config["input_size"]
    errors = (found - wanted).abs() * 255 * min(config["std"])
    assert float(errors.mean()) < 0.7
    assert float(errors.max()) < 6  # Pillow rounds, and cuts off what overshoots, twice


@pytest.mark.parametrize("name", ["resnet18", "resnet152", "deeplabv3_resnet50"])
def test_it_is_torchvisions_transform(name, photo):
    wanted = next(iter(torchvision.models.get_model_weights(name))).transforms()(to_pil(photo))
    view = published_view(name)
    seen = view.show(photo, view.place(*photo.shape[2:]))[0]
    found = normalize(seen, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) < 2.1 / 255 / 0.224


@pytest.fixture(scope="module")
def photo():
    return load_image(Path(__file__).parents[3] / "docs" / "images" / "kodim23.png").x


def test_the_default_classifier_says_of_a_photograph_what_it_says_where_it_was_published(photo):
    task = default_registry().task_from("cls")
    config = timm.data.resolve_model_data_config(task.network.model)
    transform = timm.data.create_transform(**{**config, "mean": (127 / 255,) * 3, "std": (128 / 255,) * 3})
    with torch.no_grad():
        wanted = task.network.model(transform(to_pil(photo))[None])
        found = task.network.outputs(task.look(photo))
    assert float((found - wanted).abs().max()) < 0.1
    assert int(found.argmax()) == 88  # macaws
    large = torch.nn.functional.interpolate(photo, scale_factor=2, mode="bilinear")
    assert task.look(large).shape == (1, 3, 224, 224)
    whole = default_registry().task_from("cls", input="picture")
    assert whole.look(photo) is photo
    assert whole.network.view == AS_IS


def test_transformers_of_one_size_see_any_picture(tmp_path):
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    network, weights = "timm:vit_tiny_patch16_224", tmp_path / "vit.safetensors"
    task = load_cls(network, weights)
    x = torch.rand(1, 3, 60, 90, generator=torch.Generator().manual_seed(0))
    x_hat = (0.9 * x).requires_grad_()
    task.loss(x_hat, task.prepare(x)).backward()
    assert float(x_hat.grad.abs().sum()) > 0
    with pytest.raises(UsageError, match=r"takes 224x224 pixels only"):
        load_cls(network, weights, input={"short": 300})
