"""The built-in codecs' hook."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from taskodec.codecs import plugin
from taskodec.hooks.specs import Anchor, resolve
from taskodec.settings.model import load_settings

CLASSICAL = ["jpeg", "mozjpeg", "webp", "avif", "avif-420", "avif-444", "jpegxl", "jpeg2000"]

STREAM_IDS = {
    "lite": 1,
    "tic": 2,
    "bmshj2018-factorized": 3,
    "bmshj2018-factorized-relu": 4,
    "bmshj2018-hyperprior": 5,
    "mbt2018-mean": 6,
    "mbt2018": 7,
    "cheng2020-anchor": 8,
    "cheng2020-attn": 9,
    "bmshj2018-hyperprior-vbr": 10,
    "mbt2018-mean-vbr": 11,
    "mbt2018-vbr": 12,
}


def test_stream_ids_never_change() -> None:
    assert {spec.name: spec.stream_id for spec in plugin.register_codecs()} == STREAM_IDS


@pytest.mark.compressai
def test_every_image_model_of_compressai_is_there() -> None:
    from compressai.zoo import image_models

    assert set(image_models) <= STREAM_IDS.keys()


def test_every_loader_exists_and_every_codec_is_described() -> None:
    for spec in plugin.register_codecs():
        assert spec.description
        if spec.unavailable:
            continue
        assert callable(resolve(spec.load))
        assert getattr(resolve(spec.load), "name", spec.name) == spec.name


def test_anchors_exist_and_are_described() -> None:
    for spec in plugin.register_anchors():
        assert spec.description
        assert spec.unavailable or isinstance(resolve(spec.load)(), Anchor)


def test_without_compressai_its_codecs_and_anchors_are_unavailable(without) -> None:
    without("compressai")
    for specs, own in ((plugin.register_codecs(), ["lite", "tic"]), (plugin.register_anchors(), CLASSICAL)):
        absent = {spec.name: spec.unavailable for spec in specs if "compressai" in spec.unavailable}
        assert [spec.name for spec in specs if spec.name not in absent] == own
        reasons = set(absent.values())
        assert len(reasons) == 1
        assert re.fullmatch(r"compressai is not installed.*`pip install 'taskodec\[compressai\]'`", reasons.pop())


def test_anchors_with_random_weights_are_for_timing_only() -> None:
    timed = {spec.name for spec in plugin.register_anchors() if not spec.fidelity}
    assert timed == {"compressai-bmshj2018-hyperprior", "compressai-mbt2018-mean"}


def test_slow_codecs_say_so() -> None:
    slow = {spec.name for spec in plugin.register_codecs() if "slow" in spec.description}
    assert slow == {"mbt2018", "cheng2020-anchor", "cheng2020-attn", "mbt2018-vbr"}


def test_the_hook_is_light() -> None:
    code = (
        "import sys; from taskodec.codecs import plugin; plugin.register_codecs(); plugin.register_anchors(); "
        "print([m for m in ('torch', 'compressai', 'numpy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["tic", pytest.param("bmshj2018-factorized", marks=pytest.mark.compressai)])
def test_the_advice_for_codecs_without_weights_can_be_followed(name: str) -> None:
    load = resolve({spec.name: spec for spec in plugin.register_codecs()}[name].load)
    with pytest.warns(UserWarning, match="random") as caught:
        load(1)
    advice = re.findall(r"codec\.\S+=\w+", str(caught[0].message))
    codec = load_settings(overrides=[f"codec.name={name}", *advice]).codec
    assert (str(codec.checkpoint), codec.options) == ("FILE", {"pretrained": True})
    inspect.signature(load).bind(checkpoint=codec.checkpoint, **codec.options)
