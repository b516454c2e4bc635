from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import transforms

from taskodec.images.tensors import load_image
from taskodec.tasks.views import AS_IS, Pixels, View

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "kodim23.png"


def shown(view, x, **fit):
    return view.show(x, view.place(*x.shape[2:], **fit))


def test_without_any_field_a_picture_is_seen_as_it_is():
    x = torch.rand(1, 3, 7, 9)
    assert AS_IS.place(7, 9).same
    assert torch.equal(shown(AS_IS, x), x)


@pytest.mark.parametrize(
    ("view", "owner"),
    [
        (View(short=256, crop=(224, 224)), [transforms.Resize(256), transforms.CenterCrop(224)]),
        (
            View(short=249, crop=(224, 224), interpolation="bicubic"),
            [transforms.Resize(249, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)],
        ),
        (View(size=(100, 160)), [transforms.Resize((100, 160))]),
        (View(crop=(101, 224)), [transforms.CenterCrop((101, 224))]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("side", [None, 120])
def test_it_is_what_torchvision_makes_of_a_photograph(view, owner, turned, side):
    """Also where the photograph is smaller than what is seen: it is enlarged."""
    picture = Image.open(PHOTO).convert("RGB")
    picture = picture.transpose(Image.Transpose.ROTATE_90) if turned else picture
    if side is not None and (view.short or view.size):
        picture = picture.resize((side, side * 3 // 2) if turned else (side * 3 // 2, side))
    wanted = transforms.Compose([*owner, transforms.ToTensor()])(picture)
    found = shown(view, load_image(picture).x)[0]
    assert found.shape == wanted.shape
    errors = 255 * (found - wanted).abs()
    assert float(errors.mean()) < 0.7
    assert float(errors.max()) < (6 if view.interpolation == "bicubic" else 1.6)  # Pillow rounds and clips, twice


def test_a_letterbox_keeps_the_shape_and_continues_in_grey():
    x = torch.full((1, 3, 30, 60), 0.75)
    corner, centre = (shown(View(letterbox=(32, 32), grey=0.25, centred=c), x)[0, 0] for c in (False, True))
    assert corner.shape == centre.shape == (32, 32)
    bright, grey = torch.tensor(0.75), torch.tensor(0.25)
    assert torch.allclose(corner[:16], bright)
    assert torch.allclose(centre[8:24], bright)
    for outside in (corner[16:], centre[:8], centre[24:]):
        assert torch.equal(outside, grey.expand_as(outside))


def test_the_longer_side_is_limited():
    view = View(short=800, longest=1333, nearest=True)
    assert view.place(480, 640).seen == (800, 1067)
    assert view.place(300, 900).seen == (444, 1333)


def test_sides_are_continued_to_multiples_and_to_the_smallest():
    x = torch.rand(1, 3, 5, 40)
    seen = shown(View(scale=1.0), x, stride=32, smallest=8)
    assert seen.shape == (1, 3, 32, 64)
    assert torch.equal(seen[..., :5, :40], x)
    assert torch.equal(seen[..., 20, 50], x[..., 4, 39])


@pytest.mark.parametrize(
    "view",
    [
        View(size=(50, 20)),
        View(letterbox=(64, 64), grey=0.5),
        View(letterbox=(64, 64), grey=0.5, centred=True),
        View(short=40, crop=(30, 36)),
        View(scale=0.5),
    ],
)
def test_boxes_and_masks_come_back_to_where_they_were(view):
    """A bright rectangle in the middle is found where it is."""
    x = torch.zeros(1, 3, 80, 120)
    x[..., 30:50, 40:80] = 1
    place = view.place(80, 120, stride=4)
    seen = view.show(x, place)[0, 0] > 0.6
    rows, columns = (torch.nonzero(seen.any(axis)).flatten() for axis in (1, 0))
    box = torch.tensor([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], dtype=torch.float32)
    assert place.boxes(box)[0].tolist() == pytest.approx([40, 30, 80, 50], abs=3)
    mask = place.masks(seen[None])
    assert mask.shape == (1, 80, 120)
    overlap = (mask & (x[:, 0] > 0)).sum() / (mask | (x[:, 0] > 0)).sum()
    assert float(overlap) > 0.85
    assert place.masks(seen[None][:0]).shape == (0, 80, 120)
    assert place.boxes(torch.tensor([[-99.0, -99.0, 999.0, 999.0]]))[0].tolist() == [0, 0, 120, 80]


def test_the_gradient_reaches_what_is_seen_alone_and_every_pixel_of_what_is_reduced():
    x = torch.rand(1, 3, 96, 96, requires_grad=True)
    shown(View(crop=(32, 32)), x).sum().backward()
    assert float(x.grad[..., 32:64, 32:64].min()) > 0
    assert float(x.grad.sum()) == 3 * 32 * 32
    x.grad = None
    shown(View(short=12), x).sum().backward()
    assert float(x.grad.min()) > 0


def test_values_and_channels_are_the_networks():
    x = torch.rand(2, 3, 4, 5)
    found = Pixels(mean=(1, 2, 3), std=(2, 4, 5), white=255, bgr=True)(x)
    assert torch.allclose(found[:, 0], (255 * x[:, 2] - 1) / 2)
    assert torch.allclose(found[:, 2], (255 * x[:, 0] - 3) / 5)
    assert torch.equal(Pixels()(x), x)
