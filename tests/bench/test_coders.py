from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from taskodec.bench.coders import AnchorEntry
from taskodec.coding.stages import Stage
from taskodec.errors import ImageError, PluginError, UsageError
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AnchorSpec, hookimpl

PICTURE = Image.new("RGB", (5, 4), "teal")


def code_with(registry):
    coder = AnchorEntry("raw", registry).at(1)
    return coder.decode(coder.encode(PICTURE))


def fails(error):
    def call(*arguments):
        raise error

    return call


def registry_with(**changes):
    """A registry whose anchor `raw` writes pixels as they are, but for these changes; None leaves a part out."""
    made = {
        "qualities": (1, 2),
        "version": "raw 1",
        "encode": lambda image, quality: image.tobytes(),
        "decode": lambda data: Image.frombytes("RGB", (5, 4), data),
    }
    made = {name: value for name, value in (made | changes).items() if value is not None}
    plugin = ModuleType("plugin")
    plugin.register_anchors = hookimpl(lambda: [AnchorSpec("raw", lambda: SimpleNamespace(**made))])
    registry = Registry()
    registry.register(plugin, "somebody")
    return registry


def test_a_registered_anchor_is_measured_as_it_is():
    entry = AnchorEntry("raw", registry_with())
    coder = entry.at(2)
    assert (entry.name, entry.anchor, entry.qualities, coder.version) == ("raw", True, [1, 2], "raw 1")
    assert coder.decode(coder.encode(PICTURE)).tobytes() == PICTURE.tobytes()


def test_an_anchor_that_is_not_registered_is_a_wrong_call():
    with pytest.raises(UsageError, match=r"unknown anchor 'ray', did you mean 'raw'\?; valid: raw"):
        AnchorEntry("ray", registry_with())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decode": None}, "TypeError: found a SimpleNamespace, expected qualities, version, encode and decode"),
        ({"qualities": ()}, "its qualities are [], expected numbers"),
        ({"qualities": ("high",)}, "ValueError"),
        ({"encode": fails(FileNotFoundError("no such program: vtm"))}, "FileNotFoundError: no such program: vtm"),
        ({"encode": lambda image, quality: "text"}, "encode returned a str, expected bytes"),
        ({"decode": fails(KeyError("size"))}, "KeyError: 'size'"),
        ({"decode": lambda data: None}, "decode returned a NoneType, expected a PIL image"),
    ],
)
def test_a_broken_anchor_is_named_with_its_owner(changes, words):
    with pytest.raises(PluginError, match="anchor 'raw' of somebody failed: ") as caught:
        code_with(registry_with(**changes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (lambda: [Stage("analysis", b"", "decode")], "no method 'decode' to measure in bytes"),
        (
            lambda: [Stage("analysis", SimpleNamespace(), "forward")],
            "no method 'forward' to measure in SimpleNamespace",
        ),
        (lambda: None, "TypeError"),
    ],
)
def test_stages_that_are_not_there_are_named_with_the_anchor(stages, words):
    with pytest.raises(PluginError, match="anchor 'raw' of somebody failed: ") as caught:
        AnchorEntry("raw", registry_with(stages=stages)).at(1).stages()
    assert words in str(caught.value)


def test_an_anchor_may_say_what_its_stages_are():
    one = SimpleNamespace(forward=len)
    stage = Stage("analysis", one, "forward")
    assert AnchorEntry("raw", registry_with(stages=lambda: [stage])).at(1).stages() == [stage]
    assert AnchorEntry("raw", registry_with()).at(1).stages() == ()


def test_an_error_of_the_project_stays_what_it_is():
    with pytest.raises(ImageError, match=r"^too small$"):
        code_with(registry_with(encode=fails(ImageError("too small"))))
