from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from taskodec.adapters.lora import build_svd_lora
from taskodec.api.adapter_choice import choose_adapter, missing_adapter, untrained
from taskodec.api.loading import (
    DEFAULT_ADAPTER,
    SENT_OPTIONS,
    adapter_for_stream,
    adapter_for_tuning,
    adapter_metadata,
    choose_device,
    codec_at,
    codec_for_stream,
    has_quality,
    is_trained,
    load_codec,
    unsent_options,
)
from taskodec.codecs.lite.codec import Lite
from taskodec.codecs.tic.codec import TIC
from taskodec.errors import MismatchError, SettingsError, UsageError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec, CodecSpec, hookimpl
from taskodec.settings.model import AdapterSettings, CodecSettings, PhaseSettings, Settings
from taskodec.stream.bitstream import Header

HEADER = Header("tiny", b"abcd", 96, 64, 2.0, adapter_fingerprint=b"none")
LATENTS, DECODER = (PhaseSettings(train=(part,), steps=3) for part in ("latents", "decoder"))


@pytest.fixture
def plugins(tiny_codec):
    """A registry with the tiny codec, SVD-LoRA, and an adapter that says what it was built with."""
    registry = Registry()
    registry.load_builtins(["taskodec.adapters.plugin"])

    def load(quality=3.0, checkpoint=None, size=8):
        registry.loaded = {"quality": quality, "checkpoint": checkpoint, "size": size}
        if size > 8:
            raise RuntimeError("too much")
        return tiny_codec

    def build(codec, **options):
        registry.built.append(options)
        return build_svd_lora(codec, rank=options.get("rank", 1))

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", load)]

        @hookimpl
        def register_adapters(self):
            return [AdapterSpec("mine", build), AdapterSpec("trained", build, codec="tiny")]

    registry.built = []
    registry.register(Plugin(), "tests")
    return registry


FIRST_LITE = partial(Lite, M=192, N=96, D=160, stem=48, C=128, levels=7)
"""Of the sizes that its first weights have."""


@pytest.mark.parametrize(("model", "fingerprint"), [(FIRST_LITE, "d1f45fb2"), (Lite, "30bd028c"), (TIC, "e89b09ab")])
def test_the_default_adapter_is_part_of_the_format(model, fingerprint):
    """It is made from names, shapes, seed and options alone; if it changes, no tuned stream can be decoded."""
    assert DEFAULT_ADAPTER == "svd-lora"
    assert SENT_OPTIONS == ("rank", "alpha", "seed", "decoder_layers")
    assert build_svd_lora(model()).fingerprint().hex() == fingerprint


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    for absent in ("cuda", "cuda:0", "mps"):
        with pytest.raises(SettingsError, match=rf"device = '{absent}': .*valid: auto, cpu$"):
            choose_device(absent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(SettingsError, match=r"valid: auto, cpu, cuda, cuda:0, cuda:1$"):
        choose_device("cuda:2")


def test_a_codec_is_loaded_as_the_settings_say(plugins, tiny_codec):
    assert load_codec(plugins, CodecSettings(name="tiny", checkpoint="w.pt", options={"size": 4}), 2.0) is tiny_codec
    assert plugins.loaded == {"quality": 2.0, "checkpoint": CodecSettings(checkpoint="w.pt").checkpoint, "size": 4}
    with pytest.raises(UsageError, match="quality 200 does not exist"):
        load_codec(plugins, CodecSettings(name="tiny"), 200.0)


def test_a_checkpoint_is_for_the_codec_of_the_stream_unless_another_is_named(plugins):
    given = {"checkpoint": "w.pt", "options": {"size": 4}}
    for chosen, used in ((CodecSettings(**given), True), (CodecSettings(name="tic", **given), False)):
        codec_for_stream(plugins, HEADER, chosen)
        assert (plugins.loaded["size"] == 4) is used
        assert (plugins.loaded["checkpoint"] is not None) is used


def test_a_codec_that_is_not_installed_is_a_mismatch_with_the_reason(plugins):
    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("far", "nowhere:load", unavailable="Atlantis is not installed")]

    plugins.register(Plugin(), "far")
    with pytest.raises(UsageError, match="codec 'far' cannot be used here: Atlantis is not installed"):
        load_codec(plugins, CodecSettings(name="far"), 3)
    with pytest.raises(MismatchError, match=r"codec 'far' of the stream cannot be had .*: Atlantis is not installed"):
        codec_for_stream(plugins, replace(HEADER, codec="far"), CodecSettings())


@pytest.mark.parametrize(
    ("header", "options", "says"),
    [
        (replace(HEADER, codec="other"), {}, r"needs codec 'other'.*valid: tiny; .*--plugin"),
        (
            replace(HEADER, quality=200.0),
            {},
            "'tiny' of the stream cannot be had at quality 200: .* any value from 1 to 4",
        ),
        (replace(HEADER, quality=0.0), {}, "quality 0"),
        (HEADER, {"sise": 1}, "sise"),
        (HEADER, {"size": 9}, "RuntimeError: too much"),
    ],
)
def test_codecs_that_cannot_be_had_are_a_mismatch(plugins, header, options, says):
    with pytest.raises(MismatchError, match=says):
        codec_for_stream(plugins, header, CodecSettings(options=options))


def test_an_adapter_is_built_only_if_something_needs_it(plugins, tiny_codec):
    plain, trained = AdapterSettings(name="mine"), AdapterSettings(name="trained")
    assert adapter_for_tuning(plugins, plain, tiny_codec, [LATENTS]) is None
    assert adapter_for_tuning(plugins, plain, tiny_codec, [DECODER.model_copy(update={"steps": 0})]) is None
    assert not plugins.built
    assert adapter_for_tuning(plugins, plain, tiny_codec, [LATENTS, DECODER]) is not None
    assert adapter_for_tuning(plugins, trained, tiny_codec, [LATENTS]) is not None
    with pytest.raises(UsageError, match="unknown adapter 'mien'"):
        adapter_for_tuning(plugins, AdapterSettings(name="mien"), tiny_codec, [LATENTS])


def test_what_a_stream_says_of_its_adapter(plugins):
    default = {"name": DEFAULT_ADAPTER}
    assert adapter_metadata(plugins, AdapterSettings(**default)) == {}
    assert adapter_metadata(plugins, AdapterSettings(**default, options={"encoder_layers": ["g_a.0"]})) == {}
    assert adapter_metadata(plugins, AdapterSettings(name="mine")) == {"adapter": "mine"}
    assert adapter_metadata(plugins, AdapterSettings(name="trained")) == {}
    assert adapter_metadata(plugins, AdapterSettings(name="trained", options={"rank": 2})) == {
        "adapter": "trained",
        "rank": 2,
    }
    assert adapter_metadata(plugins, AdapterSettings(name="mine.safetensors")) == {}
    options = {"rank": 2, "decoder_layers": ("g_s.0",), "encoder_layers": [], "path": "x"}
    said = {"adapter": "svd-lora", "rank": 2, "decoder_layers": ["g_s.0"]}
    assert adapter_metadata(plugins, AdapterSettings(**default, options=options)) == said
    assert unsent_options(AdapterSettings(options=options)) == ["path"]


def test_a_stream_sets_no_other_option_of_an_adapter(plugins, tiny_codec):
    wanted = build_svd_lora(tiny_codec, rank=2).fingerprint()
    said = {"adapter": "mine", "rank": 2, "path": "/etc/passwd", "encoder_layers": "*"}
    header = replace(HEADER, adapter_fingerprint=wanted, metadata=said)
    assert adapter_for_stream(plugins, header, tiny_codec, AdapterSettings()).fingerprint() == wanted
    assert plugins.built == [{"rank": 2}]


def test_options_that_cannot_travel_come_from_the_settings(plugins, tiny_codec):
    header = replace(HEADER, metadata={"adapter": "mine", "rank": 2})
    for name in ("mine", "other"):
        with pytest.raises(MismatchError, match=r"needs adapter 6e6f6e65 .*'mine' is [0-9a-f]{8}"):
            adapter_for_stream(
                plugins, header, tiny_codec, AdapterSettings(name=name, options={"path": "x", "rank": 9})
            )
    assert plugins.built == [{"rank": 2}, {"path": "x", "rank": 2}, {"rank": 2}]


@pytest.mark.parametrize("rank", [10**400, 2**17, 0, 1.5, "4", None, [1], True])
@pytest.mark.parametrize("alpha", [8, 10**400, "8"])
def test_no_number_in_a_stream_is_too_large_to_refuse(plugins, tiny_codec, rank, alpha):
    header = replace(HEADER, metadata={"adapter": "svd-lora", "rank": rank, "alpha": alpha})
    with pytest.raises(MismatchError, match=r"'svd-lora' cannot be made: .*rank must be a whole number from 1"):
        adapter_for_stream(plugins, header, tiny_codec, AdapterSettings())


def test_auto_passes_over_what_cannot_be_made(plugins, tiny_codec):
    def broken(codec):
        raise RuntimeError("no file")

    class Plugin:
        @hookimpl
        def register_adapters(self):
            return [
                AdapterSpec("a-broken", broken, codec="tiny", task="edges"),
                AdapterSpec("b-fine", build_svd_lora, codec="tiny", task="edges"),
                AdapterSpec("c-other", build_svd_lora, codec="lite", task="faces"),
                AdapterSpec("d-broken", broken, codec="tiny", task="faces"),
            ]

    plugins.register(Plugin(), "more")
    auto = AdapterSettings()
    assert choose_adapter(plugins, auto, tiny_codec, "edges") == (AdapterSettings(name="b-fine"), ())
    chosen, (note,) = choose_adapter(plugins, auto, tiny_codec, "faces")
    assert chosen == AdapterSettings(name=DEFAULT_ADAPTER)
    assert note.startswith("adapter 'd-broken', trained for 'faces', is left out: more: adapter 'd-broken' cannot be")
    assert "RuntimeError: no file (test_loading.py, line" in note
    optioned = AdapterSettings(options={"rank": 2})
    assert choose_adapter(plugins, optioned, tiny_codec, "edges")[0] == untrained(optioned)
    assert untrained(optioned) == AdapterSettings(name=DEFAULT_ADAPTER, options={"rank": 2})
    named = AdapterSettings(name="mine")
    assert choose_adapter(plugins, named, tiny_codec, "edges") == (named, ())
    assert untrained(named) == named


def test_auto_asks_for_the_options_that_an_adapter_was_trained_with(plugins, tiny_codec):
    class Plugin:
        @hookimpl
        def register_adapters(self):
            options = {"loss": "outputs"}
            return [AdapterSpec("said", build_svd_lora, codec="tiny", task="edges", task_options=options)]

    plugins.register(Plugin(), "more")

    def chosen(options):
        return choose_adapter(plugins, AdapterSettings(), tiny_codec, "edges", options)

    assert chosen({"loss": "outputs", "layers": [1, 2]}) == (AdapterSettings(name="said"), ())
    for other in (None, {}, {"loss": "features"}):
        assert chosen(other) == (AdapterSettings(name=DEFAULT_ADAPTER), ())
        named, (note,) = choose_adapter(plugins, AdapterSettings(name="said"), tiny_codec, "edges", other)
        assert named == AdapterSettings(name="said")
        assert "'said' was trained for task 'edges' with task.options.loss=outputs: set that too" in note
    assert choose_adapter(plugins, AdapterSettings(name="said"), tiny_codec, "edges", {"loss": "outputs"})[1] == ()
    assert choose_adapter(plugins, AdapterSettings(name="said"), tiny_codec, "other")[1] == ()
    why = missing_adapter(plugins, Settings(task={"name": "edges"}), tiny_codec, "edges")
    assert "'said' is for task.options.loss=outputs" in why


def test_a_file_for_each_quality():
    many = CodecSettings(name="tic", checkpoint=Path("tic_q{quality}.pth"))
    assert [str(codec_at(many, quality).checkpoint) for quality in (1.0, 2.5)] == ["tic_q1.pth", "tic_q2.5.pth"]
    assert codec_at(CodecSettings(), 1.0) == CodecSettings()


def test_which_qualities_a_codec_has(tiny_codec):
    assert [has_quality(tiny_codec, quality) for quality in (1.0, 2.5, 4.5)] == [True, True, False]


def test_which_adapters_were_trained(plugins):
    assert [is_trained(plugins, name) for name in ("file", DEFAULT_ADAPTER)] == [True, False]
