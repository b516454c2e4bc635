import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from taskodec.errors import ImageError, UsageError
from taskodec.images.framing import Framing
from taskodec.images.sets import list_images
from taskodec.settings.model import StageSettings, TrainSettings
from taskodec.training.datasets import CropDataset, StepDataset, step_loader


@pytest.fixture
def folder(tmp_path):
    for i, size in enumerate([(40, 50), (64, 32), (20, 90)]):
        values = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def rng(seed=0):
    return np.random.default_rng(seed)


def test_crops_are_pieces_of_large_enough_pictures(folder):
    dataset = CropDataset(list_images([folder]), 10**6)
    with pytest.warns(UserWarning, match="1 of 3 training images .* less than 32 pixels"):
        dataset.check(32)
    crops = [dataset.crop(32, rng(i)) for i in range(8)]
    assert all(crop.shape == (3, 32, 32) and crop.dtype == torch.uint8 for crop in crops)
    assert len({int(crop.sum()) for crop in crops}) == 8
    dataset.check(20)


def test_crops_come_from_seed_and_number_alone(folder):
    dataset = CropDataset(list_images([folder]), 0)
    whole = dataset.crops(16, range(4), 7, 1)
    assert torch.equal(whole[2:], CropDataset(dataset.paths, 10**6).crops(16, range(2, 4), 7, 1))
    assert not torch.equal(whole, dataset.crops(16, range(4), 7, 2))
    assert not torch.equal(whole, dataset.crops(16, range(4), 8, 1))


def test_the_cache_keeps_what_fits(folder):
    paths = list_images([folder])
    small, large = CropDataset(paths, 3 * 64 * 32), CropDataset(paths, 10**6)
    for i in range(30):
        assert torch.equal(small.crop(16, rng(i)), large.crop(16, rng(i)))
    assert len(large.cache) == 3
    assert sum(p.numel() for p in small.cache.values()) <= 3 * 64 * 32


def test_crops_hold_the_pixels_of_the_file(folder):
    dataset = CropDataset([folder / "0.png"], 10**6)
    pixels = np.asarray(Image.open(folder / "0.png")).transpose(2, 0, 1)
    crop = dataset.crop(40, rng()).numpy()
    pieces = [pixels[:, :, x : x + 40] for x in range(11)]
    assert any(np.array_equal(crop, piece) or np.array_equal(crop, piece[..., ::-1]) for piece in pieces)


def test_pictures_are_turned_as_they_are_shown(tmp_path):
    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[274] = 6  # a camera held upright
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert CropDataset([tmp_path / "a.jpg"], 0).picture(0).shape == (3, 40, 20)


def test_all_suffixes_that_compress_takes(folder):
    for suffix in (".ppm", ".gif"):
        Image.open(folder / "0.png").save(folder / f"9{suffix}")
    assert [p.name for p in list_images([folder])][-2:] == ["9.gif", "9.ppm"]


@pytest.mark.parametrize("content", [b"no picture", b"P6 x", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR" + bytes(30)])
def test_bad_pictures_are_named(folder, content):
    (folder / "1.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"1\.png"):
        CropDataset(list_images([folder]), 0).check(16)


def test_pictures_that_break_while_training_are_passed_over(folder):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:300])  # its header is whole
    dataset = CropDataset(list_images([folder]), 10**6)
    dataset.check(16)
    with pytest.warns(UserWarning, match=r"1\.png.*passed over"):
        dataset.crops(16, range(8), 0)
    assert 1 not in dataset.cache


def test_pictures_beyond_the_limit_are_passed_over(folder):
    dataset = CropDataset(list_images([folder]), 10**6, max_pixels=100)
    dataset.check(16)
    with (
        pytest.warns(UserWarning, match="the limit is 100 in all; raise limits.max_pixels for more; this picture is"),
        pytest.raises(UsageError, match="100 pictures in a row"),
    ):
        dataset.crop(16, rng())


def test_headers_are_read_whatever_lies_beside_them(tmp_path):
    Image.effect_noise((40, 20), 50).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe0\0\6JFIF" + data[2:])  # which Pillow takes for no picture
    dataset = CropDataset([tmp_path / "a.jpg"], 0)
    dataset.check(16)
    assert dataset.crop(16, rng()).shape == (3, 16, 16)


def test_nothing_large_enough(folder):
    dataset = CropDataset(list_images([folder]), 10**6)
    with pytest.raises(UsageError, match="none of 3 images has both sides of 500 pixels"):
        dataset.check(500)
    with pytest.raises(UsageError, match="100 pictures in a row give no crop of 500 pixels"):
        dataset.crop(500, rng())


@pytest.fixture
def settings():
    stages = [{"until": 0.5, "crop": 16}, {"until": 1, "crop": 20}]
    return TrainSettings(stages=stages, batch=7, steps=6)


def test_batches_cover_the_range_of_qualities(folder, settings):
    crops, quality, stage = StepDataset(CropDataset(list_images([folder]), 10**6), settings, (1.0, 7.0))[0]
    assert crops.shape == (7, 3, 16, 16)
    assert stage == 0
    assert sorted(int((q - 1) / 6 * 7) for q in quality.tolist()) == list(range(7))


@pytest.mark.parametrize("step", [1, 4])
def test_parts_make_the_whole_batch(folder, settings, step):
    crops = CropDataset(list_images([folder]), 10**6)
    whole = StepDataset(crops, settings, (1.0, 7.0))[step]
    parts = [StepDataset(crops, settings, (1.0, 7.0), (rank, 3))[step] for rank in range(3)]
    for i in range(2):
        assert torch.equal(whole[i], torch.cat([part[i] for part in parts]))


def test_the_loader_begins_at_a_step_and_hands_errors_on(folder, settings):
    crops = CropDataset(list_images([folder]), 10**6)
    dataset = StepDataset(crops, settings, (1.0, 7.0))
    batches = list(step_loader(dataset, 4, 0))
    assert [torch.equal(batch[0], dataset[step][0]) for step, batch in zip((4, 5), batches, strict=True)] == [True] * 2
    large = settings.model_copy(update={"stages": (StageSettings(until=1, crop=500),)})
    (error,) = step_loader(StepDataset(crops, large, (1.0, 7.0)), 5, 0)
    assert isinstance(error, UsageError)


def test_what_workers_get_can_be_sent_to_them(folder, settings):
    """Other systems, and Python from 3.14 on, start them anew instead of copying this process."""
    loader = step_loader(StepDataset(CropDataset(list_images([folder]), 10**6), settings, (1.0, 7.0)), 0, 2)
    dataset, start = pickle.loads(pickle.dumps((loader.dataset, loader.worker_init_fn)))
    assert callable(start)
    assert all(torch.equal(a, b) for a, b in zip(dataset[3][:2], loader.dataset[3][:2], strict=True))


def test_framed_pictures_are_drawn_and_counted_as_they_become(folder):
    dataset = CropDataset(list_images([folder]), 10**6, Framing(resize=24, center_crop=24))
    dataset.check(24)  # without framing, two of three are too small
    expected = (Framing(24, 24).load(folder / "2.png")[0] * 255).round().byte()
    crop = CropDataset([folder / "2.png"], 0, Framing(24, 24)).crop(24, rng())
    assert torch.equal(crop, expected) or torch.equal(crop.flip(2), expected)


def test_crops_are_cut_where_pictures_are_kept(folder):
    paths = list_images([folder])
    here, there = (CropDataset(paths, 10**6, device=device) for device in ("cpu", torch.device("meta")))
    assert here.crops(16, range(4), 0).device.type == "cpu"
    assert there.crops(16, range(4), 0).device.type == "meta"
    assert {picture.device.type for picture in there.cache.values()} == {"meta"}


def test_by_the_clock_a_batch_is_for_the_stage_of_its_seconds(folder, settings):
    timed = settings.model_copy(update={"time_budget": 10.0})
    dataset = StepDataset(CropDataset(list_images([folder]), 10**6), timed, (1.0, 7.0))
    stages = []
    for seconds in (0.0, 4.9, 5.1, 20.0):
        dataset.seconds.fill_(seconds)
        crops, _, stage = dataset[1000]
        stages.append((stage, crops.shape[-1]))
    assert stages == [(0, 16), (0, 16), (1, 20), (1, 20)]
