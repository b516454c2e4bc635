"""Which adapter a task, or several, are given."""

import pytest

from taskodec.adapters.lora import build_svd_lora
from taskodec.api.adapter_choice import adapters_of_parts, choose_adapter
from taskodec.api.loading import DEFAULT_ADAPTER
from taskodec.api.notes import notes_on_tasks
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec, CodecSpec, hookimpl
from taskodec.settings.model import AdapterSettings


@pytest.fixture
def machine(tiny_codec):
    """A registry with adapters for one task, for two and for three."""
    registry = Registry()
    registry.load_builtins(["taskodec.adapters.plugin"])

    def build(codec):
        return build_svd_lora(codec, rank=1)

    class Plugin:
        @hookimpl
        def register_codecs(self):
            return [CodecSpec("tiny", lambda quality=3.0: tiny_codec)]

        @hookimpl
        def register_adapters(self):
            options = {"cls": {"loss": "outputs"}}
            both = AdapterSpec("both", build, codec="tiny", task="cls,det", task_options=options)
            wide = {"cls": {"loss": "outputs"}, "human": {"metric": "ms-ssim"}}
            three = AdapterSpec("a-wide", build, codec="tiny", task="cls,det,human", task_options=wide)
            return [three, both, AdapterSpec("only-cls", build, codec="tiny", task="cls")]

    registry.register(Plugin(), "tests")
    return registry


@pytest.mark.parametrize(
    ("task", "options", "expected"),
    [
        ("cls,det", {"cls": {"loss": "outputs", "network": "x"}, "det": {}}, "both"),
        ("det,cls", {"cls": {"loss": "outputs"}}, "both"),
        ("cls,det", {"cls": {"loss": "features"}}, DEFAULT_ADAPTER),
        ("cls,det", {}, DEFAULT_ADAPTER),
        ("cls,det,semseg", {"cls": {"loss": "outputs"}}, DEFAULT_ADAPTER),
        ("cls", {"loss": "outputs"}, "only-cls"),
        ("cls", {"loss": "features"}, "only-cls"),
        ("human,cls", {"cls": {"loss": "outputs"}, "human": {"metric": "ms-ssim"}}, "a-wide"),
        ("human,cls", {"cls": {"loss": "outputs"}, "human": {"metric": "mse"}}, DEFAULT_ADAPTER),
        ("human", {"metric": "ms-ssim"}, "a-wide"),
        ("human", {"metric": "mse"}, DEFAULT_ADAPTER),
        ("human,human", {"human": {"metric": "ms-ssim"}}, DEFAULT_ADAPTER),
        ("det", {}, "both"),
    ],
)
def test_the_adapter_was_trained_for_all_the_tasks_and_for_fewest_others(machine, tiny_codec, task, options, expected):
    assert choose_adapter(machine, AdapterSettings(), tiny_codec, task, options)[0].name == expected


def test_a_note_says_which_adapters_parts_have(machine, tiny_codec):
    assert adapters_of_parts(machine, tiny_codec, "cls,det,human") == ["only-cls"]
    assert adapters_of_parts(machine, tiny_codec, "cls") == []
    auto, none = AdapterSettings(), AdapterSettings(name=DEFAULT_ADAPTER)
    (note,) = notes_on_tasks("cls,human", auto, none, ["only-cls"])
    assert "--adapter only-cls" in note
    assert "taskodec pretrain --task cls,human" in note
    assert notes_on_tasks("cls,human", none, none, ["only-cls"]) == []
    assert notes_on_tasks("cls,human", auto, none, []) == []
