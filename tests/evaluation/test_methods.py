import pytest

from taskodec.errors import UsageError
from taskodec.evaluation.methods import Method, method_settings, parse_methods, parse_qualities
from taskodec.hooks.registry import Registry
from taskodec.settings.model import load_settings


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    found.load_builtins()
    return found


def settings_of(text, registry, *overrides, **flags):
    (method,) = parse_methods(text, registry)
    return method_settings(method, lambda more: load_settings((), [*overrides, *more], flags))


def test_every_form_of_a_method(registry):
    text = "original, plain,pretrained,pretrained@lite-cls,ttft,ttft:quick,ttft@a/b.safetensors,ttft:paper@human,webp"
    assert parse_methods(text, registry) == [
        Method("original", "original"),
        Method("plain", "plain"),
        Method("pretrained", "pretrained"),
        Method("pretrained@lite-cls", "pretrained", adapter="lite-cls"),
        Method("ttft", "ttft"),
        Method("ttft:quick", "ttft", preset="quick"),
        Method("ttft@a/b.safetensors", "ttft", adapter="a/b.safetensors"),
        Method("ttft:paper@human", "ttft", preset="paper", adapter="human"),
        Method("webp", "anchor"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain,plain", "names plain twice"),
        ("plane", "unknown method 'plane', did you mean 'plain'"),
        ("gif", "and the anchors avif, .*jpeg"),
        ("ttft:quik", "unknown ttft preset 'quik', did you mean 'quick'"),
        ("ttft:", "ends too early"),
        ("ttft@", "ends too early"),
        ("plain:quick", "only ttft has presets"),
        ("plain@x", "only ttft and pretrained have adapters"),
        ("", "unknown method ''"),
    ],
)
def test_wrong_methods(text, words, registry):
    with pytest.raises(UsageError, match=words):
        parse_methods(text, registry)


def test_plain_is_untuned_and_without_adapter(registry):
    settings = settings_of("plain", registry, "ttft.steps=5", "adapter.name=x.safetensors")
    assert (settings.ttft.steps, settings.adapter.name, settings.adapter.options) == (0, "svd-lora", {})


def test_pretrained_is_untuned_with_the_adapter_of_the_settings_or_its_own(registry):
    own = settings_of("pretrained", registry, "adapter.options.rank=2", **{"adapter.name": "svd-lora"})
    assert (own.ttft.steps, own.adapter.name, own.adapter.options) == (0, "svd-lora", {"rank": 2})
    named = settings_of("pretrained@it's: x.safetensors", registry, "adapter.options.rank=2", **{"adapter.name": "y"})
    assert (named.adapter.name, named.adapter.options) == ("file", {"path": "it's: x.safetensors"})


def test_ttft_is_tuned_as_configured_or_by_the_preset_it_names(registry):
    configured = settings_of("ttft", registry, "ttft.steps=5", "ttft.preset=quick")
    assert (configured.ttft.preset, configured.ttft.steps, configured.adapter.name) == ("quick", 5, "auto")
    named = settings_of("ttft:paper@lite-cls", registry, "ttft.steps=5", "ttft.preset=quick")
    assert (named.ttft.preset, named.ttft.steps, named.adapter.name) == ("paper", 5, "lite-cls")
    assert named.ttft.phases[0].train == ("encoder", "decoder")


def test_a_preset_that_the_settings_hide_is_refused(registry):
    phases = "ttft.phases=[{train: [latents], steps: 3}]"
    assert settings_of("ttft", registry, phases).ttft.phases[0].steps == 3
    with pytest.raises(UsageError, match=r"ttft\.phases of the settings would take the place of the preset's"):
        settings_of("ttft:quick", registry, phases)


def test_qualities_of_all_and_of_one(registry):
    methods = parse_methods("original,plain,ttft:quick@a=b,jpeg", registry)
    found = parse_qualities(["2,1,2.5", "plain=1,2,3,4", "ttft:quick@a=b=4", "jpeg=20"], methods)
    assert found == {"": [1, 2, 2.5], "plain": [1, 2, 3, 4], "ttft:quick@a=b": [4], "jpeg": [20]}
    assert parse_qualities([], methods) == {}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["1,x"], "expected numbers"),
        (["1,nan"], "expected numbers"),
        (["plain=inf"], "expected numbers"),
        ([""], "expected numbers"),
        (["jpeg=1"], "no method 'jpeg' is measured; valid: plain"),
        (["original=1"], "no method 'original'"),
        (["1,2", "3"], "another list for the same"),
    ],
)
def test_wrong_qualities(texts, words, registry):
    with pytest.raises(UsageError, match=words):
        parse_qualities(texts, parse_methods("original,plain", registry))
