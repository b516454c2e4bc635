"""Several tasks, given in Python."""

import pytest
from joint_losses import dark, red

from taskodec.api.compressor import Compressor, compress
from taskodec.api.tasks import is_named, settings_for, task_layer_of
from taskodec.contracts import FunctionTask, JointTask
from taskodec.errors import SettingsError, UsageError
from taskodec.settings.model import load_settings

OTHER = "task=[{name: cls, share: 3}, {name: human, options: {metric: ms-ssim}}]"


def test_names_become_settings():
    assert is_named("cls,det")
    assert is_named(["cls", "det"])
    assert not is_named(["cls", dark])
    assert not is_named([])
    assert task_layer_of({"cls": 2, "det": 1}) == [{"name": "cls", "share": 2}, {"name": "det", "share": 1}]


def test_each_has_the_options_of_the_settings_or_its_usual_ones():
    settings, spec = settings_for(load_settings(overrides=[OTHER]), ["human", "semseg", dark])
    assert spec == {"human": 1.0, "semseg": 1.0, dark: 1.0}
    assert settings.task.options == {"human": {"metric": "ms-ssim"}, "semseg": {"loss": "outputs"}}
    assert settings.task.name == "human,semseg,dark"
    settings, spec = settings_for(load_settings(overrides=[OTHER]), "cls,human")
    assert spec == {"cls": 3.0, "human": 1.0}
    settings, spec = settings_for(load_settings(overrides=[OTHER]), "human")
    assert (settings.task.options, spec) == ({"metric": "ms-ssim"}, "human")
    settings, spec = settings_for(load_settings(overrides=[OTHER]), dark)
    assert (settings.task.options, settings.task.shares, spec) == ({}, {}, dark)
    assert settings_for(load_settings(overrides=[OTHER]), [dark])[1] is dark
    task = FunctionTask("dark", dark)
    settings, spec = settings_for(load_settings(overrides=[OTHER]), task)
    assert (settings.task.name, settings.task.options, settings.task.shares, spec) == ("dark", {}, {}, task)


def test_functions_and_names_in_one_file(tiny_registry, photo):
    settings = load_settings(overrides=["codec=tiny", "ttft.steps=2", "quality=2"])
    made = Compressor(settings, tiny_registry, task={"human": 1, dark: 3, FunctionTask("third", red): 4})
    assert isinstance(made.task, JointTask)
    assert [(part.label, part.share) for part in made.task.parts] == [("human", 0.125), ("dark", 0.375), ("third", 0.5)]
    result = made.compress(photo)
    report = result.report()
    assert report["task"] == "human,dark,third"
    assert report["lmbda"] == 1
    assert report["cost_after"] <= report["cost_before"]
    assert {"human psnr", "dark task_loss", "third task_loss"} <= report["metrics_after"].keys()
    assert report["settings"]["task"]["shares"] == {"human": 1, "dark": 3, "third": 4}


def test_settings_name_them_too(tiny_registry, photo):
    settings = load_settings(overrides=["codec=tiny", "ttft.steps=1", "task=[{name: human, share: 3}]", "quality=2"])
    assert Compressor(settings, tiny_registry).compress(photo).report()["task"] == "human"


def test_files_of_one_name_are_told_apart(tiny_registry, tmp_path):
    files = []
    for name in ("a", "b"):
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(f"def loss(x_hat, x):\n    return (x_hat - 0.{len(files)} * x).square().mean()\n")
    specs = [f"{file}:loss" for file in files]
    task = tiny_registry.task_from(specs)
    assert [part.label for part in task.parts] == specs
    assert tiny_registry.task_from(specs[:1]).name == "loss"


def test_names_with_commas(tiny_registry):
    task = tiny_registry.task_from("human, cls", human={"metric": "ms-ssim"})
    assert [(part.label, part.share) for part in task.parts] == [("human", 0.5), ("cls", 0.5)]
    assert task.parts[0].task.metric == "ms-ssim"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (["human", "human"], {}, "has human twice"),
        ({"human": 0, "cls": 1}, {}, "the share of human is 0"),
        (["human", "hunam"], {}, "unknown task 'hunam', did you mean 'human'"),
        ([], {}, "has no parts|list of tasks is empty"),
        (["human", dark], {"humn": {}}, "options of several tasks are by name, found humn = {}, did you mean 'human'"),
        (["human", dark], {"human": 3}, "found human = 3"),
        (["human", dark], {"human": {"wrong": 3}}, "task 'human': .*wrong.*options: metric"),
    ],
)
def test_what_is_wrong_is_said(tiny_registry, spec, options, message):
    with pytest.raises(UsageError, match=message):
        tiny_registry.task_from(spec, **options)


def test_the_call_says_what_is_wrong(photo):
    with pytest.raises(SettingsError, match="greater than 0"):
        compress(photo, task={"human": -1, "cls": 1}, steps=0)
    with pytest.raises(UsageError, match="list of tasks is empty"):
        compress(photo, task=[], steps=0)
