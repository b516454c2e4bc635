from importlib import resources

import pytest

from taskodec.errors import SettingsError
from taskodec.settings.layers import Layers, nest, parse_override, parse_yaml, preset, preset_names, read_yaml


def test_later_layers_win_key_by_key_and_lists_are_replaced():
    layers = Layers()
    layers.add({"a": {"x": 1, "y": [1, 2]}, "b": 1}, "first")
    layers.add({"a": {"y": [3]}, "c": None}, "second")
    assert layers.values == {"a": {"x": 1, "y": [3]}, "b": 1, "c": None}
    assert layers.origin(("a", "x")) == "first"
    assert layers.origin(("a", "y")) == "second"
    assert layers.origin(("a", "y", 0, "deep")) == "second"
    assert layers.origin(("nowhere",)) == "the call"


def test_layers_do_not_change_what_they_are_given():
    first = {"a": {"x": 1}}
    layers = Layers()
    layers.add(first, "first")
    layers.add({"a": {"x": 2}}, "second")
    assert first == {"a": {"x": 1}}


def test_another_codec_does_not_inherit_what_was_meant_for_one():
    layers = Layers()
    layers.add({"codec": {"name": "tic", "checkpoint": "tic.pth"}}, "file")
    layers.add({"codec": {"options": {"a": 1}}}, "same codec")
    assert layers.values["codec"] == {"name": "tic", "checkpoint": "tic.pth", "options": {"a": 1}}
    layers.add({"codec": "lite"}, "flag")
    assert layers.values["codec"] == {"name": "lite"}
    assert layers.name("codec") == "lite"


def test_layers_on_layers_keep_their_origins():
    below, above = Layers(), Layers()
    below.add({"a": 1, "b": {"c": 1, "d": 1}, "task": {"name": "cls", "lmbda": 1}}, "below")
    above.add({"b": {"d": 2}, "task": "human"}, "above")
    below.add_layers(above)
    assert below.values == {"a": 1, "b": {"c": 1, "d": 2}, "task": {"name": "human"}}
    assert [below.origin(path) for path in (("a",), ("b", "c"), ("b", "d"))] == ["below", "below", "above"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("5E+2", 500.0), ("1.5e-3", 1.5e-3), ("80", 80), ("[1, 2]", [1, 2]), ("", None), ("x=y", "x=y")],
)
def test_override_values_are_yaml(text, value):
    (found,) = parse_override(f"a.b={text}")["a"].values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1", "a.=1", ""])
def test_overrides_without_a_key_and_a_value_are_refused(text):
    with pytest.raises(SettingsError, match="not of the form key=value"):
        parse_override(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", "'a' appears twice"),
        ("a: {b: 1, b: 2}", "'b' appears twice"),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "the tag .*os.system.* is none that settings have"),
        ("{[1]: 2}", "neither text nor a number"),
        ("&a [*a]: 1", "not valid YAML"),
    ],
)
def test_bad_yaml_names_its_file(text, words):
    with pytest.raises(SettingsError, match=words) as caught:
        parse_yaml(text, "mine.yaml")
    assert "mine.yaml" in str(caught.value)


def test_files_must_be_readable_mappings(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: No such file"):
        read_yaml(tmp_path / "none.yaml")
    path = tmp_path / "mine.yaml"
    path.write_text("- 1")
    with pytest.raises(SettingsError, match="holds a list"):
        read_yaml(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_yaml(path)
    path.write_text("# nothing")
    assert read_yaml(path) == {}


def test_presets_are_found_by_name_and_nowhere_else():
    assert {"default", "quick", "latents", "encoder", "paper"} <= set(preset_names("ttft"))
    assert preset("codec", "no-such-codec") == {}
    assert preset("ttft", "../default") == {}
    assert preset_names("nothing") == []
    with pytest.raises(SettingsError, match="unknown ttft preset 'papper', did you mean 'paper'"):
        preset("ttft", "papper", needed=True)


def test_every_packaged_file_is_valid_yaml():
    folder = resources.files("taskodec.configs")
    for kind in ("codec", "task", "train", "ttft"):
        for name in preset_names(kind):
            assert preset(kind, name), f"{kind}/{name}"
    assert folder.joinpath("default.yaml").is_file()


def test_dotted_keys_become_layers():
    assert list(nest({"a.b": 1, "c": 2})) == [({"a": {"b": 1}}, "a.b"), ({"c": 2}, "c")]
