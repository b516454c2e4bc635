import pytest

from taskodec.errors import PluginError
from taskodec.hooks.names import check_name, nearest


@pytest.mark.parametrize("name", ["lite", "mbt2018-mean", "a", "v1.2_x", "9"])
def test_plain_names_are_valid(name):
    check_name("codec", name, "me")


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "a:b", "loss.py", "ä", "x" * 65, 3, None, "a\n"])
def test_names_that_no_command_line_could_carry_are_refused(name):
    with pytest.raises(PluginError, match="me: task name"):
        check_name("task", name, "me")


def test_codec_names_travel_in_streams_and_must_be_lower_case():
    check_name("task", "Edges", "me")
    with pytest.raises(PluginError, match="lower-case"):
        check_name("codec", "Lite", "me")


def test_nearest():
    assert nearest("clss", ["cls", "human"]) == ", did you mean 'cls'?"
    assert nearest("zzz", ["cls", "human"]) == ""
