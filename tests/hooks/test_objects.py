from contextlib import nullcontext

import pytest
import torch
from torch import nn

from taskodec.adapters.lora import build_svd_lora
from taskodec.api.loading import build_adapter, load_codec
from taskodec.contracts import Entropy, Latents, Task
from taskodec.errors import PluginError, UsageError, WeightsError
from taskodec.hooks.objects import check_adapter, check_codec, check_task_object, try_codec
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec, CodecSpec, TaskSpec, hookimpl
from taskodec.settings.model import AdapterSettings, CodecSettings
from taskodec.stream.grids import Tiling

LATENTS = Latents(torch.zeros(1, 8, 4, 4), torch.zeros(1, 4, 4, 4))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("name", "other", "its name is 'other', expected that of its spec, 'tiny'"),
        ("stride", 0, "its stride is 0, expected a whole number from 1 to 1024"),
        ("stride", "16", "its stride is '16'"),
        ("stride", 16.0, "its stride is 16.0"),
        ("qualities", (), r"its qualities are \(\), expected ascending numbers"),
        ("qualities", (2, 1), "its qualities are"),
        ("qualities", (1, 1), "its qualities are"),
        ("qualities", "123", "its qualities are '123'"),
        ("qualities", 5, "its qualities are 5"),
        ("qualities", (1, float("nan")), "its qualities are"),
        ("qualities", (1, 500), "from 0 to 256"),
        ("continuous", "yes", "continuous is 'yes'"),
        ("tiling", 5, "its tiling is 5, expected None or a Tiling"),
        ("tiling", Tiling(8, 8, 8), "multiple of the stride 16"),
        ("adapter_layers", lambda side: None, "its encoder layers for adapters are None"),
        ("adapter_layers", lambda side: {"g_a.9": nn.Identity()}, "have 'g_a.9', which is no module of the codec"),
        ("adapter_layers", lambda side: {"g_a.0": 5}, "have 'g_a.0', which is no module"),
        ("adapter_layers", lambda side: 1 / 0, r"ZeroDivisionError: division by zero \(test_objects\.py, line"),
        ("adapter_layers", lambda: {}, "TypeError"),
        ("adapter_defaults", lambda side: ["g_a.9"], "adapter_defaults of the encoder are"),
        ("adapter_defaults", lambda side: "g_a.0", "adapter_defaults of the encoder are 'g_a.0'"),
    ],
)
def test_what_a_codec_cannot_be(tiny_codec, monkeypatch, name, value, words):
    assert check_codec(tiny_codec, "tiny", "me.py") is tiny_codec
    monkeypatch.setattr(type(tiny_codec), name, staticmethod(value) if callable(value) else value, raising=False)
    with pytest.raises(PluginError, match=rf"^me\.py: codec 'tiny': .*{words}"):
        check_codec(tiny_codec, "tiny", "me.py")


@pytest.mark.parametrize("made", [5, None, "tiny", nn.Identity(), {}])
def test_what_is_no_codec_adapter_or_task(made):
    for check in (check_codec, check_adapter):
        with pytest.raises(PluginError, match=r"^me\.py: (codec|adapter) 'x': .*expected a taskodec\.(Codec|Adapter)"):
            check(made, "x", "me.py")
    with pytest.raises(PluginError, match=r"^me\.py: its loader returned .*, expected a taskodec\.Task"):
        check_task_object(made, "me.py")


def test_a_codec_without_an_attribute(tiny_codec, monkeypatch):
    monkeypatch.delattr(type(tiny_codec), "stride")
    with pytest.raises(PluginError, match=r"codec 'tiny': AttributeError: .*'stride'"):
        check_codec(tiny_codec, "tiny", "me.py")


@pytest.mark.parametrize(
    ("method", "value", "words"),
    [
        (
            "analysis",
            lambda x, quality: x,
            r"analysis .* gives a tensor \(1, 3, 64, 64\) of torch.float32, expected Lat",
        ),
        ("analysis", lambda x, quality: Latents(5), "expected Latents"),
        ("analysis", lambda x, quality: Latents(x[0]), "expected Latents"),
        ("analysis", lambda x: x, "TypeError"),
        ("entropy", lambda *a: LATENTS, "entropy gives Latents.*, expected an Entropy"),
        ("entropy", lambda *a: Entropy(LATENTS.y, [1]), "expected an Entropy"),
        ("synthesis", lambda y, quality: y, r"synthesis gives a tensor \(1, 8, 4, 4\)"),
        ("synthesis", lambda y, quality: None, "synthesis gives None"),
        ("encode", lambda *a: None, "decode gives .*, which is not what encode returned, None"),
        ("decode", lambda *a: torch.zeros(1, 8, 4, 4), "decode gives"),
        ("decode", lambda *a: exit(3), "SystemExit: 3"),
    ],
)
def test_codecs_are_tried_on_a_small_picture(tiny_codec, monkeypatch, method, value, words):
    try_codec(tiny_codec, 3.0, "me.py")
    monkeypatch.setattr(type(tiny_codec), method, staticmethod(value))
    with pytest.raises(PluginError, match=rf"^me\.py: codec 'tiny': .*{words}"):
        try_codec(tiny_codec, 3.0, "me.py")


def test_what_a_codec_says_on_purpose_stays(tiny_codec, monkeypatch):
    def damaged(self, latents, quality, coder):
        raise WeightsError("damaged")

    monkeypatch.setattr(type(tiny_codec), "encode", damaged)
    with pytest.raises(WeightsError, match="damaged"):
        try_codec(tiny_codec, 3.0, "me.py")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("kind", 5, "its kind is 5, expected text"),
        ("delta_groups", [0], r"its delta_groups are \[0\]"),
        ("delta_groups", 5, "its delta_groups are 5"),
        ("delta_groups", property(lambda self: 1 / 0), "ZeroDivisionError"),
        ("adapter_params", lambda side: None, "its adapter_params of the encoder are None"),
        ("adapter_params", lambda side: ["x"], r"adapter_params of the encoder are \['x'\]"),
        ("fingerprint", lambda: "abcd", "its fingerprint is 'abcd', expected 4 bytes"),
        ("fingerprint", lambda: b"abc", "expected 4 bytes"),
    ],
)
def test_what_an_adapter_cannot_be(tiny_codec, monkeypatch, name, value, words):
    adapter = build_svd_lora(tiny_codec)
    assert check_adapter(adapter, "mine", "me.py") is adapter
    monkeypatch.setattr(type(adapter), name, staticmethod(value) if callable(value) else value)
    with pytest.raises(PluginError, match=rf"^me\.py: adapter 'mine': .*{words}"):
        check_adapter(adapter, "mine", "me.py")


class Nameless(Task):
    def prepare(self, x):
        return x

    def loss(self, x_hat, reference):
        return x_hat.mean()


@pytest.fixture
def plugins(tiny_codec):
    """A registry whose loaders do what a test tells them."""
    registry = Registry()
    registry.made = tiny_codec

    def load(quality=3.0, **_):
        if isinstance(registry.made, BaseException):
            raise registry.made
        return registry.made

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", load, create=load), CodecSpec("lost", "taskodec.errors:Nothing")]

        @hookimpl
        def register_adapters(self):
            return [AdapterSpec("mine", lambda codec: load())]

        @hookimpl
        def register_tasks(self):
            return [TaskSpec("edges", load), TaskSpec("absent", "no_such_package:x")]

    registry.register(Plugin(), "me.py")
    return registry


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (5, "returned 5|built as 5"),
        (None, "None"),
        (Nameless(), "returned|built as|its name|AttributeError"),
        (AttributeError("no x"), r"cannot be loaded.*: AttributeError: no x \(test_objects\.py, line"),
        (SystemExit(3), "its loader raised SystemExit: 3"),
    ],
)
def test_loaders_are_blamed_by_their_owner(plugins, tiny_codec, made, words):
    plugins.made = made
    calls = {
        "codec 'tiny'": lambda: load_codec(plugins, CodecSettings(name="tiny"), 3.0),
        "adapter 'mine'": lambda: build_adapter(plugins, AdapterSettings(name="mine"), tiny_codec),
        "task 'edges'": lambda: plugins.task_from("edges"),
    }
    for what, call in calls.items():
        with pytest.raises(PluginError, match=rf"^me\.py: {what}.*({words})"):
            call()


def test_what_a_loader_says_on_purpose_stays(plugins):
    plugins.made = UsageError("no such option")
    with pytest.raises(UsageError, match="no such option"):
        load_codec(plugins, CodecSettings(name="tiny"), 3.0)


def test_loaders_that_are_not_there(plugins):
    with pytest.raises(PluginError, match=r"me\.py: .*Nothing cannot be imported \(AttributeError"):
        load_codec(plugins, CodecSettings(name="lost"), 3.0)
    with pytest.raises(PluginError, match=r"me\.py: .* cannot be imported \(ModuleNotFoundError"):
        plugins.task_from("absent")


def test_codecs_of_others_are_tried_when_they_are_loaded(plugins, tiny_codec, monkeypatch):
    assert load_codec(plugins, CodecSettings(name="tiny"), 3.0) is tiny_codec
    monkeypatch.setattr(type(tiny_codec), "synthesis", lambda self, y_hat, quality: None)
    with pytest.raises(PluginError, match=r"me\.py: codec 'tiny': synthesis gives None"):
        load_codec(plugins, CodecSettings(name="tiny"), 3.0)


@pytest.mark.parametrize(
    ("name", "words"), [("coded", ""), (None, ""), ("h_a", "not the y"), ("h_b", "'h_b'"), (3, "3")]
)
def test_the_latents_layer_gives_y(tiny_codec, monkeypatch, name, words):
    monkeypatch.setattr(type(tiny_codec), "latents_layer", name)
    raises = pytest.raises(PluginError, match=f"latents_layer.*{words}") if words else nullcontext()
    with raises:
        try_codec(tiny_codec, 3.0, "me.py")
