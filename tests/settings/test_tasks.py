"""Several tasks in settings."""

import pytest

from taskodec.errors import SettingsError
from taskodec.hooks.names import members
from taskodec.settings.model import TaskSettings, load_settings


def task_of(*overrides, **flags):
    return load_settings(overrides=overrides, flags=flags or None).task


def test_names_with_commas_are_several_tasks_with_their_presets():
    found = task_of("task=cls, det", "task.options.det.weights=here.onnx", "task.shares.cls=2")
    assert found.members == ["cls", "det"]
    assert found.options == {"cls": {"loss": "outputs"}, "det": {"loss": "outputs", "weights": "here.onnx"}}
    assert found.spec == {"cls": 2.0, "det": 1.0}
    assert task_of(**{"task.name": "cls,det"}).spec == {"cls": 1.0, "det": 1.0}


def test_a_list_has_shares_and_options(tmp_path):
    file = tmp_path / "both.yaml"
    file.write_text("task: [{name: cls, share: 2}, {name: det, options: {weights: here.onnx}}, human]")
    found = load_settings([file], ["task.lmbda=3"]).task
    assert found.name == "cls,det,human"
    assert found.spec == {"cls": 2.0, "det": 1.0, "human": 1.0}
    assert found.options["det"] == {"loss": "outputs", "weights": "here.onnx"}
    assert found.lmbda == 3
    assert TaskSettings.model_validate(["cls", {"name": "det", "share": 2}]).spec == {"cls": 1.0, "det": 2.0}


def test_settings_of_several_tasks_are_read_back(tmp_path):
    settings = load_settings(overrides=["task=[{name: cls, share: 2}, {name: 'a.py:loss'}]"])
    file = tmp_path / "settings.yaml"
    file.write_text(settings.to_yaml())
    assert load_settings([file]) == settings


def test_a_list_of_one_is_that_one():
    found = task_of("task=[{name: cls, options: {network: resnet18}}]")
    assert (found.name, found.spec) == ("cls", "cls")
    assert found.options == {"loss": "outputs", "network": "resnet18"}


def test_another_list_takes_the_place_of_the_first():
    found = task_of("task=[{name: cls, share: 2}, det]", "task=[cls, semseg]")
    assert found.shares == {}
    assert found.spec == {"cls": 1.0, "semseg": 1.0}


def test_a_comma_in_a_path_is_none_between_tasks(tmp_path):
    file = tmp_path / "a,b.py"
    file.write_text("")
    assert members(f"{file}:loss") == [f"{file}:loss"]
    assert members("cls,edges.py:loss") == ["cls", "edges.py:loss"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("task=cls,cls", "cls is there twice; name each task once"),
        ("task=[cls, cls]", r"task = \[cls, cls\]|cls is there twice"),
        ("task=cls,", "a name is missing in 'cls,'"),
        ("task=[]", "an empty list; name one task at least"),
        ("task=[3]", "an entry is 3, expected the name of a task, or name, share and options"),
        ("task=[{share: 2}]", "expected the name of a task"),
        ("task=[{name: cls, shares: 2}, det]", "unknown key 'shares' of 'cls', did you mean 'share'"),
        ("task=[{name: cls, share: 0}, det]", "task.shares.cls = 0"),
        ("task=[{name: cls, share: -1}, det]", "greater than 0"),
        ("task=[{name: cls, share: .nan}, det]", "task.shares.cls = nan"),
        ("task=[{name: cls, share: much}, det]", "task.shares.cls = 'much'"),
        ("task=[{name: cls, share: yes}, det]", "task.shares.cls = True"),
        ("task=[{name: cls, options: 3}, det]", "options of 'cls' are 3"),
        ("task={name: 'cls,det', shares: {dat: 2}}", "shares of 'dat', which is none of the tasks, did you mean 'det'"),
        ("task={name: 'cls,det', options: {loss: outputs}}", "options of 'loss', which is none of the tasks"),
        ("task={name: cls, shares: {cls: 2}}", "shares are for several tasks, found one, 'cls'"),
    ],
)
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(overrides=[wrong])
    assert "--set" in str(caught.value) or "task" in str(caught.value)
