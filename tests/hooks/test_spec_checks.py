import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.errors import PluginError
from taskodec.hooks.registry import BUILTINS, Registry
from taskodec.hooks.spec_checks import check_fields
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec, WeightsFile

ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.text(max_size=2))
SPECS = (CodecSpec("x", str), AdapterSpec("x", str), TaskSpec("x", str), AnchorSpec("x", str), WeightsFile("x"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (CodecSpec("x", 5), "codec 'x' has load=5, expected a function or 'package.module:name'"),
        (CodecSpec("x", "no colon"), "load='no colon'"),
        (CodecSpec("x", "a..b:c"), "load='a..b:c'"),
        (CodecSpec("x", str, 5), "description=5, expected text"),
        (CodecSpec("x", str, stream_id="1"), "stream_id='1', expected a whole number from 0 to 255"),
        (CodecSpec("x", str, stream_id=256), "stream_id=256"),
        (CodecSpec("x", str, stream_id=True), "stream_id=True"),
        (CodecSpec("x", str, create=5), "create=5, expected None, a function"),
        (AdapterSpec("x", None), "build=None"),
        (AdapterSpec("x", str, codec=5), "codec=5, expected None or text"),
        (AdapterSpec("x", str, task_options=[1]), r"task_options=\[1\], expected options by name"),
        (AdapterSpec("x", str, task_options={5: 1}), "task_options={5: 1}"),
        (TaskSpec("x", ()), r"load=\(\)"),
        (AnchorSpec("x", str, fidelity=1), "fidelity=1, expected True or False"),
        (WeightsFile("x", sha256="XYZ"), "sha256='XYZ', expected up to 64 hexadecimal digits"),
        (WeightsFile("x", size=-1), "size=-1, expected a whole number of bytes"),
        (WeightsFile("x", saved_as="../x"), "saved_as='../x', expected the name of a file, without a folder"),
        (WeightsFile("x", url=5), "url=5, expected text"),
    ],
)
def test_what_a_field_cannot_be(spec, words):
    with pytest.raises(PluginError, match=rf"^me\.py: .*{words}.*; see docs/plugins\.md$"):
        check_fields(spec, "codec", "me.py")


@given(st.sampled_from(SPECS), st.data())
def test_any_value_of_a_field_is_taken_or_a_plugin_error(spec, data):
    name = data.draw(st.sampled_from(list(type(spec).__dataclass_fields__)[1:]))
    try:
        check_fields(type(spec)(**{**vars(spec), name: data.draw(ANY)}), "spec", "me.py")
    except PluginError:
        return


def test_all_that_ships_passes():
    registry = Registry()
    registry.load_builtins()
    assert registry.failures == {}
    assert {registry.weights.owner(name) for name in registry.weights} <= set(BUILTINS)
