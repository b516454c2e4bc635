import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from taskodec.bench.coders import AnchorEntry, CodecEntry, Coder
from taskodec.bench.fidelity import PointFile, run_bench, sources
from taskodec.bench.speed import Lap, Side, on_cpu, run_speed
from taskodec.bench.speed_report import as_json, markdown, print_tables
from taskodec.errors import ImageError, TaskodecError, UsageError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AnchorSpec, CodecSpec, hookimpl
from taskodec.settings.model import load_settings


@pytest.fixture
def registry(tiny_codec):
    """The tiny codec, a classical anchor, and one for timing only."""
    raw = SimpleNamespace(
        qualities=(1, 2, 3),
        version="raw 1",
        encode=lambda image, quality: bytes([int(quality), *image.size]) + image.tobytes(),
        decode=lambda data: Image.frombytes("RGB", (data[1], data[2]), data[3:]),
    )

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", lambda quality=3.0: tiny_codec)]

        @hookimpl
        def register_anchors(self):
            return [AnchorSpec("raw", lambda: raw), AnchorSpec("noise", lambda: raw, fidelity=False)]

    found = Registry()
    found.load_builtins()
    found.register(Plugin(), "tests")
    return found


@pytest.fixture
def settings():
    return load_settings(flags={"codec.name": "tiny", "device": "cpu"})


@pytest.fixture
def entries(settings, registry):
    return [
        CodecEntry("tiny", settings, registry, [2, 3]),
        AnchorEntry("raw", registry),
        AnchorEntry("noise", registry),
    ]


@pytest.fixture
def images(pictures):
    return sources(sorted(pictures.iterdir()))


@pytest.fixture
def summary(images, entries):
    return run_speed(images, entries, rounds=3, threads=1)


class Logged:
    """An entry that writes down when it is used."""

    anchor = fidelity = True
    qualities = (3.0,)

    def __init__(self, name, log, size=None):
        self.name, self.log, self.size = name, log, size

    def at(self, quality):
        def encode(image):
            self.log.append(f"{self.name} encodes {image.width}")
            return bytes(image.size)

        def decode(data):
            self.log.append(f"{self.name} decodes {data[0]}")
            return Image.new("RGB", self.size or (data[0], data[1]))

        return Coder(encode, decode, "1", "cpu")


def test_entries_take_turns_on_every_image_after_a_warm_up(images):
    log = []
    run_speed(images, [Logged("A", log), Logged("B", log)], rounds=2)
    calls = []
    for width in (96, 70):
        warm = [f"{name} {verb} {width}" for name in "AB" for verb in ["encodes", "decodes"] * 2]
        calls += warm + [f"{name} {verb} {width}" for name in "ABAB" for verb in ("encodes", "decodes")]
    assert log == calls


def test_every_lap_is_there_and_its_stages_add_up_to_it(summary):
    assert [(s.codec, s.quality, s.anchor, s.fidelity) for s in summary.speeds] == [
        ("tiny", 2, False, True),
        ("tiny", 3, False, True),
        ("raw", 2, True, True),
        ("noise", 2, True, False),
    ]
    stages = {
        "encode": {"picture", "analysis", "entropy", "rest"},
        "decode": {"entropy", "synthesis", "picture", "rest"},
    }
    for speed in summary.speeds:
        for side in ("encode", "decode"):
            laps = getattr(speed, side).laps
            assert [len(rounds) for rounds in laps] == [3, 3]
            for lap in (lap for rounds in laps for lap in rounds):
                assert lap.seconds > 0
                assert lap.stages.keys() == (set() if speed.anchor else stages[side])
                assert all(seconds >= 0 for seconds in lap.stages.values())
                assert sum(lap.stages.values()) <= lap.seconds * (1 + 1e-9)


def test_where_and_on_what_is_said(summary, images):
    assert (summary.threads, summary.rounds) == (1, 3)
    assert summary.device.startswith("cpu")
    assert [(i.name, i.width, i.height) for i in summary.images] == [("one.png", 96, 64), ("two.png", 70, 50)]
    assert [i.digest for i in summary.images] == [source.digest for source in images]
    assert summary.speeds[2].bytes == 3 + 3 * (96 * 64 + 70 * 50) / 2


def test_multiplications_per_pixel_are_those_of_the_layers(summary):
    first, second = 3 * 8 * 25 / 16, 8 * 8 * 25 / 256  # of g_a, at 1/4 and at 1/16 of the side
    padded = (96 * 64 + 80 * 64) / (96 * 64 + 70 * 50)
    tiny = summary.speeds[0]
    assert tiny.encode.multiplications["analysis"] == pytest.approx(padded * (first + second + 8 * 4 / 256))
    hyper = padded * 4 * 16 / 256
    assert tiny.encode.multiplications["entropy"] == tiny.decode.multiplications["entropy"] == pytest.approx(hyper)
    assert tiny.decode.multiplications["synthesis"] > 0
    assert summary.speeds[2].encode.multiplications == {}


def test_codecs_are_left_as_they_were(summary, tiny_codec):
    assert not {"analysis", "encode", "decode", "synthesis"} & vars(tiny_codec).keys()


def test_the_number_of_threads_is_put_back(images, entries):
    before = torch.get_num_threads()
    assert run_speed(images[:1], entries[1:2], rounds=1, threads=before + 1).threads == before + 1
    assert torch.get_num_threads() == before
    assert run_speed(images[:1], entries[1:2], rounds=1).threads == before


def laps(*seconds):
    return [Lap(s, {"analysis": s / 2, "rest": s / 2}, {("analysis", "g_a"): s / 4}) for s in seconds]


def test_figures_are_means_over_images_of_minimum_and_median():
    side = Side([laps(3, 1, 2), laps(10, 30, 80)], {})
    assert (side.minimum, side.median) == (5.5, 16)
    assert side.stages == {"analysis": 8, "rest": 8}
    assert side.parts == {("analysis", "g_a"): 4}
    assert Side([laps(4, 1, 2, 3)], {}).median == 2  # one that was measured, so that its stages add up


def test_ratios_are_of_medians(summary):
    report = as_json(
        replace(
            summary,
            speeds=[
                replace(summary.speeds[0], encode=Side([laps(3)], {}), decode=Side([laps(1)], {})),
                replace(summary.speeds[2], encode=Side([laps(6)], {}), decode=Side([laps(4)], {})),
            ],
        )
    )
    assert report["codecs"][0]["encode"]["of_anchor"] == {"raw": 0.5}
    assert report["codecs"][0]["decode"]["of_anchor"] == {"raw": 0.25}


def test_reports_say_the_same_figures(summary, capsys):
    report = json.loads(json.dumps(as_json(summary)))
    tiny = report["codecs"][0]
    assert len(tiny["encode"]["laps"][1]) == 3
    text = markdown(summary)
    print_tables(summary)
    shown = capsys.readouterr().out
    for form in (text, shown):
        for title in ("Seconds per image, 2 images", "Where encode spends", "Where decode spends", "Multiplications"):
            assert title in form
        assert re.search(rf"tiny\W+2\W+{tiny['bytes']:.0f}\W+{tiny['encode']['minimum']:.4f}", form)
        assert f"measured on {summary.device}, 1 thread, 3 rounds" in form
        assert "noise is for timing only (raw 1)" in form
    assert "Parts of stages" not in text  # no entry has any


def test_a_picture_of_the_wrong_size_is_an_error(images):
    with pytest.raises(TaskodecError, match=r"A, quality 3, .*one\.png: decoded to \(5, 5\) pixels"):
        run_speed(images, [Logged("A", [], size=(5, 5))])


def test_errors_keep_their_type(images, settings, registry, tiny_codec, monkeypatch):
    analysis = tiny_codec.analysis

    def refuse(x, quality):
        if x.shape[2:] == (64, 64):  # with which a codec is tried when it is loaded
            return analysis(x, quality)
        raise ImageError("too dark")

    monkeypatch.setattr(tiny_codec, "analysis", refuse)
    with pytest.raises(ImageError, match=r"tiny, quality 3, .*one\.png: too dark"):
        run_speed(images, [CodecEntry("tiny", settings, registry, [3])])


def test_senseless_calls_are_refused(images, entries):
    with pytest.raises(UsageError, match="raw would be measured twice"):
        run_speed(images, [entries[1], entries[1]])
    for arguments in ({"rounds": 0}, {"threads": 0}):
        with pytest.raises(UsageError, match="nothing to time"):
            run_speed(images, entries, **arguments)


def test_only_the_cpu_is_fair():
    assert on_cpu(load_settings()).device == "cpu"
    with pytest.raises(UsageError, match="device=cuda: speed is compared on the CPU"):
        on_cpu(load_settings(flags={"device": "cuda"}))


def test_rates_of_an_anchor_for_timing_only_are_refused(images, entries, tmp_path):
    with pytest.raises(UsageError, match="noise: for timing only, its pictures and rates mean nothing"):
        run_bench(images, entries[1:], PointFile(tmp_path / "points.jsonl"))
    assert not (tmp_path / "points.jsonl").exists()
